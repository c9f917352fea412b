//! collect: brings a finished attempt's media into the bucket, completes the entry and notifies the waiters.

use std::process::ExitCode;

use fresco_pipeline::ids::{Attempt, ContentKey};
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    key: ContentKey,
    attempt: Attempt,
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move { engine.collector.collect(&input.key, input.attempt).await })
}
