//! sweep: every minute, looks at entries that are due: attempts whose run is gone, jobs of unknown fate, decisions that were
//! not told to everybody. Called with `{"stop": run}` it stops that run: it looks after what the run leaves behind.

use std::process::ExitCode;

use fresco_engine::Stopped;
use fresco_pipeline::ids::RunId;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    /// The scheduler's event has none, and says nothing else that matters.
    stop: Option<RunId>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Stopped(Stopped),
    Swept { entries: usize },
}

fn main() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        Ok(match input.stop {
            Some(run) => Output::Stopped(engine.stop(&run).await?),
            None => Output::Swept { entries: engine.sweep().await? },
        })
    })
}
