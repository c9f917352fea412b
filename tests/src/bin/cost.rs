//! Measures what the stack costs, on a stack of its own: requests, AWS's prices, times and memory.

use std::fs;

use clap::Parser;
use fresco_cli::stack::{Layout, Progress};
use fresco_tests::cost::{Options, measure, replace_section};

/// Measures what the stack costs, on a stack of its own: requests, AWS's prices, times and memory.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo run -p fresco-tests --bin cost --")]
struct Args {
    /// Writes the section "What it costs" of infra/README.md instead of printing it.
    #[arg(long)]
    write: bool,
    /// Measures release builds of the functions, which take minutes to build.
    #[arg(long)]
    release: bool,
    /// Numbers of rows of the batches that are planned and finalized.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rows: Vec<u32>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let layout = Layout::find()?;
    let costs = measure(&Options {
        instance: layout.instance("cost"),
        release: args.release,
        rows: args.rows.into_iter().map(|rows| rows as usize).collect(),
        progress: Progress::new(|notice| eprintln!("{notice}")),
    })
    .await?;
    if !args.write {
        println!("{costs}");
        return Ok(());
    }
    let path = layout.root().join("infra/README.md");
    let readme = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, replace_section(&readme, &costs.to_string())?)?;
    Ok(())
}
