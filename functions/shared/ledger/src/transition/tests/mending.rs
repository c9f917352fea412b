//! Entries that are made anew, and results that are written anew.

use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::Attempt;

use super::*;
use crate::records::{AttemptStage, AttemptState};
use crate::transition::{ReadableAttempt, ReadableParts, renew, repair};

fn survivors(attempts: Vec<(Attempt, Option<AttemptRecord>)>, waiters: Vec<Waiter>) -> ReadableParts<'static> {
    let attempts =
        attempts.into_iter().map(|(attempt, row)| ReadableAttempt { attempt, row, reported: false }).collect();
    ReadableParts { entry: None, rev: 4, last: Some(Attempt(1)), attempts, waiters }
}

#[test]
fn a_renewed_result_is_younger_and_nothing_else() {
    let entry = Entry { result: Some(ready(2)), ..entry() };
    let change = renew(&entry, Attempt(2), NOW + 5).unwrap();
    assert_eq!(change.entry.result.as_ref().map(|ready| ready.created_at), Some(NOW + 5));
    assert_eq!(Entry { result: entry.result.clone(), ..change.entry }, entry);
    assert_eq!(renew(&entry, Attempt(1), NOW + 5), None, "another attempt's");
    assert_eq!(renew(&entry, Attempt(2), NOW), None, "no younger");
}

#[test]
fn what_is_under_way_stays_under_way() {
    let (claimed, row) = claimed();
    for (request_id, stage) in [(None, AttemptStage::Unknown), (Some("job".to_owned()), AttemptStage::Submitted)] {
        let row = AttemptRecord { request_id: request_id.clone(), ..row.clone() };
        let waiters = vec![waiter("other", 1, 0), waiter("leader", 1, 0)];
        let entry = repair(&claimed.key, &survivors(vec![(Attempt(1), Some(row))], waiters), NOW).unwrap();
        let pending = entry.pending.as_ref().unwrap();
        assert_eq!((pending.attempt, pending.stage, &pending.request_id), (Attempt(1), stage, &request_id));
        assert_eq!(
            (entry.rev, entry.last_attempt, entry.next_check_at, entry.notify_pending),
            (4, Attempt(1), Some(NOW), false)
        );
        // Nobody claims a second one beside it.
        assert_eq!(answer(&entry, &waiter("late", 0, 0), false, NOW), Acquisition::Join(Attempt(1)));
    }
}

#[test]
fn a_result_that_cannot_be_read_is_a_miss_with_a_new_number() {
    let (claimed, row) = claimed();
    let row = AttemptRecord { state: AttemptState::Won, ..row };
    let waiting = survivors(vec![(Attempt(3), Some(row))], vec![waiter("step", 3, 0)]);
    let entry = repair(&claimed.key, &waiting, NOW).unwrap();
    assert_eq!((entry.result.is_none(), entry.pending.is_none(), entry.last_attempt), (true, true, Attempt(3)));
    assert!(entry.notify_pending, "whoever waits asks again");
    assert!(
        matches!(answer(&entry, &waiter("step", 3, 0), false, NOW), Acquisition::Claim(change) if change.entry.last_attempt == Attempt(4))
    );
    // Where not even the highest number is known, those that may have been given out are passed over.
    let unknown = ReadableParts { last: None, ..survivors(Vec::new(), Vec::new()) };
    assert!(repair(&claimed.key, &unknown, NOW).unwrap().last_attempt > Attempt(100));
}

#[test]
fn a_pending_attempt_without_its_row_is_not_paid_again_unasked() {
    let (claimed, row) = claimed();
    let with = |rows| ReadableParts { entry: Some(&claimed), ..survivors(rows, Vec::new()) };
    assert_eq!(repair(&claimed.key, &with(vec![(Attempt(1), Some(row))]), NOW), None, "nothing is wrong");
    for rows in [vec![(Attempt(1), None)], Vec::new()] {
        let entry = repair(&claimed.key, &with(rows), NOW).unwrap();
        assert!(entry.pending.is_none() && entry.notify_pending);
        let shared = answer(&entry, &waiter("leader", 1, 0), false, NOW);
        assert!(matches!(shared, Acquisition::SharedFailure(failure) if failure.name == ErrorName::StepUnknown));
    }
}

#[test]
fn where_neither_entry_nor_attempt_can_be_read_nobody_pays_again_unasked() {
    let (claimed, _) = claimed();
    let survivors = survivors(vec![(Attempt(1), None)], vec![waiter("leader", 1, 0)]);
    let entry = repair(&claimed.key, &survivors, NOW).unwrap();
    assert!(entry.pending.is_none() && entry.notify_pending);
    let shared = answer(&entry, &waiter("leader", 1, 0), false, NOW);
    assert!(matches!(shared, Acquisition::SharedFailure(failure) if failure.name == ErrorName::StepUnknown));
    // Who comes later asks.
    assert!(matches!(answer(&entry, &waiter("late", 0, 0), false, NOW), Acquisition::Claim(_)));
}

#[test]
fn what_ended_late_is_looked_at_again() {
    let (claimed, row) = claimed();
    for (state, reported, late) in [
        (AttemptState::Lost, true, Some(Attempt(1))),
        (AttemptState::Failed, true, Some(Attempt(1))),
        (AttemptState::Lost, false, None),
        (AttemptState::Won, true, None),
    ] {
        let row = AttemptRecord { state, ..row.clone() };
        let remnant = ReadableAttempt { attempt: Attempt(1), row: Some(row), reported };
        let survivors = ReadableParts { attempts: vec![remnant], ..survivors(Vec::new(), Vec::new()) };
        let entry = repair(&claimed.key, &survivors, NOW).unwrap();
        assert_eq!(entry.late_completion.map(|late| late.attempt), late, "{state:?}");
    }
}
