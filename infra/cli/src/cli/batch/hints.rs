//! Hints for a batch that is no longer watched, does not progress, or has no results.

use std::time::Duration;

use fresco_cli::view::span;
use fresco_pipeline::ids::RunId;

use super::super::Target;

/// The hint for a batch that does not change.
pub(super) fn unchanged(target: &Target, batch: &RunId, still: Duration) -> String {
    let (still, rest) = (span(i64::try_from(still.as_millis()).unwrap_or(i64::MAX)), target.flags());
    format!(
        "nothing has changed for {still}. A batch whose execution is gone is closed within minutes; `cargo fresco batch \
         --redrive {batch}{rest}` then runs the missing rows."
    )
}

/// The hint for a batch that is no longer watched; `stays` if its stack does.
pub(super) fn detached(target: &Target, batch: &RunId, stays: bool) -> String {
    let rest = target.flags();
    if !stays {
        return format!(
            "batch {batch} does not continue: its stack ends with this command. `cargo fresco up{rest}` keeps a stack running; redrive \
             the batch there with `cargo fresco batch --redrive {batch}{rest}`; paid results are in the cache."
        );
    }
    format!(
        "batch {batch} continues. Watch it again with `cargo fresco batch --watch {batch}{rest}`, or stop it with \
         `cargo fresco batch --stop {batch}{rest}`."
    )
}

/// The hint after an interrupted download of results.
pub(super) fn not_downloaded(target: &Target, batch: &RunId) -> String {
    let rest = target.flags();
    format!(
        "interrupted: batch {batch} has ended, and its results are in the stack; `cargo fresco batch --watch {batch}{rest}` \
         downloads them"
    )
}

/// The hint for an ended batch without results in the stack.
pub(super) fn missing_results(target: &Target, batch: &RunId) -> String {
    let rest = target.flags();
    format!(
        "the results of batch {batch} do not exist: they have expired, or its execution ended without them. Redrive it with \
         `cargo fresco batch --redrive {batch}{rest}`; paid results are in the cache"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_says_whether_an_unwatched_batch_continues() {
        let batch = RunId::parse("run-00000001").unwrap();
        let target = Target { json: false, stack: Some("media".to_owned()), state: None, port: None };
        assert!(detached(&target, &batch, true).contains("`cargo fresco batch --watch run-00000001 --stack media`"));
        assert!(not_downloaded(&target, &batch).contains("`cargo fresco batch --watch run-00000001 --stack media`"));
        let target = Target { stack: None, state: Some("kept".into()), ..target };
        let ends = detached(&target, &batch, false);
        assert!(ends.contains("`cargo fresco up --state kept`"), "{ends}");
        assert!(ends.contains("`cargo fresco batch --redrive run-00000001 --state kept`"), "{ends}");
    }

    #[test]
    fn a_batch_without_progress_or_results_is_to_be_redriven() {
        let batch = RunId::parse("run-00000001").unwrap();
        let target = Target { json: false, stack: None, state: None, port: None };
        let said = unchanged(&target, &batch, Duration::from_secs(150));
        assert!(said.starts_with("nothing has changed for 2 min."), "{said}");
        for said in [said, missing_results(&target, &batch)] {
            assert!(said.contains("`cargo fresco batch --redrive run-00000001`"), "{said}");
        }
    }
}
