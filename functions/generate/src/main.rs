//! generate: ensures one step. It is deployed once for each step type, so that each can have its own memory, timeout and
//! concurrency. It answers its task token itself; what it returns goes nowhere.

use std::process::ExitCode;

use fresco_engine::GenerateCall;

fn main() -> ExitCode {
    fresco_engine::lambda::run(|engine, call: GenerateCall| async move { engine.steps.generate(&call).await })
}
