//! `fresco run`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use fresco_engine::{RunRequest, StartError};
use fresco_ledger::rows::RunStatus;
use fresco_local::client::{Client, Event, save};
use fresco_local::view::{lines, table};
use fresco_pipeline::document::{MAX_BYTES, Problems};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, EXIT_INTERRUPTED, EXIT_RUN, Ended, Place, RunArgs, stack};

pub(super) async fn run(output: &Output, place: &Place, args: RunArgs) -> Result<(), Ended> {
    let document = read(output, &args.file)?;
    let request = RunRequest { document, input: args.input, ..RunRequest::default() };
    // Before anything is started: a document with problems costs no second.
    if let Err(problems) = request.check() {
        return Err(say(output, &args.file, &request, &problems));
    }
    let stack = stack::start(output, place, args.simulator.scale, false).await?;
    let client = stack::client(&stack).await?;
    let run = match client.start(&request).await {
        Ok(run) => run,
        Err(StartError::Document(problems)) => return Err(say(output, &args.file, &request, &problems)),
        Err(StartError::Failed(failure)) => return Err(failure.into()),
    };
    let event = Event::RunStarted { run_id: run.clone() };
    output.result(|| lines::line(&event), &event);
    let status = tokio::select! {
        status = watch(output, &client, &run) => status?,
        _ = tokio::signal::ctrl_c() => {
            client.stop(&run).await?;
            output.error("Run.Stopped", &format!("run {run} was stopped: nothing new is submitted, and what is paid stays in the cache for the next run"));
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    };
    let manifest = client.manifest(&run).await?;
    let saved = save(&client, &manifest, &args.out).await;
    output.result(
        || Some(format!("\n{}", table::of_run(&manifest))),
        &json!({"event": "manifest", "manifest": manifest}),
    );
    match saved {
        Ok(saved) => {
            let folder = saved.folder.display();
            output.result(
                || Some(format!("Outputs and contact sheet: {folder}/index.html")),
                &json!({"event": "saved", "folder": saved.folder, "files": saved.files.iter().map(|file| &file.name).collect::<Vec<_>>()}),
            );
        }
        Err(error) => {
            output.error("Output.NotSaved", &error.to_string());
            return Err(Ended::Code(EXIT_RUN));
        }
    }
    if status == RunStatus::Succeeded { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}

async fn watch(output: &Output, client: &Client, run: &RunId) -> Result<RunStatus, Ended> {
    let mut watch = client.watch(run);
    loop {
        for event in watch.next().await? {
            output.result(|| lines::line(&event), &event);
            if let Event::RunEnded { status, .. } = event {
                return Ok(status);
            }
        }
    }
}

/// Reads at most as much as may be in a document, whatever the file's size.
fn read(output: &Output, path: &Path) -> Result<String, Ended> {
    let wrong = |message: String| {
        output.error("document_unreadable", &message);
        Ended::Code(EXIT_INPUT)
    };
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("{shown} cannot be read: {error}")))?;
    if bytes.len() > MAX_BYTES {
        return Err(wrong(format!("{shown} is larger than {MAX_BYTES} bytes: too large for a pipeline document")));
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("{shown} is not UTF-8 text")))
}

fn say(output: &Output, path: &Path, request: &RunRequest, problems: &Problems) -> Ended {
    let report = problems.report(&path.display().to_string(), &request.document);
    output.progress(report.trim_end());
    output.result(|| None, &json!({"event": "problems", "problems": problems.0}));
    Ended::Code(EXIT_INPUT)
}
