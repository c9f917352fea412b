//! `fresco`: the stack on this machine, and a client of it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime could be started: {error}");
            return ExitCode::from(cli::EXIT_STACK);
        }
    };
    runtime.block_on(cli::main())
}
