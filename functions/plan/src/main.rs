//! plan: compiles a run's document, pins what is cached and tells the state machine what is left to do.

use std::process::ExitCode;

use fresco_ledger::records::ChunkRef;
use fresco_pipeline::ids::RunId;
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    run_id: RunId,
    /// Of the run of a batch's chunk.
    batch_id: Option<RunId>,
    chunk: Option<u32>,
}

fn main() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        let chunk = input.batch_id.zip(input.chunk).map(|(batch, number)| ChunkRef { batch, number });
        engine.plan(&input.run_id, chunk.as_ref()).await
    })
}
