//! sweep: every minute, looks at entries that are due: attempts whose run is gone, jobs of unknown fate, decisions that were
//! not told to everybody.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Swept {
    entries: usize,
}

fn main() -> ExitCode {
    // The scheduler's event says nothing that matters.
    fresco_engine::lambda::run(|engine, _: Value| async move { Ok(Swept { entries: engine.sweep().await? }) })
}
