//! plan: compiles a run's document, pins the cached results and returns the remaining work to the state machine.

use std::process::ExitCode;

use fresco_ledger::records::ChunkOf;
use fresco_pipeline::ids::RunId;
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    run_id: RunId,
    /// Of the run of a batch's chunk.
    batch_id: Option<RunId>,
    chunk: Option<u32>,
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        match input.batch_id.zip(input.chunk).map(|(batch, number)| ChunkOf { batch, number }) {
            Some(chunk) => engine.chunks.plan(&input.run_id, &chunk).await,
            None => engine.planner.plan(&input.run_id).await,
        }
    })
}
