//! Repaired entries and renewed results.

use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::Attempt;

use super::*;
use crate::records::{AttemptStage, AttemptState};
use crate::transition::{ReadableAttempt, ReadableParts, renew, repair};

fn parts(attempts: Vec<(Attempt, Option<AttemptRecord>)>, waiters: Vec<Waiter>) -> ReadableParts<'static> {
    let attempts =
        attempts.into_iter().map(|(attempt, record)| ReadableAttempt { attempt, record, reported: false }).collect();
    ReadableParts { entry: None, rev: 4, last: Some(Attempt(1)), attempts, waiters }
}

#[test]
fn a_renewed_result_changes_its_age_only() {
    let entry = Entry { result: Some(ready(2)), ..entry() };
    let change = renew(&entry, Attempt(2), NOW + 5).unwrap();
    assert_eq!(change.entry.result.as_ref().map(|ready| ready.created_at), Some(NOW + 5));
    assert_eq!(Entry { result: entry.result.clone(), ..change.entry }, entry);
    assert_eq!(renew(&entry, Attempt(1), NOW + 5), None, "another attempt's");
    assert_eq!(renew(&entry, Attempt(2), NOW), None, "no younger");
}

#[test]
fn a_running_job_stays_pending() {
    let (claimed, record) = claimed();
    for (request_id, stage) in [(None, AttemptStage::Unknown), (Some("job".to_owned()), AttemptStage::Submitted)] {
        let record = AttemptRecord { request_id: request_id.clone(), ..record.clone() };
        let waiters = vec![waiter("other", 1, 0), waiter("leader", 1, 0)];
        let entry = repair(&claimed.key, &parts(vec![(Attempt(1), Some(record))], waiters), NOW).unwrap();
        let pending = entry.pending.as_ref().unwrap();
        assert_eq!((pending.attempt, pending.stage, &pending.request_id), (Attempt(1), stage, &request_id));
        assert_eq!(
            (entry.rev, entry.last_attempt, entry.next_check_at, entry.notify_pending),
            (4, Attempt(1), Some(NOW), false)
        );
        // No second attempt is claimed beside it.
        assert_eq!(answer(&entry, &waiter("late", 0, 0), false, NOW), Acquisition::Join(Attempt(1)));
    }
}

#[test]
fn an_unreadable_result_is_a_miss_with_a_new_number() {
    let (claimed, record) = claimed();
    let record = AttemptRecord { state: AttemptState::Won, ..record };
    let waiting = parts(vec![(Attempt(3), Some(record))], vec![waiter("step", 3, 0)]);
    let entry = repair(&claimed.key, &waiting, NOW).unwrap();
    assert_eq!((entry.result.is_none(), entry.pending.is_none(), entry.last_attempt), (true, true, Attempt(3)));
    assert!(entry.notify_pending, "the waiters retry");
    assert!(
        matches!(answer(&entry, &waiter("step", 3, 0), false, NOW), Acquisition::Claim(change) if change.entry.last_attempt == Attempt(4))
    );
    // Where the highest number is unknown, numbers that may have been assigned are skipped.
    let unknown = ReadableParts { last: None, ..parts(Vec::new(), Vec::new()) };
    assert!(repair(&claimed.key, &unknown, NOW).unwrap().last_attempt > Attempt(100));
}

#[test]
fn a_pending_attempt_without_its_record_is_not_paid_again() {
    let (claimed, record) = claimed();
    let with = |rows| ReadableParts { entry: Some(&claimed), ..parts(rows, Vec::new()) };
    assert_eq!(repair(&claimed.key, &with(vec![(Attempt(1), Some(record))]), NOW), None, "nothing is wrong");
    for rows in [vec![(Attempt(1), None)], Vec::new()] {
        let entry = repair(&claimed.key, &with(rows), NOW).unwrap();
        assert!(entry.pending.is_none() && entry.notify_pending);
        let shared = answer(&entry, &waiter("leader", 1, 0), false, NOW);
        assert!(matches!(shared, Acquisition::SharedFailure(failure) if failure.name == ErrorName::StepUnknown));
    }
}

#[test]
fn an_unreadable_attempt_of_an_unreadable_entry_is_not_paid_again() {
    let (claimed, _) = claimed();
    let survivors = parts(vec![(Attempt(1), None)], vec![waiter("leader", 1, 0)]);
    let entry = repair(&claimed.key, &survivors, NOW).unwrap();
    assert!(entry.pending.is_none() && entry.notify_pending);
    let shared = answer(&entry, &waiter("leader", 1, 0), false, NOW);
    assert!(matches!(shared, Acquisition::SharedFailure(failure) if failure.name == ErrorName::StepUnknown));
    // A later step claims.
    assert!(matches!(answer(&entry, &waiter("late", 0, 0), false, NOW), Acquisition::Claim(_)));
}

#[test]
fn a_late_completion_is_checked_again() {
    let (claimed, record) = claimed();
    for (state, reported, late) in [
        (AttemptState::Lost, true, Some(Attempt(1))),
        (AttemptState::Failed, true, Some(Attempt(1))),
        (AttemptState::Lost, false, None),
        (AttemptState::Won, true, None),
    ] {
        let record = AttemptRecord { state, ..record.clone() };
        let remnant = ReadableAttempt { attempt: Attempt(1), record: Some(record), reported };
        let survivors = ReadableParts { attempts: vec![remnant], ..parts(Vec::new(), Vec::new()) };
        let entry = repair(&claimed.key, &survivors, NOW).unwrap();
        assert_eq!(entry.late_completions.first().map(|late| late.attempt), late, "{state:?}");
    }
}
