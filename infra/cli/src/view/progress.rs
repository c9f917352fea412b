//! Lines of progress of a run.

use fresco_api_types::{Exported, FailureView, NotExported, RunEvent, StopView};
use fresco_pipeline::money::Money;
use fresco_pipeline::status::{ResultSource, RunStatus, StepState};

use super::{duration, plural, source};

/// The line of an event; `None` if it is not shown.
pub fn line(event: &RunEvent) -> Option<String> {
    let because = |failure: &FailureView| format!("{}: {}", failure.name, failure.message);
    Some(match event {
        RunEvent::RunStarted { run_id } => format!("run {run_id} started"),
        RunEvent::RunPlanned { steps, hits, .. } => match (*steps as usize, hits) {
            (steps, 0) => format!("planned: {} to generate", plural(steps, "step")),
            (steps, hits) => format!("planned: {}, {hits} in the cache", plural(steps, "step")),
        },
        RunEvent::StepChanged { step, model, state, source: from, took_ms, failure, .. } => match (state, failure) {
            (StepState::Waiting, _) => return None,
            (StepState::Running, _) if from.is_none() => return None,
            (StepState::Running, _) => format!("  {step}: {} with {model} …", verb(*from)),
            (StepState::Done, _) => format!("  {step}: done ({}, {})", source(*from), duration(took_ms.unwrap_or(0))),
            (StepState::Failed, Some(failure)) => {
                format!("  {step}: failed: {}\n    {}", because(failure), failure.advice)
            }
            (StepState::Failed, None) => format!("  {step}: failed"),
        },
        RunEvent::RunEnded { status, failure, .. } => match (status, failure) {
            (RunStatus::Succeeded, _) => return None,
            (status, Some(failure)) => format!("run {}: {}", status_text(*status), because(failure)),
            (status, None) => format!("run {}", status_text(*status)),
        },
    })
}

fn verb(source: Option<ResultSource>) -> &'static str {
    match source {
        Some(ResultSource::Joined) => "waiting for another step's result",
        _ => "generating",
    }
}

/// The outcome of a stop.
pub fn stopped(stopped: &StopView) -> String {
    let run = &stopped.id;
    if !stopped.was_running {
        return format!("run {run} had ended: {} spent.", Money::micros(stopped.spent));
    }
    let mut text = format!("run {run} is stopped: nothing new is submitted.");
    let count = |count: u32, noun: &str| plural(count as usize, noun);
    if stopped.done > 0 {
        text.push_str(&format!(" {} done and kept.", count(stopped.done, "step")));
    }
    if stopped.going_on > 0 {
        let jobs = count(stopped.going_on, "job");
        text.push_str(&format!(
            " {jobs} running at a provider: paid results are kept ({} reserved).",
            Money::micros(stopped.held)
        ));
    }
    if stopped.cancelled > 0 {
        text.push_str(&format!(" {} cancelled in the queue.", count(stopped.cancelled, "job")));
    }
    text.push_str(&format!(" {} spent so far.", Money::micros(stopped.spent)));
    text
}

/// The outcome of a run's export; `None` if there was nothing to export.
pub fn exported(exported: &Exported) -> Option<String> {
    let files = plural(exported.files.len(), "file");
    match (exported.files.len(), exported.failed.len()) {
        (0, 0) => None,
        (_, 0) => Some(format!("Exported: {files} to {}", exported.to)),
        (_, failed) => Some(format!("Exported: {files} to {}, and {failed} not", exported.to)),
    }
}

/// A file that was not exported.
pub fn not_exported(left: &NotExported) -> String {
    // Without the error's advice: some errors are said to be retried, and an export is not.
    let message = left.failure.message.trim_end_matches('.');
    format!("{} was not exported: {message}. It is in the stack until it expires", left.name)
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

#[cfg(test)]
mod tests {
    use fresco_pipeline::error::{ErrorName, Failure};

    use super::*;

    #[test]
    fn an_export_lists_exported_and_failed_files() {
        let to = "s3://bucket/run-00000001".to_owned();
        let mut export = Exported { to, files: vec!["a.jpg".to_owned()], failed: vec![] };
        assert_eq!(exported(&export).unwrap(), "Exported: 1 file to s3://bucket/run-00000001");
        let failure = Failure::new(ErrorName::StorageDenied, "S3 CopyObject: AccessDenied");
        export.failed.push(NotExported { name: "b.jpg".to_owned(), failure });
        assert_eq!(exported(&export).unwrap(), "Exported: 1 file to s3://bucket/run-00000001, and 1 not");
        let expected = "b.jpg was not exported: S3 CopyObject: AccessDenied. It is in the stack until it expires";
        assert_eq!(not_exported(&export.failed[0]), expected);
        let nothing = Exported { files: vec![], failed: vec![], ..export };
        assert_eq!(exported(&nothing), None, "a run that failed early has nothing to export");
    }
}
