//! `fresco run`.

use std::path::Path;
use std::time::Duration;

use fresco_cli::api::{Api, ApiError, save};
use fresco_cli::view::{progress, table};
use fresco_engine::wire::Happened;
use fresco_ledger::records::RunStatus;
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::interrupt::Interrupts;
use super::output::Output;
use super::{EXIT_INTERRUPTED, EXIT_RUN, Ended, Place, RunArgs, fetch, stack, status};

/// How long a run that was stopped is waited for.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(output: &Output, place: &Place, args: RunArgs) -> Result<(), Ended> {
    let pipeline = args.pipeline.read(output).await?;
    let asked = stack::asked(output, place, &args.simulator).await?;
    let api = &asked.api;
    let started = match api.start(&pipeline.request, &pipeline.inputs, args.once.as_deref()).await {
        Ok(started) => started,
        Err(ApiError::Document(problems)) => return Err(pipeline.say(output, &problems)),
        Err(error) => return Err(error.into()),
    };
    let run = status::parse(output, &started.id)?;
    let mut interrupts = Interrupts::listen();
    let status = tokio::select! {
        status = watch(output, api, &run) => status?,
        () = interrupts.next() => {
            // Who is in a hurry interrupts once more.
            tokio::select! {
                stopped = stop(output, api, &run) => stopped?,
                () = interrupts.next() => {}
            }
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    };
    // Asked for once, an interrupt ends nothing by itself any more.
    tokio::select! {
        brought = bring(output, api, &run, &args.out) => brought?,
        () = interrupts.next() => {
            let message = left(place, &run, &args.out);
            output.error("Output.NotSaved", &message);
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    }
    if status == RunStatus::Succeeded { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}

/// Stops the run, and waits a moment for its record to be closed.
async fn stop(output: &Output, api: &Api, run: &RunId) -> Result<(), Ended> {
    let stopped = api.stop(run).await?;
    output.error("Run.Stopped", &progress::stopped(&stopped));
    // What it came to is said already, whatever becomes of the waiting.
    let _ = tokio::time::timeout(CLOSED_WITHIN, closed(api, run)).await;
    Ok(())
}

/// Brings what the run came to.
async fn bring(output: &Output, api: &Api, run: &RunId, out: &Path) -> Result<(), Ended> {
    let view = api.run(run).await?;
    let manifest = api.manifest(&view).await?;
    let saved = save(api, &view, &manifest, out).await;
    output.result(
        || Some(format!("\n{}", table::of_run(&manifest))),
        &json!({"event": "manifest", "manifest": manifest}),
    );
    if let Some(exported) = &manifest.exported {
        output.result(|| progress::exported(exported), &json!({"event": "exported", "exported": exported}));
        // The run is what it is, and so is its exit code.
        for left in &exported.failed {
            output.error(left.failure.name.as_str(), &progress::not_exported(left));
        }
    }
    let saved = saved.map_err(|error| fetch::not_saved(output, &error))?;
    output.result(
        || Some(format!("Outputs and contact sheet: {}/index.html", saved.folder.display())),
        &fetch::object(&saved),
    );
    fetch::complete(output, &saved)
}

/// The message for an interrupt during the download of outputs.
fn left(place: &Place, run: &RunId, out: &Path) -> String {
    let (folder, rest) = (out.join(run.as_str()), place.words());
    format!(
        "interrupted: run {run} has ended, and its outputs are in the stack; `cargo fresco fetch {run} --to {}{rest}` brings \
         them",
        folder.display()
    )
}

/// Waits for the run's end, without a word: it was said how it ends.
async fn closed(api: &Api, run: &RunId) -> Result<(), Ended> {
    let mut watch = api.watch(run);
    loop {
        if watch.next().await?.iter().any(|event| matches!(event, Happened::RunEnded { .. })) {
            return Ok(());
        }
    }
}

async fn watch(output: &Output, api: &Api, run: &RunId) -> Result<RunStatus, Ended> {
    let mut watch = api.watch(run);
    loop {
        for event in watch.next().await? {
            output.result(|| progress::line(&event), &event);
            if let Happened::RunEnded { status, .. } = event {
                return Ok(status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_interrupts_the_bringing_is_told_how_to_go_on() {
        let place = Place { json: false, stack: Some("media".to_owned()), state: None, port: None };
        let said = left(&place, &RunId::parse("run-00000001").unwrap(), Path::new("out"));
        assert!(said.contains("`cargo fresco fetch run-00000001 --to out/run-00000001 --stack media`"), "{said}");
    }
}
