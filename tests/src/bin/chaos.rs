//! Runs a chaos: random pipelines, faults, crashes and stops on a stack of its own, then an audit of ledger, bucket and
//! bill. The exit code is 1 if something does not fit together.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use fresco_cli::stack::{Layout, Progress};
use fresco_tests::chaos::{Options, chaos};

/// Random pipelines, faults, crashes and stops on a stack of its own, then an audit of ledger, bucket and bill.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo run -p fresco-tests --bin chaos --")]
struct Args {
    /// The number of runs of random pipelines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// The seed of all draws; a new one is drawn and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() % 1_000_000)?,
    };
    // Printed first, so that a chaos that is interrupted can be repeated, too.
    eprintln!("seed {seed}");
    let report = chaos(&Options {
        instance: Layout::find()?.instance("chaos"),
        runs: args.runs,
        seed,
        progress: Progress::new(|notice| eprintln!("{notice}")),
    })
    .await?;
    println!("{report}");
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
