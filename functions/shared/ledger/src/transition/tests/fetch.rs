//! Outputs that are paid and cannot be fetched now.

use super::*;
use crate::records::{AttemptState, HoldState};
use crate::transition::{
    FETCH_PERIOD, INVALID_PERIOD, REFETCH_PERIOD, complete, fail, forget_unfetched, lease_checks, may_fetch, recollect,
    record_fetch_failure, record_late_completion, record_submission, reopen,
};

fn cause(name: ErrorName) -> Failure {
    Failure::new(name, "what happened")
}

/// A job that has succeeded.
fn succeeded() -> (Entry, AttemptRecord) {
    let (entry, record) = claimed();
    after(record_submission(&entry, &record, "job", NOW).unwrap(), &record)
}

/// Fails every fetch from `NOW` until the attempt is given up. Its records, the number of fetches and the time.
fn given_up(name: ErrorName, entry: Entry, record: AttemptRecord) -> (Entry, AttemptRecord, u32, Millis) {
    let (mut entry, mut record, mut now, mut fetches) = (entry, record, NOW, 0);
    while record.state == AttemptState::Open {
        if let Some(fetching) = &record.fetching {
            now = now.max(fetching.next_at);
        }
        (entry, record) = after(record_fetch_failure(&entry, &record, &cause(name), PRICE, now).unwrap(), &record);
        fetches += 1;
    }
    (entry, record, fetches, now)
}

#[test]
fn outputs_are_fetched_again_for_a_day_with_growing_pauses() {
    for name in [ErrorName::OutputUnavailable, ErrorName::OutputRefused, ErrorName::StorageDenied] {
        let (entry, record) = succeeded();
        let (first, once) = after(record_fetch_failure(&entry, &record, &cause(name), PRICE, NOW).unwrap(), &record);
        assert_eq!(first.next_check_at, Some(NOW + 2_000));
        assert!(first.pending.is_some() && once.hold.state == HoldState::Held);
        let (hopeless, record, fetches, now) = given_up(name, entry, record);
        assert_eq!(now - NOW, FETCH_PERIOD, "{name}");
        assert!((100..120).contains(&fetches), "{fetches}: at most a quarter of an hour apart");
        let failure = hopeless.failure.unwrap();
        assert_eq!((failure.failure.name, failure.unfetched), (ErrorName::OutputInvalid, true));
        assert_eq!((record.state, record.hold.state), (AttemptState::Failed, HoldState::Settled(PRICE)), "it is paid");
    }
}

#[test]
fn a_call_before_its_time_is_no_fetch() {
    let (entry, record) = succeeded();
    let failure = cause(ErrorName::OutputUnavailable);
    let (entry, record) = after(record_fetch_failure(&entry, &record, &failure, PRICE, NOW).unwrap(), &record);
    // Ten waiters nudge in the same second.
    for early in [NOW, NOW + 1_999] {
        assert!(!may_fetch(&record, early));
        assert_eq!(record_fetch_failure(&entry, &record, &failure, PRICE, early), None);
    }
    assert!(may_fetch(&record, NOW + 2_000));
}

#[test]
fn what_is_no_media_for_minutes_is_what_the_provider_has() {
    let (entry, record) = succeeded();
    let (entry, record, _, now) = given_up(ErrorName::OutputInvalid, entry, record);
    assert_eq!((now - NOW, record.hold.state), (INVALID_PERIOD, HoldState::Settled(PRICE)));
    assert!(entry.failure.is_some_and(|failed| !failed.retryable && failed.unfetched));

    // A failure of another kind in between proves that it changes.
    let (entry, record) = succeeded();
    let fetch = |entry: &Entry, record: &AttemptRecord, name, now| {
        after(record_fetch_failure(entry, record, &cause(name), PRICE, now).unwrap(), record)
    };
    let (entry, record) = fetch(&entry, &record, ErrorName::OutputInvalid, NOW);
    let (entry, record) = fetch(&entry, &record, ErrorName::OutputUnavailable, NOW + 100_000);
    let (_, record) = fetch(&entry, &record, ErrorName::OutputInvalid, NOW + INVALID_PERIOD);
    assert_eq!(record.state, AttemptState::Open);
}

#[test]
fn an_attempt_that_was_given_up_is_fetched_once_more_before_a_claim() {
    let (entry, record) = succeeded();
    let (entry, record, _, now) = given_up(ErrorName::OutputUnavailable, entry, record);
    // The steps that waited for it share its failure; a refresh asks for another one.
    assert!(matches!(answer(&entry, &waiter("leader", 1, 0), false, now), Acquisition::SharedFailure(_)));
    assert!(matches!(answer(&entry, &waiter("refresh", 0, 1), false, now), Acquisition::Claim(_)));
    assert_eq!(answer(&entry, &waiter("next", 0, 0), false, now), Acquisition::Recollect(Attempt(1)));
    let (open, reopened) = after(reopen(&entry, &record, now).unwrap(), &record);
    assert_eq!(answer(&open, &waiter("next", 0, 0), false, now), Acquisition::Join(Attempt(1)));
    assert_eq!(reopen(&open, &reopened, now), None, "once");
    assert!(may_fetch(&reopened, now));

    // It is there after all, and costs nothing more.
    let won = complete(&open, &reopened, completion(PRICE), now).unwrap();
    assert_eq!((won.budget, won.entry.result.map(|ready| ready.attempt)), (None, Some(Attempt(1))));

    // It is not: the step that asked claims.
    for (name, later) in [(ErrorName::OutputUnavailable, REFETCH_PERIOD), (ErrorName::OutputInvalid, 0)] {
        let failed = record_fetch_failure(&open, &reopened, &cause(name), PRICE, now + later).unwrap();
        assert_eq!(failed.budget, None);
        let (gone, _) = after(failed, &reopened);
        let failure = gone.failure.as_ref().unwrap();
        assert_eq!((failure.failure.name, failure.retryable, failure.unfetched), (ErrorName::StepAgain, true, false));
        let next = answer(&gone, &waiter("next", 1, 0), false, now + later);
        assert!(matches!(next, Acquisition::Claim(change) if change.entry.last_attempt == Attempt(2)));
    }
}

#[test]
fn an_attempt_whose_record_has_expired_is_not_fetched_again() {
    let (entry, record) = succeeded();
    let (entry, _, _, now) = given_up(ErrorName::OutputUnavailable, entry, record);
    let entry = forget_unfetched(&entry, Attempt(1)).unwrap().entry;
    assert!(matches!(answer(&entry, &waiter("next", 0, 0), false, now), Acquisition::Claim(_)));
    assert_eq!(forget_unfetched(&entry, Attempt(1)), None);
}

#[test]
fn outputs_of_attempts_that_are_not_pending_are_looked_after() {
    let (entry, first) = claimed();
    let terminal = outcome(ErrorName::ProviderFailed, Money::ZERO);
    let (entry, first) = after(fail(&entry, &first, &terminal, NOW).unwrap(), &first);
    let (entry, second) = next_claim(&entry);
    let (entry, second) = after(fail(&entry, &second, &terminal, NOW).unwrap(), &second);
    let (entry, _) = after(record_late_completion(&entry, &first, NOW).unwrap(), &first);
    let (entry, _) = after(record_late_completion(&entry, &second, NOW).unwrap(), &second);
    let failure = cause(ErrorName::StorageUnavailable);
    let (entry, first) = after(record_fetch_failure(&entry, &first, &failure, PRICE, NOW).unwrap(), &first);
    let (entry, _) = after(record_fetch_failure(&entry, &second, &failure, PRICE, NOW + 1).unwrap(), &second);
    let due: Vec<_> = entry.late_completions.iter().map(|late| (late.attempt.0, late.next_check_at)).collect();
    assert_eq!(due, [(1, NOW + 2_000), (2, NOW + 2_001)]);
    // The sweep takes on what is due, and records the next check first.
    let lease = lease_checks(&entry, NOW + 2_000).unwrap();
    assert_eq!((lease.late, lease.pending), (vec![Attempt(1)], false));
    assert_eq!(lease_checks(&lease.change.entry, NOW + 2_000), None);
    let (entry, _) = after(complete(&entry, &first, completion(PRICE), NOW + 3_000).unwrap(), &first);
    assert_eq!(entry.late_completions.len(), 1);
}

#[test]
fn a_person_may_ask_for_the_outputs_at_any_time() {
    let (entry, record) = succeeded();
    let (entry, record, _, now) = given_up(ErrorName::OutputRefused, entry, record);
    let (entry, record) = after(recollect(&entry, &record, now).unwrap(), &record);
    assert!(may_fetch(&record, now));
    assert_eq!(entry.late_completions.len(), 1, "the sweep looks after it");
    let (entry, record) = after(complete(&entry, &record, completion(PRICE), now).unwrap(), &record);
    assert_eq!((entry.result.is_some(), recollect(&entry, &record, now)), (true, None));
}
