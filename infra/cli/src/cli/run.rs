//! `fresco run`: starts a run, watches it and downloads its outputs.

use std::path::Path;
use std::time::Duration;

use fresco_api_types::RunEvent;
use fresco_cli::api::{Api, ApiError, save};
use fresco_cli::view::{progress, runs};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::status::RunStatus;
use serde_json::json;

use super::interrupt::Interrupts;
use super::output::Output;
use super::{CommandError, EXIT_INTERRUPTED, EXIT_RUN, RunArgs, Target, fetch, stack, status};

/// How often a command starts a local stack again that ends under it.
const RESTARTS: u32 = 3;
/// The longest wait for the end of a stopped run.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(output: &Output, target: &Target, args: RunArgs) -> Result<(), CommandError> {
    let pipeline = args.pipeline.read(output).await?;
    let mut connection = stack::connect(output, target, &args.simulator).await?;
    let started = match connection.api.start(&pipeline.request, &pipeline.inputs, args.once.as_deref()).await {
        Ok(started) => started,
        Err(ApiError::Document(problems)) => return Err(pipeline.report(output, &problems)),
        Err(error) => return Err(error.into()),
    };
    let run = status::parse(output, &started.id)?;
    let mut interrupts = Interrupts::listen();
    let mut restarts = 0..RESTARTS;
    let status = loop {
        let api = &connection.api;
        let watched = tokio::select! {
            watched = watch(output, api, &run) => watched,
            () = interrupts.next() => {
                // A second interrupt ends the command at once.
                tokio::select! {
                    stopped = stop(output, api, &run) => stopped?,
                    () = interrupts.next() => {}
                }
                return Err(CommandError::Code(EXIT_INTERRUPTED));
            }
        };
        match watched {
            Ok(status) => break status,
            Err(_) if connection.has_ended() && restarts.next().is_some() => {
                output.progress("the local stack has ended; starting it again, the run continues");
                drop(connection);
                connection = stack::connect_as_built(output, target, &args.simulator).await?;
            }
            Err(error) => return Err(error),
        }
    };
    let api = &connection.api;
    // Once listened for, an interrupt does not end the process by itself.
    tokio::select! {
        saved = download(output, api, &run, &args.out) => saved?,
        () = interrupts.next() => {
            let message = not_downloaded(target, &run, &args.out);
            output.error("Output.NotSaved", &message);
            return Err(CommandError::Code(EXIT_INTERRUPTED));
        }
    }
    if status == RunStatus::Succeeded { Ok(()) } else { Err(CommandError::Code(EXIT_RUN)) }
}

/// Stops the run, and waits a moment for its record to be closed.
async fn stop(output: &Output, api: &Api, run: &RunId) -> Result<(), CommandError> {
    let stopped = api.stop(run).await?;
    output.error("Run.Stopped", &progress::stopped(&stopped));
    // The outcome is reported already, also if the wait fails.
    let _ = tokio::time::timeout(CLOSED_WITHIN, closed(api, run)).await;
    Ok(())
}

/// Downloads the outputs of a run, and prints its end.
async fn download(output: &Output, api: &Api, run: &RunId, out: &Path) -> Result<(), CommandError> {
    let view = api.run(run).await?;
    let manifest = api.manifest(&view).await?;
    let saved = save(api, &view, &manifest, out).await;
    output
        .result(|| Some(format!("\n{}", runs::ended(&manifest))), &json!({"event": "manifest", "manifest": manifest}));
    if let Some(exported) = &manifest.exported {
        output.result(|| progress::exported(exported), &json!({"event": "exported", "exported": exported}));
        // A failed export does not change the run's exit code.
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

/// The hint after an interrupted download of outputs.
fn not_downloaded(target: &Target, run: &RunId, out: &Path) -> String {
    let (folder, rest) = (out.join(run.as_str()), target.flags());
    format!(
        "interrupted: run {run} has ended, and its outputs are in the stack; `cargo fresco fetch {run} --to {}{rest}` \
         downloads them",
        folder.display()
    )
}

/// Waits for the run's end without output.
async fn closed(api: &Api, run: &RunId) -> Result<(), CommandError> {
    let mut watch = api.watch(run);
    loop {
        if watch.next().await?.iter().any(|event| matches!(event, RunEvent::RunEnded { .. })) {
            return Ok(());
        }
    }
}

async fn watch(output: &Output, api: &Api, run: &RunId) -> Result<RunStatus, CommandError> {
    let mut watch = api.watch(run);
    loop {
        for event in watch.next().await? {
            output.result(|| progress::line(&event), &event);
            if let RunEvent::RunEnded { status, .. } = event {
                return Ok(status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_download_names_the_command_that_repeats_it() {
        let target = Target { json: false, stack: Some("media".to_owned()), state: None, port: None };
        let said = not_downloaded(&target, &RunId::parse("run-00000001").unwrap(), Path::new("out"));
        assert!(said.contains("`cargo fresco fetch run-00000001 --to out/run-00000001 --stack media`"), "{said}");
    }
}
