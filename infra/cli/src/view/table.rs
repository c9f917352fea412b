//! Tables in plain text: columns as wide as their widest cell, numbers to the right.

use fresco_api_types::{Manifest, RunSummary, RunView};
use fresco_pipeline::money::Money;
use fresco_pipeline::status::{ResultSource, StepState};

use super::progress::status_text;
use super::{duration, source};

/// A column's alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// To the left: words.
    Left,
    /// To the right: numbers.
    Right,
}

/// Lays rows out under a head.
pub fn layout(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|(name, _)| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(head).zip(&widths).map(|((cell, (_, align)), &width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>().join("  ");
    let mut text = format!("{}\n{rule}\n", line(head.iter().map(|(name, _)| *name).collect()));
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
        text.push('\n');
    }
    text
}

/// The table at the end of a run, and what it came to in a few lines.
pub fn of_run(manifest: &Manifest) -> String {
    use Align::{Left, Right};
    let rows: Vec<Vec<String>> = manifest
        .steps
        .iter()
        .map(|step| {
            let seconds = step.took_ms.map_or("-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1_000.0));
            let from = match (&step.failure, step.state) {
                (Some(failure), _) => failure.name.to_string(),
                (None, StepState::Done) => source(step.source).to_owned(),
                (None, _) => "-".to_owned(),
            };
            vec![step.name.to_string(), step.model.clone(), from, seconds, step.cost.to_string()]
        })
        .collect();
    let mut text =
        layout(&[("step", Left), ("model", Left), ("source", Left), ("seconds", Right), ("cost", Right)], &rows);
    let calls = manifest.function_calls;
    text.push_str(&format!(
        "\n{} in {}: {} spent, {} saved by the cache, {calls} function call{}",
        status_text(manifest.status),
        duration(manifest.took_ms),
        manifest.cost,
        manifest.saved,
        if calls == 1 { "" } else { "s" },
    ));
    let all_hits =
        !manifest.steps.is_empty() && manifest.steps.iter().all(|step| step.source == Some(ResultSource::Hit));
    if all_hits {
        text.push_str(". Everything was there already: nothing was submitted");
    } else if manifest.speed_up > 1.05 {
        text.push_str(&format!(", {:.1} times as quick as one after the other", manifest.speed_up));
    }
    text.push_str(".\n");
    text
}

/// The table of recent runs.
pub fn of_runs(runs: &[RunSummary], now: i64) -> String {
    use Align::{Left, Right};
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let took = run.ended_at.unwrap_or(now) - run.created_at;
            let spent = run.spent + if run.ended_at.is_some() { 0 } else { run.held };
            vec![
                run.id.clone(),
                run.name.clone(),
                status_text(run.status).to_owned(),
                run.step_count.to_string(),
                duration(took.max(0)),
                Money::micros(spent).to_string(),
            ]
        })
        .collect();
    layout(
        &[("run", Left), ("pipeline", Left), ("status", Left), ("steps", Right), ("took", Right), ("cost", Right)],
        &rows,
    )
}

/// The steps of a run.
pub fn of_steps(view: &RunView, now: i64) -> String {
    use Align::{Left, Right};
    let cells = view.steps.iter().map(|step| {
        let state = match (step.state, &step.failure) {
            (StepState::Failed, Some(failure)) => format!("{}: {}", failure.name, failure.message),
            (StepState::Done, _) => "done".to_owned(),
            (StepState::Waiting, _) => "waiting".to_owned(),
            _ => "running".to_owned(),
        };
        let took = step.started_at.map(|from| duration((step.ended_at.unwrap_or(now) - from).max(0)));
        vec![step.name.clone(), step.model.clone(), source(step.source).to_owned(), took.unwrap_or_default(), state]
    });
    let head = [("step", Left), ("model", Left), ("source", Left), ("took", Right), ("state", Left)];
    let run = &view.run;
    format!(
        "run {} ({}): {}, {} spent, {} held\n\n{}",
        run.id,
        run.name,
        status_text(run.status),
        Money::micros(run.spent),
        Money::micros(run.held),
        layout(&head, &cells.collect::<Vec<_>>())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "1.0".into()], vec!["longer".into(), "10.0".into()]];
        let text = layout(&[("step", Align::Left), ("s", Align::Right)], &rows);
        assert_eq!(text, "step       s\n──────  ────\na        1.0\nlonger  10.0\n");
    }
}
