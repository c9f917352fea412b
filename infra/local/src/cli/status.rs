//! `fresco status` and `fresco stop`.

use fresco_engine::platform::Platform;
use fresco_ledger::rows::StepState;
use fresco_ledger::traits::Clock;
use fresco_local::view::{duration, lines, lines::status_text, source, table};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, Ended, Place, stack};

/// As many runs as fit on a screen.
const RECENT: u32 = 20;

pub(super) async fn status(output: &Output, place: &Place, run: Option<&str>) -> Result<(), Ended> {
    let run = run.map(|run| parse(output, run)).transpose()?;
    let stack = stack::start(output, place, 0.2, false).await?;
    let client = stack::client(&stack).await?;
    let now = client.engine().platform.clock().now();
    let Some(run) = run else {
        let runs = client.recent(RECENT).await?;
        let text = || Some(if runs.is_empty() { "No runs yet.".to_owned() } else { table::of_runs(&runs, now) });
        output.result(text, &json!({"event": "runs", "runs": runs}));
        return Ok(());
    };
    let (row, steps) = client.status(&run).await?;
    let text = || {
        use table::Align::{Left, Right};
        let cells = steps.iter().map(|step| {
            let state = match (step.state, &step.failure) {
                (StepState::Failed, Some(failure)) => failure.to_string(),
                (StepState::Done, _) => "done".to_owned(),
                (StepState::Waiting, _) => "waiting".to_owned(),
                _ => "running".to_owned(),
            };
            let took = step.started_at.map(|from| duration((step.ended_at.unwrap_or(now) - from).max(0)));
            vec![
                step.plan.name.to_string(),
                step.plan.model.clone(),
                source(step.source).to_owned(),
                took.unwrap_or_default(),
                state,
            ]
        });
        let head = [("step", Left), ("model", Left), ("source", Left), ("took", Right), ("state", Left)];
        let table = table::layout(&head, &cells.collect::<Vec<_>>());
        Some(format!(
            "run {} ({}): {}, {} spent, {} held\n\n{table}",
            row.id,
            row.name,
            status_text(row.status),
            row.settled,
            row.held
        ))
    };
    output.result(text, &json!({"event": "run", "run": row, "steps": steps}));
    Ok(())
}

pub(super) async fn stop(output: &Output, place: &Place, run: &str) -> Result<(), Ended> {
    let run = parse(output, run)?;
    let stack = stack::start(output, place, 0.2, false).await?;
    let client = stack::client(&stack).await?;
    let stopped = client.stop(&run).await?;
    output.result(|| Some(lines::stopped(&stopped)), &json!({"event": "stopped", "stopped": stopped}));
    Ok(())
}

pub(super) fn parse(output: &Output, run: &str) -> Result<RunId, Ended> {
    RunId::parse(run).map_err(|error| {
        output.error("bad_run_id", &error.to_string());
        Ended::Code(EXIT_INPUT)
    })
}
