//! sweep: every minute, looks at entries that are due: attempts whose run is gone, jobs of unknown fate, decisions that were
//! not told to everybody; and measures what the bucket holds, if that is limited. Called with `{"stop": run}` it stops that run: it looks after what the run leaves behind.

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
    Swept {
        entries: usize,
        /// Bytes in the bucket, where there is a limit on them.
        #[serde(skip_serializing_if = "Option::is_none")]
        stored: Option<u64>,
    },
}

fn main() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        Ok(match input.stop {
            Some(run) => Output::Stopped(engine.stop(&run).await?),
            None => {
                let entries = engine.sweep().await?;
                // Last: what waits must not wait for a measurement.
                let stored = engine.measure().await?;
                if let Some(stored) = &stored {
                    println!("{}", engine.metric_line(stored));
                }
                Output::Swept { entries, stored: stored.map(|stored| stored.bytes) }
            }
        })
    })
}
