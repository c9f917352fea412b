//! The end of an attempt: complete, rejected, failed.

use super::*;
use crate::records::{AttemptState, HoldState};
use crate::transition::{MAX_RETRY_AFTER, MAX_TRIES, NOTIFY_GRACE, backoff, complete, fail};

#[test]
fn a_success_is_the_result() {
    let (entry, record) = claimed();
    let (entry, record) = after(complete(&entry, &record, completion(PRICE), NOW + 2_500).unwrap(), &record);
    assert_eq!(
        (entry.pending.as_ref(), entry.notify_pending, entry.next_check_at),
        (None, true, Some(NOW + 2_500 + NOTIFY_GRACE))
    );
    let result = entry.result.as_ref().unwrap();
    assert_eq!((result.attempt, result.took_ms), (Attempt(1), 2_500));
    assert_eq!((record.state, record.hold.state), (AttemptState::Won, HoldState::Settled(PRICE)));
    assert_eq!(complete(&entry, &record, completion(PRICE), NOW), None, "it was taken");
    assert_eq!(
        fail(&entry, &record, &outcome(ErrorName::ProviderFailed, PRICE), NOW),
        None,
        "and cannot fail any more"
    );
}

#[test]
fn a_success_of_any_attempt_counts_until_a_later_attempt_succeeds() {
    // The first fails, the second is pending, and the first succeeds all the same.
    let (entry, first) = claimed();
    let cause = outcome(ErrorName::ProviderRejected, Money::ZERO);
    let (entry, first) = after(fail(&entry, &first, &cause, NOW).unwrap(), &first);
    let (entry, second) = next_claim(&entry);
    let (early, first_won) = after(complete(&entry, &first, completion(PRICE), NOW).unwrap(), &first);
    assert_eq!((early.result.as_ref().unwrap().attempt, first_won.state), (Attempt(1), AttemptState::Won));
    assert_eq!(early.pending, entry.pending, "the second stays pending");
    // Its success replaces the first one's.
    let (late, second_won) = after(complete(&early, &second, completion(PRICE), NOW).unwrap(), &second);
    assert_eq!((late.result.unwrap().attempt, second_won.state), (Attempt(2), AttemptState::Won));

    // In the other order the first is a duplicate: paid, and not used.
    let (entry, _) = after(complete(&entry, &second, completion(PRICE), NOW).unwrap(), &second);
    let (kept, first) = after(complete(&entry, &first, completion(PRICE), NOW).unwrap(), &first);
    assert_eq!((kept.result, first.state), (entry.result, AttemptState::Duplicate));
    assert_eq!(first.hold.state, HoldState::Settled(PRICE));
}

#[test]
fn a_success_clears_failures_up_to_its_own() {
    let (entry, first) = claimed();
    let cause = outcome(ErrorName::ProviderRejected, Money::ZERO);
    let (entry, first) = after(fail(&entry, &first, &cause, NOW).unwrap(), &first);
    assert_eq!(complete(&entry, &first, completion(PRICE), NOW).unwrap().entry.failure, None);
    let (entry, second) = next_claim(&entry);
    let (entry, _) = after(fail(&entry, &second, &cause, NOW).unwrap(), &second);
    let change = complete(&entry, &first, completion(PRICE), NOW).unwrap();
    assert_eq!(change.entry.failure.unwrap().attempt, Attempt(2));
}

#[test]
fn a_retryable_failure_pauses_and_counts() {
    let (entry, record) = claimed();
    let cause = |hint| AttemptFailure { retry_after: hint, ..outcome(ErrorName::ProviderThrottled, Money::ZERO) };
    for (hint, pause) in [(None, 2_000), (Some(1), 2_000), (Some(45_000), 45_000), (Some(i64::MAX), MAX_RETRY_AFTER)] {
        let (entry, record) = after(fail(&entry, &record, &cause(hint), NOW).unwrap(), &record);
        let failure = entry.failure.unwrap();
        assert_eq!((failure.retryable, failure.not_before, failure.leader), (true, NOW + pause, step_id("leader")));
        assert_eq!((entry.tries, entry.notify_pending, entry.pending), (1, true, None));
        assert_eq!((record.state, record.hold.state), (AttemptState::Failed, HoldState::Released));
    }
}

#[test]
fn retryable_failures_in_a_row_become_terminal() {
    let mut entry = entry();
    for n in 1..=MAX_TRIES {
        let record = entry.failure.as_ref().map_or(NOW, |failure| failure.not_before);
        let change = claim(&entry, &waiter("leader", entry.last_attempt.0, 0), record);
        let record = change.attempt.clone().unwrap();
        (entry, _) = after(change, &record);
        let cause = outcome(ErrorName::ProviderUnavailable, Money::ZERO);
        (entry, _) = after(fail(&entry, &record, &cause, NOW).unwrap(), &record);
        let failure = entry.failure.as_ref().unwrap();
        let last = n == MAX_TRIES;
        let name = if last { ErrorName::ProviderExhausted } else { ErrorName::ProviderUnavailable };
        assert_eq!((failure.retryable, failure.failure.name, entry.tries), (!last, name, n));
        assert!(failure.not_before >= NOW + backoff(n));
    }
}

#[test]
fn a_terminal_failure_may_be_billed() {
    let (entry, record) = claimed();
    for (billed, hold) in [(Money::ZERO, HoldState::Released), (PRICE, HoldState::Settled(PRICE))] {
        let cause = outcome(ErrorName::ProviderContentPolicy, billed);
        let (entry, record) = after(fail(&entry, &record, &cause, NOW).unwrap(), &record);
        let failure = entry.failure.as_ref().unwrap();
        assert_eq!((failure.retryable, entry.tries, entry.pending.as_ref()), (false, 0, None));
        assert_eq!((record.state, record.hold.state), (AttemptState::Failed, hold));
        assert_eq!(fail(&entry, &record, &cause, NOW), None, "it is decided");
    }
}

#[test]
fn a_failure_acts_on_the_pending_attempt_only() {
    let (entry, first) = claimed();
    let other = Entry { pending: None, last_attempt: Attempt(1), ..entry.clone() };
    let (second, _) = next_claim(&other);
    let change = fail(&second, &first, &outcome(ErrorName::ProviderFailed, Money::ZERO), NOW).unwrap();
    assert_eq!((&change.entry.pending, &change.entry.failure), (&second.pending, &None));
    assert_eq!(change.attempt.unwrap().hold.state, HoldState::Released, "its hold ends all the same");
}
