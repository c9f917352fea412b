//! `fresco run`.

use std::time::Duration;

use fresco_engine::StartError;
use fresco_ledger::rows::RunStatus;
use fresco_local::client::{Client, Event, save};
use fresco_local::view::{lines, table};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::output::Output;
use super::{EXIT_INTERRUPTED, EXIT_RUN, Ended, Place, RunArgs, fetch, stack};

/// How long a run that was stopped is waited for.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(output: &Output, place: &Place, args: RunArgs) -> Result<(), Ended> {
    let pipeline = args.pipeline.read(output).await?;
    let stack = stack::start_with(output, place, &args.simulator, false).await?;
    let client = stack::client(&stack).await?;
    client.store(&pipeline.inputs).await?;
    let run = match client.start(&pipeline.request).await {
        Ok(run) => run,
        Err(StartError::Document(problems)) => return Err(pipeline.say(output, &problems)),
        Err(StartError::Failed(failure)) => return Err(failure.into()),
    };
    let event = Event::RunStarted { run_id: run.clone() };
    output.result(|| lines::line(&event), &event);
    let status = tokio::select! {
        status = watch(output, &client, &run) => status?,
        _ = tokio::signal::ctrl_c() => {
            let stopped = client.stop(&run).await?;
            output.error("Run.Stopped", &lines::stopped(&stopped));
            // Its record is closed in a moment; who is in a hurry interrupts once more.
            tokio::select! {
                _ = tokio::time::timeout(CLOSED_WITHIN, closed(&client, &run)) => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return Err(Ended::Code(EXIT_INTERRUPTED));
        }
    };
    let manifest = client.manifest(&run).await?;
    let saved = save(&client, &manifest, &args.out).await;
    output.result(
        || Some(format!("\n{}", table::of_run(&manifest))),
        &json!({"event": "manifest", "manifest": manifest}),
    );
    if let Some(exported) = &manifest.exported {
        output.result(|| lines::exported(exported), &json!({"event": "exported", "exported": exported}));
        // The run is what it is, and so is its exit code.
        for left in &exported.failed {
            output.error(left.failure.name.as_str(), &lines::not_exported(left));
        }
    }
    let saved = saved.map_err(|error| fetch::not_saved(output, &error))?;
    output.result(
        || Some(format!("Outputs and contact sheet: {}/index.html", saved.folder.display())),
        &fetch::object(&saved),
    );
    fetch::complete(output, &saved)?;
    if status == RunStatus::Succeeded { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}

/// Waits for the run's end, without a word: it was said how it ends.
async fn closed(client: &Client, run: &RunId) -> Result<(), Ended> {
    let mut watch = client.watch(run);
    loop {
        if watch.next().await?.iter().any(|event| matches!(event, Event::RunEnded { .. })) {
            return Ok(());
        }
    }
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
