//! One line an event.

use fresco_engine::Stopped;
use fresco_ledger::rows::{RunStatus, StepState};

use super::{duration, plural, source};
use crate::client::Event;

/// The line for an event, `None` where there is nothing to say.
pub fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { run_id } => format!("run {run_id} started"),
        Event::RunPlanned { steps, hits, .. } => match (steps, hits) {
            (steps, 0) => format!("planned: {} to generate", plural(*steps, "step")),
            (steps, hits) => format!("planned: {}, {hits} in the cache", plural(*steps, "step")),
        },
        Event::StepChanged { step, model, state, source: from, took_ms, failure, .. } => match (state, failure) {
            (StepState::Waiting, _) => return None,
            (StepState::Running, _) if from.is_none() => return None,
            (StepState::Running, _) => format!("  {step}: {} with {model} …", verb(*from)),
            (StepState::Done, _) => format!("  {step}: done ({}, {})", source(*from), duration(took_ms.unwrap_or(0))),
            (StepState::Failed, Some(failure)) => format!("  {step}: failed: {failure}\n    {}", failure.name.advice()),
            (StepState::Failed, None) => format!("  {step}: failed"),
        },
        Event::RunEnded { status, failure, .. } => match (status, failure) {
            (RunStatus::Succeeded, _) => return None,
            (status, Some(failure)) => format!("run {}: {failure}", status_text(*status)),
            (status, None) => format!("run {}", status_text(*status)),
        },
    })
}

fn verb(source: Option<fresco_ledger::rows::Source>) -> &'static str {
    match source {
        Some(fresco_ledger::rows::Source::Joined) => "waiting for what another step generates",
        _ => "generating",
    }
}

/// What stopping a run came to.
pub fn stopped(stopped: &Stopped) -> String {
    let run = &stopped.run_id;
    if !stopped.was_running {
        return format!("run {run} had ended: {} spent.", stopped.spent);
    }
    let mut text = format!("run {run} is stopped: nothing new is submitted.");
    let count = |count: u32, noun: &str| plural(count as usize, noun);
    if stopped.done > 0 {
        text.push_str(&format!(" {} done and kept.", count(stopped.done, "step")));
    }
    if stopped.going_on > 0 {
        let jobs = count(stopped.going_on, "job");
        text.push_str(&format!(
            " {jobs} at work at a provider: what is paid is kept when it ends ({} reserved).",
            stopped.held
        ));
    }
    if stopped.cancelled > 0 {
        text.push_str(&format!(" {} cancelled in the queue.", count(stopped.cancelled, "job")));
    }
    text.push_str(&format!(" {} spent so far.", stopped.spent));
    text
}

/// A run's status in a word.
pub const fn status_text(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Partial => "partial",
        RunStatus::Failed => "failed",
        RunStatus::Stopped => "stopped",
    }
}
