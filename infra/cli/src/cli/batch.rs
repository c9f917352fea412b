//! `fresco batch`: starts a batch of one pipeline over many rows and watches it, or watches, redrives, stops or lists
//! existing batches. A batch does not depend on being watched.

mod hints;
mod rows;

use std::path::{Path, PathBuf};

use clap::Args;
use fresco_api_types::filenames::MANIFEST;
use fresco_api_types::{BatchBody, BatchView, OnBadRow};
use fresco_cli::api::{Api, ApiError, BatchUpdate, RESULTS, ResultsError, check_batch_folder};
use fresco_cli::names::on_disk;
use fresco_cli::view::batches;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::Format;
use fresco_pipeline::status::BatchStatus;
use serde_json::{Value, json};

use super::interrupt::Interrupts;
use super::output::Output;
use super::pipeline::{PipelineArgs, name_and_value};
use super::stack::Connection;
use super::{CommandError, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_RUN, SimulatorArgs, Target, fetch, stack, status};
use rows::RowsFile;

/// The batches of a list: as many as fit on a screen.
const RECENT: u32 = 20;
/// The default folder of results, which go into a subfolder named by the batch.
const OUT: &str = "out";

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    #[command(flatten)]
    start: StartArgs,
    /// The folder of results.jsonl and manifest.json. The default is out/BATCH.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["stop", "list"])]
    out: Option<PathBuf>,
    /// Watch an existing batch and download its results.
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["stop", "list"])]
    watch: Option<String>,
    /// Redrive an ended batch and watch it: rows that failed or did not run run again, the others are kept.
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["watch", "stop", "list"])]
    redrive: Option<String>,
    /// Stop a batch: no further chunk starts, and paid results are kept.
    #[arg(long, value_name = "BATCH", conflicts_with = "list")]
    stop: Option<String>,
    /// List the latest batches.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    simulator: SimulatorArgs,
}

/// The arguments of a new batch.
#[derive(Debug, Args)]
#[group(multiple = true, conflicts_with_all = ["watch", "redrive", "stop", "list"])]
struct StartArgs {
    /// The pipeline document, YAML or JSON.
    #[arg(required_unless_present_any = ["watch", "redrive", "stop", "list"])]
    pipeline: Option<PathBuf>,
    /// The file of rows: .jsonl, .csv, .json or .txt. Each row gives `id`, `input` and vars to a run of the pipeline.
    #[arg(required_unless_present_any = ["watch", "redrive", "stop", "list"])]
    rows: Option<PathBuf>,
    /// The input text of rows without one.
    #[arg(long, short, value_name = "TEXT")]
    input: Option<String>,
    /// A value for {{vars.NAME}}; a row's own value takes precedence. May be given more than once.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    vars: Vec<(String, String)>,
    /// Set {{env.NAME}} to the environment variable NAME. It is stored with the batch: not for secrets. May be given more
    /// than once.
    #[arg(long = "env", value_name = "NAME")]
    env: Vec<String>,
    /// The format of the rows: jsonl, csv, json or text. The default follows the file's extension.
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// The rows of a chunk. The default depends on the slowest step type.
    #[arg(long, value_name = "N")]
    chunk_size: Option<u32>,
    /// The chunks that run at a time. The default is 1.
    #[arg(long, value_name = "N")]
    max_concurrent_chunks: Option<u32>,
    /// The pause after each chunk. The default is 1 second.
    #[arg(long, value_name = "SECONDS")]
    rate_limit_delay: Option<u32>,
    /// The rows of a chunk that run at a time. The default is the pipeline's own.
    #[arg(long, value_name = "N")]
    max_workers: Option<u32>,
    /// The failure tolerance: more failed rows stop the batch. The default is no limit.
    #[arg(long, value_name = "N|P%", value_parser = tolerance)]
    tolerate: Option<Value>,
    /// The budget of the batch.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    max_cost: Option<Money>,
    /// The treatment of invalid rows: skip omits them, stop rejects the batch.
    #[arg(long, value_name = "skip|stop", default_value = "skip", value_parser = on_bad_row)]
    on_bad_row: OnBadRow,
    /// An idempotency key: a repeated command with the same key watches the same batch and starts no other.
    #[arg(long, value_name = "KEY")]
    once: Option<String>,
}

fn format(text: &str) -> Result<Format, String> {
    let known = [Format::Jsonl, Format::Csv, Format::Json, Format::Text];
    known
        .into_iter()
        .find(|format| format.as_str() == text)
        .ok_or_else(|| "expected jsonl, csv, json or text".to_owned())
}

fn tolerance(text: &str) -> Result<Value, String> {
    let percent = text.strip_suffix('%').and_then(|part| part.parse::<u32>().ok()).filter(|percent| *percent <= 100);
    match (text.parse::<u64>(), percent) {
        (Ok(rows), _) => Ok(json!(rows)),
        (_, Some(percent)) => Ok(json!(format!("{percent}%"))),
        _ => Err("expected a number of rows or a percentage, such as 5%".to_owned()),
    }
}

fn dollars(text: &str) -> Result<Money, String> {
    let dollars = text.strip_prefix('$').unwrap_or(text).parse().ok().and_then(Money::from_dollars);
    dollars.ok_or_else(|| "expected dollars, such as 2.50".to_owned())
}

fn on_bad_row(text: &str) -> Result<OnBadRow, String> {
    match text {
        "skip" => Ok(OnBadRow::Skip),
        "stop" => Ok(OnBadRow::Stop),
        _ => Err("expected skip or stop".to_owned()),
    }
}

pub(super) async fn batch(output: &Output, target: &Target, args: BatchArgs) -> Result<(), CommandError> {
    if args.list {
        return list(output, target, &args.simulator).await;
    }
    if let Some(id) = &args.stop {
        return stop(output, target, &args.simulator, id).await;
    }
    if let Some(id) = args.watch.as_ref().or(args.redrive.as_ref()) {
        let batch = status::parse(output, id)?;
        check_folder(output, args.out.as_deref(), |found| found == batch.as_str())?;
        let connection = stack::connect_as_built(output, target, &args.simulator).await?;
        if args.redrive.is_some() {
            connection.api.redrive_batch(&batch).await?;
        } else {
            warn_if_orphaned(output, &connection);
        }
        return watch(output, target, &connection, &batch, args.out.as_deref()).await;
    }
    start(output, target, args).await
}

async fn start(output: &Output, target: &Target, args: BatchArgs) -> Result<(), CommandError> {
    let BatchArgs { start, out, simulator, .. } = args;
    let (Some(pipeline), Some(rows)) = (start.pipeline, start.rows) else {
        output.error("no_rows", "a pipeline and its rows are needed");
        return Err(CommandError::Code(EXIT_INPUT));
    };
    // With an idempotency key the batch may exist already; its id is known only after the start.
    check_folder(output, out.as_deref(), |_| start.once.is_some())?;
    let rows = RowsFile::open(output, &on_disk(&rows), start.format)?;
    let pipeline = PipelineArgs::of_batch(pipeline, start.input, start.vars, start.env).gather(output).await?;
    pipeline.request.check_unread_input().map_err(|problems| pipeline.report(output, &problems))?;
    rows.check_with(output, &pipeline)?;
    let connection = stack::connect(output, target, &simulator).await?;
    let mut body = BatchBody {
        chunk_size: start.chunk_size,
        max_concurrent_chunks: start.max_concurrent_chunks,
        rate_limit_delay: start.rate_limit_delay,
        max_workers: start.max_workers,
        tolerate: start.tolerate,
        max_cost: start.max_cost.map(Money::as_micros),
        on_bad_row: start.on_bad_row,
        ..connection.api.batch_body(&pipeline.request, &pipeline.inputs).await?
    };
    rows.add_to(output, &connection.api, &mut body).await?;
    let started = match connection.api.start_batch(&body, start.once.as_deref()).await {
        Ok(started) => started,
        Err(ApiError::Document(problems)) => return Err(pipeline.report(output, &problems)),
        // The API checks the bounds of the arguments.
        Err(error @ ApiError::Problem(_)) if is_refusal(&error) => {
            output.error(error.code(), &error.to_string());
            return Err(CommandError::Code(EXIT_INPUT));
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
        warn_if_orphaned(output, &connection);
    }
    watch(output, target, &connection, &batch, out.as_deref()).await
}

/// Warns that an existing batch does not continue on a stack that this command has started.
fn warn_if_orphaned(output: &Output, connection: &Connection) {
    if !connection.stays() {
        output.progress(
            "No stack was up. A batch that was running when its stack ended does not continue by itself: stop watching, and \
             redrive it with --redrive.",
        );
    }
}

fn is_refusal(error: &ApiError) -> bool {
    matches!(error, ApiError::Problem(problem) if matches!(problem.status, 400 | 413 | 422))
}

fn check_folder(output: &Output, out: Option<&Path>, is_own: impl Fn(&str) -> bool) -> Result<(), CommandError> {
    let Some(folder) = out else { return Ok(()) };
    check_batch_folder(folder, is_own).map_err(|error| {
        output.error("bad_folder", &error.to_string());
        CommandError::Code(EXIT_INPUT)
    })
}

async fn list(output: &Output, target: &Target, simulator: &SimulatorArgs) -> Result<(), CommandError> {
    let connection = stack::connect_as_built(output, target, simulator).await?;
    let page = connection.api.batches(RECENT, None).await?;
    let text = || Some(batches::list(&page.batches, fresco_cli::clock::now()));
    output.result(text, &json!({"event": "batches", "batches": page.batches}));
    Ok(())
}

async fn stop(output: &Output, target: &Target, simulator: &SimulatorArgs, id: &str) -> Result<(), CommandError> {
    let batch = status::parse(output, id)?;
    let connection = stack::connect_as_built(output, target, simulator).await?;
    let view = connection.api.stop_batch(&batch).await?;
    output.result(|| Some(batches::stopped(&view)), &json!({"event": "batch", "batch": view}));
    Ok(())
}

/// Watches a batch to its end and downloads its results. An interrupt ends only the watching.
async fn watch(
    output: &Output,
    target: &Target,
    connection: &Connection,
    batch: &RunId,
    out: Option<&Path>,
) -> Result<(), CommandError> {
    let mut interrupts = Interrupts::listen();
    let view = tokio::select! {
        view = follow(output, target, &connection.api, batch) => view?,
        () = interrupts.next() => {
            let stays = connection.stays();
            let text = || Some(hints::detached(target, batch, stays));
            output.result(text, &json!({"event": "detached", "batch_id": batch, "goes_on": stays}));
            return Err(CommandError::Code(EXIT_INTERRUPTED));
        }
    };
    // Once listened for, an interrupt does not end the process by itself.
    tokio::select! {
        saved = download(output, target, &connection.api, batch, out) => saved?,
        () = interrupts.next() => {
            output.error("Output.NotSaved", &hints::not_downloaded(target, batch));
            return Err(CommandError::Code(EXIT_INTERRUPTED));
        }
    }
    if view.status == BatchStatus::Succeeded { Ok(()) } else { Err(CommandError::Code(EXIT_RUN)) }
}

async fn follow(output: &Output, target: &Target, api: &Api, batch: &RunId) -> Result<BatchView, CommandError> {
    let (mut watch, mut planned) = (api.watch_batch(batch), false);
    loop {
        let view = match watch.next().await? {
            BatchUpdate::Changed(view) => *view,
            BatchUpdate::Idle(still) => {
                output.progress(&hints::unchanged(target, batch, still));
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
        output.progress(&batches::progress(&view, fresco_cli::clock::now()));
    }
}

async fn download(
    output: &Output,
    target: &Target,
    api: &Api,
    batch: &RunId,
    out: Option<&Path>,
) -> Result<(), CommandError> {
    let missing = || {
        output.error("Output.Missing", &hints::missing_results(target, batch));
        CommandError::Code(EXIT_RUN)
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
        // The manifest may be the one of an earlier end.
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
        let read_asks = |words: &str| read(words).unwrap().start;
        let start = read_asks("p.yaml r.csv --tolerate 5% --max-cost $2.50 --on-bad-row stop --format text");
        assert_eq!((start.tolerate, start.max_cost), (Some(json!("5%")), Some(Money::micros(2_500_000))));
        assert_eq!((start.on_bad_row, start.format), (OnBadRow::Stop, Some(Format::Text)));
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
