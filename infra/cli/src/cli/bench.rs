//! `fresco bench`.

use clap::Args;
use fresco_cli::bench::{BenchError, Options, bench, planning};
use fresco_cli::stack::Layout;
use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::stack::progress;
use super::{EXIT_RUN, Ended, Place};

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// How many steps wait for one result and are told, one measurement each.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 100, 1_000, 5_000])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20_000))]
    waiters: Vec<u32>,
    /// How many rows a batch has that is planned, and whose results are put together; one measurement each.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rows: Vec<u32>,
    /// Measure nothing but how batches are planned and put together, which takes long with many rows.
    #[arg(long)]
    only_planning: bool,
    /// Measure release builds of the functions; they take minutes to build.
    #[arg(long)]
    release: bool,
}

pub(super) async fn run(output: &Output, place: &Place, args: BenchArgs) -> Result<(), Ended> {
    let layout = Layout::find()?;
    let mut rows: Vec<usize> = args.rows.iter().map(|&rows| rows as usize).collect();
    rows.sort_unstable();
    rows.dedup();
    let options = Options {
        instance: place.state.clone().unwrap_or_else(|| layout.instance("bench")),
        layout,
        release: args.release,
        waiters: args.waiters.iter().map(|&waiters| waiters as usize).collect(),
        rows,
        progress: progress(output),
    };
    let failed = |error: BenchError| match error {
        BenchError::Stack(error) => error.into(),
        BenchError::Failed(failure) => failure.into(),
        other => {
            output.error("Bench.Failed", &other.to_string());
            Ended::Code(EXIT_RUN)
        }
    };
    if args.only_planning {
        let (machine, ends) = planning(&options).await.map_err(failed)?;
        let json = json!({"event": "bench", "machine": machine, "planning": ends.planning, "together": ends.together});
        output.result(|| Some(view::bench::ends_of_batches(&machine, &ends)), &json);
        return Ok(());
    }
    let outcome = bench(&options).await.map_err(failed)?;
    output.progress(&format!("measured in {:.0} s", outcome.seconds));
    output.result(|| Some(view::bench::text(&outcome)), &json!({"event": "bench", "outcome": outcome}));
    Ok(())
}
