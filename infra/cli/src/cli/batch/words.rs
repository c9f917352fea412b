//! What is said to somebody who leaves a batch, or waits for it in vain: how to come back, and how to go on.

use std::time::Duration;

use fresco_cli::view::span;
use fresco_pipeline::ids::RunId;

use super::super::Place;

/// What is said to somebody who watches a batch that does not move.
pub(super) fn stands(place: &Place, batch: &RunId, still: Duration) -> String {
    let (still, rest) = (span(i64::try_from(still.as_millis()).unwrap_or(i64::MAX)), place.words());
    format!(
        "nothing has changed for {still}. A batch whose execution is gone is closed within minutes; `cargo fresco batch \
         --redrive {batch}{rest}` then runs what is missing."
    )
}

/// What is said to somebody who does not watch any longer.
pub(super) fn detached(place: &Place, batch: &RunId, stays: bool) -> String {
    let rest = place.words();
    if !stays {
        return format!(
            "batch {batch} does not go on: its stack ends with this command. `cargo fresco up{rest}` keeps a stack running; drive the \
             batch anew there with `cargo fresco batch --redrive {batch}{rest}`; what was made is in the cache."
        );
    }
    format!(
        "batch {batch} goes on. Come back with `cargo fresco batch --watch {batch}{rest}`, or stop it with \
         `cargo fresco batch --stop {batch}{rest}`."
    )
}

/// What is said to somebody who interrupts while results are brought.
pub(super) fn left(place: &Place, batch: &RunId) -> String {
    let rest = place.words();
    format!(
        "interrupted: batch {batch} has ended, and its results are in the stack; `cargo fresco batch --watch {batch}{rest}` \
         brings them"
    )
}

/// What is said where the results of a batch that has ended are not in the stack.
pub(super) fn gone(place: &Place, batch: &RunId) -> String {
    let rest = place.words();
    format!(
        "the results of batch {batch} are not there: they have expired, or its execution ended without them. Drive it anew with \
         `cargo fresco batch --redrive {batch}{rest}`; what was made is in the cache"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_told_whether_it_goes_on() {
        let batch = RunId::parse("run-00000001").unwrap();
        let place = Place { json: false, stack: Some("media".to_owned()), state: None, port: None };
        assert!(detached(&place, &batch, true).contains("`cargo fresco batch --watch run-00000001 --stack media`"));
        assert!(left(&place, &batch).contains("`cargo fresco batch --watch run-00000001 --stack media`"));
        let place = Place { stack: None, state: Some("kept".into()), ..place };
        let ends = detached(&place, &batch, false);
        assert!(ends.contains("`cargo fresco up --state kept`"), "{ends}");
        assert!(ends.contains("`cargo fresco batch --redrive run-00000001 --state kept`"), "{ends}");
    }

    #[test]
    fn who_waits_in_vain_is_told_to_drive_it_anew() {
        let batch = RunId::parse("run-00000001").unwrap();
        let place = Place { json: false, stack: None, state: None, port: None };
        let said = stands(&place, &batch, Duration::from_secs(150));
        assert!(said.starts_with("nothing has changed for 2 min."), "{said}");
        for said in [said, gone(&place, &batch)] {
            assert!(said.contains("`cargo fresco batch --redrive run-00000001`"), "{said}");
        }
    }
}
