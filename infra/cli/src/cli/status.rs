//! `fresco status`, `fresco stop`, `fresco recollect` and `fresco open`.

use fresco_cli::view::{progress, runs};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::output::Output;
use super::{CommandError, EXIT_INPUT, EXIT_RUN, Target, stack};

/// The runs of a list: as many as fit on a screen.
const RECENT: u32 = 20;

pub(super) async fn status(output: &Output, target: &Target, run: Option<&str>) -> Result<(), CommandError> {
    let run = run.map(|run| parse(output, run)).transpose()?;
    let connection = stack::connect_default(output, target).await?;
    let now = fresco_cli::clock::now();
    let Some(run) = run else {
        let page = connection.api.runs(RECENT, None).await?;
        let text = || Some(if page.runs.is_empty() { "No runs yet.".to_owned() } else { runs::list(&page.runs, now) });
        output.result(text, &json!({"event": "runs", "runs": page.runs}));
        return Ok(());
    };
    let view = connection.api.run(&run).await?;
    output.result(|| Some(runs::steps(&view, now)), &json!({"event": "run", "run": view}));
    Ok(())
}

pub(super) async fn stop(output: &Output, target: &Target, run: &str) -> Result<(), CommandError> {
    let run = parse(output, run)?;
    let connection = stack::connect_default(output, target).await?;
    let stopped = connection.api.stop(&run).await?;
    output.result(|| Some(progress::stopped(&stopped)), &json!({"event": "stopped", "stopped": stopped}));
    Ok(())
}

pub(super) async fn recollect(output: &Output, target: &Target, run: &str) -> Result<(), CommandError> {
    let run = parse(output, run)?;
    let connection = stack::connect_default(output, target).await?;
    let view = connection.api.recollect(&run).await?;
    output.result(|| Some(runs::recollected(&view)), &json!({"event": "recollected", "recollected": view}));
    Ok(())
}

/// Opens the page of a run, by default of the latest.
pub(super) async fn open(output: &Output, target: &Target, run: Option<&str>, print: bool) -> Result<(), CommandError> {
    let run = run.map(|run| parse(output, run)).transpose()?;
    let connection = stack::connect_default(output, target).await?;
    let run = match run {
        Some(run) => run,
        None => match connection.api.runs(1, None).await?.runs.first() {
            Some(latest) => parse(output, &latest.id)?,
            None => {
                output.error("Run.NotFound", "there are no runs yet");
                return Err(CommandError::Code(EXIT_RUN));
            }
        },
    };
    let view = connection.api.run(&run).await?;
    let page = connection.api.page(&view);
    let opened = !print && open_in_browser(&page);
    output.result(|| Some(page.clone()), &json!({"event": "page", "run_id": run, "url": page, "opened": opened}));
    if target.stack.is_none() && !connection.stays() {
        output.progress("The page exists as long as the stack is up: `cargo fresco up` keeps it running.");
    }
    Ok(())
}

/// Returns whether a browser was started. A missing browser is no error, since the URL is printed.
fn open_in_browser(page: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || std::process::Stdio::null();
    let started = std::process::Command::new(program).arg(page).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    started.is_ok_and(|status| status.success())
}

pub(super) fn parse(output: &Output, run: &str) -> Result<RunId, CommandError> {
    RunId::parse(run).map_err(|error| {
        output.error("bad_run_id", &error.to_string());
        CommandError::Code(EXIT_INPUT)
    })
}
