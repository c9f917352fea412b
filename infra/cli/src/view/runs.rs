//! Runs and their steps as tables.

use fresco_api_types::{Manifest, RecollectView, RunSummary, RunView};
use fresco_pipeline::money::Money;
use fresco_pipeline::status::{ResultSource, StepState};

use super::progress::status_text;
use super::table::table;
use super::{duration, plural, source};

/// The table at the end of a run, with a line of its sums.
pub fn ended(manifest: &Manifest) -> String {
    let steps = table(&manifest.steps)
        .left("step", |step| step.name.to_string())
        .left("model", |step| step.model.clone())
        .left("source", |step| match (&step.failure, step.state) {
            (Some(failure), _) => failure.name.to_string(),
            (None, StepState::Done) => done(source(step.source), step.shortfall.as_ref()),
            (None, _) => "-".to_owned(),
        })
        .right("seconds", |step| step.took_ms.map_or("-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1_000.0)))
        .right("cost", |step| step.cost.to_string())
        .text();
    let all_hits =
        !manifest.steps.is_empty() && manifest.steps.iter().all(|step| step.source == Some(ResultSource::Hit));
    let remark = if all_hits {
        ". Everything was in the cache: nothing was submitted".to_owned()
    } else if manifest.speed_up > 1.05 {
        format!(", {:.1} times as fast as one step at a time", manifest.speed_up)
    } else {
        String::new()
    };
    format!(
        "{steps}\n{} in {}: {} spent, {} saved by the cache, {}{remark}.\n",
        status_text(manifest.status),
        duration(manifest.took_ms),
        manifest.cost,
        manifest.saved,
        plural(manifest.function_calls as usize, "function call"),
    )
}

/// A word for a step that is done, with what its result lacks.
fn done(word: &str, shortfall: Option<&impl ToString>) -> String {
    match shortfall {
        Some(shortfall) => format!("{word}: {}", shortfall.to_string()),
        None => word.to_owned(),
    }
}

/// The table of recent runs.
pub fn list(runs: &[RunSummary], now: i64) -> String {
    let spent = |run: &RunSummary| run.spent + if run.ended_at.is_some() { 0 } else { run.held };
    table(runs)
        .left("run", |run| run.id.clone())
        .left("pipeline", |run| run.name.clone())
        .left("status", |run| status_text(run.status).to_owned())
        .right("steps", |run| run.step_count.to_string())
        .right("took", |run| duration((run.ended_at.unwrap_or(now) - run.created_at).max(0)))
        .right("cost", |run| Money::micros(spent(run)).to_string())
        .text()
}

/// The steps of a run.
pub fn steps(view: &RunView, now: i64) -> String {
    let run = &view.run;
    let steps = table(&view.steps)
        .left("step", |step| step.name.clone())
        .left("model", |step| step.model.clone())
        .left("source", |step| source(step.source).to_owned())
        .right("took", |step| {
            let took = step.started_at.map(|from| (step.ended_at.unwrap_or(now) - from).max(0));
            took.map(duration).unwrap_or_default()
        })
        .left("state", |step| match (step.state, &step.failure) {
            (StepState::Failed, Some(failure)) => format!("{}: {}", failure.name, failure.message),
            (StepState::Done, _) => done("done", step.shortfall.as_ref()),
            (StepState::Waiting, _) => "waiting".to_owned(),
            _ => "running".to_owned(),
        })
        .text();
    format!(
        "run {} ({}): {}, {} spent, {} held\n\n{steps}",
        run.id,
        run.name,
        status_text(run.status),
        Money::micros(run.spent),
        Money::micros(run.held)
    )
}

/// The outcome of fetching the outputs of a run again.
pub fn recollected(view: &RecollectView) -> String {
    let mut lines = Vec::new();
    for (steps, outcome) in [
        (&view.collecting, "paid, and fetched again now; the next run uses it"),
        (&view.stored, "stored since; the next run uses it"),
        (&view.nothing, "its provider has reported no result"),
    ] {
        lines.extend(steps.iter().map(|step| format!("{step}: {outcome}")));
    }
    if lines.is_empty() { "Every step of the run has its result.".to_owned() } else { lines.join("\n") }
}
