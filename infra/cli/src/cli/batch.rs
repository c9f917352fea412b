//! `fresco batch`: one pipeline over many rows. It starts a batch and watches it, or watches, stops or lists those that are
//! there; the batch does not depend on being watched.

mod rows;
mod words;

use std::path::{Path, PathBuf};

use clap::Args;
use fresco_cli::api::{Api, ApiError, BatchNews, RESULTS, ResultsError, check_batch_folder};
use fresco_cli::view::batches;
use fresco_engine::names::MANIFEST;
use fresco_engine::wire::{BatchBody, BatchView, OnBadRow};
use fresco_ledger::clock::SystemClock;
use fresco_ledger::records::BatchStatus;
use fresco_ledger::traits::Clock;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::Format;
use serde_json::{Value, json};

use super::interrupt::Interrupts;
use super::output::Output;
use super::pipeline::{PipelineArgs, name_and_value};
use super::stack::Asked;
use super::{EXIT_INPUT, EXIT_INTERRUPTED, EXIT_RUN, Ended, Place, SimulatorArgs, fetch, stack, status};
use rows::RowsFile;

/// As many batches as fit on a screen.
const RECENT: u32 = 20;
/// Where results go, in a folder named by the batch.
const OUT: &str = "out";

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    #[command(flatten)]
    asks: StartArgs,
    /// The folder that results.jsonl and manifest.json go to; out/BATCH otherwise.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["stop", "list"])]
    out: Option<PathBuf>,
    /// Watch a batch that was started before, and bring its results here.
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["stop", "list"])]
    watch: Option<String>,
    /// Drive a batch that has ended anew, and watch it: rows that failed or were not run run again, the rest is there.
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["watch", "stop", "list"])]
    redrive: Option<String>,
    /// Stop a batch: no chunk is begun, and what is paid is kept.
    #[arg(long, value_name = "BATCH", conflicts_with = "list")]
    stop: Option<String>,
    /// The latest batches.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    simulator: SimulatorArgs,
}

/// What a new batch is asked with.
#[derive(Debug, Args)]
#[group(multiple = true, conflicts_with_all = ["watch", "redrive", "stop", "list"])]
struct StartArgs {
    /// The pipeline document, YAML or JSON.
    #[arg(required_unless_present_any = ["watch", "redrive", "stop", "list"])]
    pipeline: Option<PathBuf>,
    /// The rows: .jsonl, .csv, .json or .txt. Each gives `id`, `input` and vars to a run of the pipeline.
    #[arg(required_unless_present_any = ["watch", "redrive", "stop", "list"])]
    rows: Option<PathBuf>,
    /// The input text of rows that give none.
    #[arg(long, short, value_name = "TEXT")]
    input: Option<String>,
    /// A value for {{vars.NAME}}; those of a row go before it. May be given more than once.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    vars: Vec<(String, String)>,
    /// Give {{env.NAME}} the value of the environment's variable NAME. It is kept with the batch: not for secrets. May be given
    /// more than once.
    #[arg(long = "env", value_name = "NAME")]
    env: Vec<String>,
    /// How the rows are written: jsonl, csv, json or text. By the file's ending otherwise.
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Rows of a chunk. By the slowest type of step otherwise.
    #[arg(long, value_name = "N")]
    chunk_size: Option<u32>,
    /// Chunks side by side; 1 otherwise.
    #[arg(long, value_name = "N")]
    max_concurrent_chunks: Option<u32>,
    /// The pause behind each chunk; 1 second otherwise.
    #[arg(long, value_name = "SECONDS")]
    rate_limit_delay: Option<u32>,
    /// Rows of a chunk side by side; as the pipeline says otherwise.
    #[arg(long, value_name = "N")]
    max_workers: Option<u32>,
    /// More failed rows than this stop the batch. Nothing does otherwise.
    #[arg(long, value_name = "N|P%", value_parser = tolerance)]
    tolerate: Option<Value>,
    /// The most that the batch may spend.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    max_cost: Option<Money>,
    /// What happens to rows that cannot be run: skip leaves them out, stop refuses the batch.
    #[arg(long, value_name = "skip|stop", default_value = "skip", value_parser = on_bad_row)]
    on_bad_row: OnBadRow,
    /// An idempotency key: asked again under it, the same batch is watched and no other is started.
    #[arg(long, value_name = "KEY")]
    once: Option<String>,
}

fn format(text: &str) -> Result<Format, String> {
    let known = [Format::Jsonl, Format::Csv, Format::Json, Format::Text];
    known.into_iter().find(|format| format.as_str() == text).ok_or_else(|| "say jsonl, csv, json or text".to_owned())
}

fn tolerance(text: &str) -> Result<Value, String> {
    let percent = text.strip_suffix('%').and_then(|part| part.parse::<u32>().ok()).filter(|percent| *percent <= 100);
    match (text.parse::<u64>(), percent) {
        (Ok(rows), _) => Ok(json!(rows)),
        (_, Some(percent)) => Ok(json!(format!("{percent}%"))),
        _ => Err("write a number of rows, or a part as 5%".to_owned()),
    }
}

fn dollars(text: &str) -> Result<Money, String> {
    let dollars = text.strip_prefix('$').unwrap_or(text).parse().ok().and_then(Money::from_dollars);
    dollars.ok_or_else(|| "write dollars, such as 2.50".to_owned())
}

fn on_bad_row(text: &str) -> Result<OnBadRow, String> {
    match text {
        "skip" => Ok(OnBadRow::Skip),
        "stop" => Ok(OnBadRow::Stop),
        _ => Err("say skip or stop".to_owned()),
    }
}

pub(super) async fn batch(output: &Output, place: &Place, args: BatchArgs) -> Result<(), Ended> {
    if args.list {
        return list(output, place, &args.simulator).await;
    }
    if let Some(id) = &args.stop {
        return stop(output, place, &args.simulator, id).await;
    }
    if let Some(id) = args.watch.as_ref().or(args.redrive.as_ref()) {
        let batch = status::parse(output, id)?;
        check_folder(output, args.out.as_deref(), |found| found == batch.as_str())?;
        let asked = stack::asked(output, place, &args.simulator).await?;
        if args.redrive.is_some() {
            asked.api.redrive_batch(&batch).await?;
        } else {
            warn_if_left(output, &asked);
        }
        return watch(output, place, &asked, &batch, args.out.as_deref()).await;
    }
    start(output, place, args).await
}

async fn start(output: &Output, place: &Place, args: BatchArgs) -> Result<(), Ended> {
    let BatchArgs { asks, out, simulator, .. } = args;
    let (Some(pipeline), Some(rows)) = (asks.pipeline, asks.rows) else {
        output.error("no_rows", "a pipeline and its rows are needed");
        return Err(Ended::Code(EXIT_INPUT));
    };
    // Under a key it may be the batch that is there already; which, is known behind its start.
    check_folder(output, out.as_deref(), |_| asks.once.is_some())?;
    let rows = RowsFile::open(output, &rows, asks.format)?;
    let pipeline = PipelineArgs::of_batch(pipeline, asks.input, asks.vars, asks.env).gather(output).await?;
    rows.try_with(output, &pipeline)?;
    let asked = stack::asked(output, place, &simulator).await?;
    let mut body = BatchBody {
        chunk_size: asks.chunk_size,
        max_concurrent_chunks: asks.max_concurrent_chunks,
        rate_limit_delay: asks.rate_limit_delay,
        max_workers: asks.max_workers,
        tolerate: asks.tolerate,
        max_cost: asks.max_cost.map(Money::as_micros),
        on_bad_row: asks.on_bad_row,
        ..asked.api.batch_body(&pipeline.request, &pipeline.inputs).await?
    };
    rows.add_to(output, &asked.api, &mut body).await?;
    let started = match asked.api.start_batch(&body, asks.once.as_deref()).await {
        Ok(started) => started,
        Err(ApiError::Document(problems)) => return Err(pipeline.say(output, &problems)),
        // Its bounds are the API's: they are not doubled here.
        Err(error @ ApiError::Problem(_)) if is_refusal(&error) => {
            output.error(error.code(), &error.to_string());
            return Err(Ended::Code(EXIT_INPUT));
        }
        Err(error) => return Err(error.into()),
    };
    let batch = status::parse(output, &started.id)?;
    let text = || {
        let how = if started.existing { "had been started before under this key" } else { "started" };
        Some(format!("batch {batch} {how}"))
    };
    output.result(text, &json!({"event": "batch_started", "batch_id": batch, "existing": started.existing}));
    if started.existing {
        warn_if_left(output, &asked);
    }
    watch(output, place, &asked, &batch, out.as_deref()).await
}

/// A batch that was there before the command started a stack for itself has nobody who works on it.
fn warn_if_left(output: &Output, asked: &Asked) {
    if !asked.stays() {
        output.progress(
            "No stack was up. A batch that was under way when its stack ended does not go on by itself: stop watching, and drive it \
             anew with --redrive.",
        );
    }
}

fn is_refusal(error: &ApiError) -> bool {
    matches!(error, ApiError::Problem(problem) if matches!(problem.status, 400 | 413 | 422))
}

fn check_folder(output: &Output, out: Option<&Path>, is_own: impl Fn(&str) -> bool) -> Result<(), Ended> {
    let Some(folder) = out else { return Ok(()) };
    check_batch_folder(folder, is_own).map_err(|error| {
        output.error("bad_folder", &error.to_string());
        Ended::Code(EXIT_INPUT)
    })
}

async fn list(output: &Output, place: &Place, simulator: &SimulatorArgs) -> Result<(), Ended> {
    let asked = stack::asked(output, place, simulator).await?;
    let page = asked.api.batches(RECENT, None).await?;
    let text = || Some(batches::list(&page.batches, SystemClock.now()));
    output.result(text, &json!({"event": "batches", "batches": page.batches}));
    Ok(())
}

async fn stop(output: &Output, place: &Place, simulator: &SimulatorArgs, id: &str) -> Result<(), Ended> {
    let batch = status::parse(output, id)?;
    let asked = stack::asked(output, place, simulator).await?;
    let view = asked.api.stop_batch(&batch).await?;
    output.result(|| Some(batches::stopped(&view)), &json!({"event": "batch", "batch": view}));
    Ok(())
}

/// Watches a batch to its end, and brings what it came to here. An interrupt ends the watching only.
async fn watch(output: &Output, place: &Place, asked: &Asked, batch: &RunId, out: Option<&Path>) -> Result<(), Ended> {
    let mut interrupts = Interrupts::listen();
    let view = tokio::select! {
        view = follow(output, place, &asked.api, batch) => view?,
        () = interrupts.next() => {
            let stays = asked.stays();
            let text = || Some(words::detached(place, batch, stays));
            output.result(text, &json!({"event": "detached", "batch_id": batch, "goes_on": stays}));
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    };
    // Asked for once, an interrupt ends nothing by itself any more.
    tokio::select! {
        brought = bring(output, place, &asked.api, batch, out) => brought?,
        () = interrupts.next() => {
            output.error("Output.NotSaved", &words::left(place, batch));
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    }
    if view.status == BatchStatus::Succeeded { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}

async fn follow(output: &Output, place: &Place, api: &Api, batch: &RunId) -> Result<BatchView, Ended> {
    let (mut watch, mut planned) = (api.watch_batch(batch), false);
    loop {
        let view = match watch.next().await? {
            BatchNews::Changed(view) => *view,
            BatchNews::Still(still) => {
                output.progress(&words::stands(place, batch, still));
                continue;
            }
        };
        if let Some(plan) = view.plan.as_ref().filter(|_| !planned) {
            planned = true;
            let object = json!({"event": "batch_planned", "batch_id": batch, "plan": plan});
            output.result(|| Some(batches::plan(&view, plan)), &object);
        }
        output.result(|| None, &json!({"event": "batch", "batch": view}));
        if view.status.is_final() {
            return Ok(view);
        }
        output.progress(&batches::progress(&view, SystemClock.now()));
    }
}

async fn bring(output: &Output, place: &Place, api: &Api, batch: &RunId, out: Option<&Path>) -> Result<(), Ended> {
    let missing = || {
        output.error("Output.Missing", &words::gone(place, batch));
        Ended::Code(EXIT_RUN)
    };
    let results = api.batch_results(batch).await?;
    let manifest = match api.batch_manifest(&results).await {
        Ok(manifest) => manifest,
        Err(ApiError::Gone) => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    let folder = out.map_or_else(|| Path::new(OUT).join(batch.as_str()), Path::to_owned);
    let saved = api.save_batch(&results, &manifest, &folder).await;
    output.result(
        || Some(format!("\n{}", batches::ended(&manifest))),
        &json!({"event": "batch_manifest", "manifest": manifest}),
    );
    match saved {
        Ok(()) => {}
        // The manifest may be that of an earlier end.
        Err(ResultsError::Fetch(ApiError::Gone)) => return Err(missing()),
        Err(error) => return Err(fetch::not_saved(output, &error)),
    }
    output.result(
        || Some(format!("Results: {}", folder.join(RESULTS).display())),
        &json!({"event": "saved", "folder": folder, "files": [MANIFEST, RESULTS], "missing": []}),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn read(words: &str) -> Option<BatchArgs> {
        let words = ["fresco", "batch"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words).ok()?.command {
            Command::Batch(args) => Some(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_started_watched_stopped_or_listed() {
        let read_asks = |words: &str| read(words).unwrap().asks;
        let asks = read_asks("p.yaml r.csv --tolerate 5% --max-cost $2.50 --on-bad-row stop --format text");
        assert_eq!((asks.tolerate, asks.max_cost), (Some(json!("5%")), Some(Money::micros(2_500_000))));
        assert_eq!((asks.on_bad_row, asks.format), (OnBadRow::Stop, Some(Format::Text)));
        assert_eq!(read_asks("p.yaml r.csv --tolerate 0").tolerate, Some(json!(0)));
        assert_eq!(read("--watch run-00000001 --out x").unwrap().watch.unwrap(), "run-00000001");
        assert!(read("--list").unwrap().list && read("--stop run-00000001").unwrap().stop.is_some());
        for wrong in [
            "",
            "p.yaml",
            "p.yaml r.csv --list",
            "p.yaml r.csv --watch run-00000001",
            "--watch run-00000001 --stop run-00000001",
            "--watch run-00000001 --chunk-size 5",
            "--list --out x",
            "p.yaml r.csv --tolerate 101%",
            "p.yaml r.csv --tolerate -1",
            "p.yaml r.csv --max-cost NaN",
            "p.yaml r.csv --on-bad-row never",
            "p.yaml r.csv --format xlsx",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
