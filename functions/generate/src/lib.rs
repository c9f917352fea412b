//! generate: ensures one step. It is deployed once for each step type, so that each can have its own memory, timeout and
//! concurrency. It answers its task token itself; what it returns goes nowhere.

use std::process::ExitCode;

use fresco_engine::GenerateCall;

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    fresco_engine::lambda::run(|engine, call: GenerateCall| async move { engine.steps.generate(&call).await })
}
