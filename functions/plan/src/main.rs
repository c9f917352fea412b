//! plan: compiles a run's document, pins what is cached and tells the state machine what is left to do.

use std::process::ExitCode;

use fresco_pipeline::ids::RunId;
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    run_id: RunId,
}

fn main() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move { engine.plan(&input.run_id).await })
}
