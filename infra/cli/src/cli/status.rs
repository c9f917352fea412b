//! `fresco status`, `fresco stop` and `fresco open`.

use fresco_cli::view::{progress, table};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, EXIT_RUN, Ended, Place, stack};

/// As many runs as fit on a screen.
const RECENT: u32 = 20;

pub(super) async fn status(output: &Output, place: &Place, run: Option<&str>) -> Result<(), Ended> {
    let run = run.map(|run| parse(output, run)).transpose()?;
    let asked = stack::asked_plainly(output, place).await?;
    let now = fresco_cli::clock::now();
    let Some(run) = run else {
        let page = asked.api.runs(RECENT, None).await?;
        let text =
            || Some(if page.runs.is_empty() { "No runs yet.".to_owned() } else { table::of_runs(&page.runs, now) });
        output.result(text, &json!({"event": "runs", "runs": page.runs}));
        return Ok(());
    };
    let view = asked.api.run(&run).await?;
    output.result(|| Some(table::of_steps(&view, now)), &json!({"event": "run", "run": view}));
    Ok(())
}

pub(super) async fn stop(output: &Output, place: &Place, run: &str) -> Result<(), Ended> {
    let run = parse(output, run)?;
    let asked = stack::asked_plainly(output, place).await?;
    let stopped = asked.api.stop(&run).await?;
    output.result(|| Some(progress::stopped(&stopped)), &json!({"event": "stopped", "stopped": stopped}));
    Ok(())
}

/// Opens a run's page, the latest run's where none is named.
pub(super) async fn open(output: &Output, place: &Place, run: Option<&str>, print: bool) -> Result<(), Ended> {
    let run = run.map(|run| parse(output, run)).transpose()?;
    let asked = stack::asked_plainly(output, place).await?;
    let run = match run {
        Some(run) => run,
        None => match asked.api.runs(1, None).await?.runs.first() {
            Some(latest) => parse(output, &latest.id)?,
            None => {
                output.error("Run.NotFound", "there are no runs yet");
                return Err(Ended::Code(EXIT_RUN));
            }
        },
    };
    let view = asked.api.run(&run).await?;
    let page = asked.api.page(&view);
    let opened = !print && open_in_browser(&page);
    output.result(|| Some(page.clone()), &json!({"event": "page", "run_id": run, "url": page, "opened": opened}));
    if place.stack.is_none() && !asked.stays() {
        output.progress("The page is there as long as the stack is: `cargo fresco up` keeps it running.");
    }
    Ok(())
}

/// Whether a browser was asked to. One that is not there is no error: the address is printed.
fn open_in_browser(page: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || std::process::Stdio::null();
    let begun = std::process::Command::new(program).arg(page).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    begun.is_ok_and(|status| status.success())
}

pub(super) fn parse(output: &Output, run: &str) -> Result<RunId, Ended> {
    RunId::parse(run).map_err(|error| {
        output.error("bad_run_id", &error.to_string());
        Ended::Code(EXIT_INPUT)
    })
}
