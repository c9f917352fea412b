//! The end of an attempt: complete, rejected, failed.

use super::*;
use crate::records::{AttemptState, HoldState};
use crate::transition::{
    MAX_RETRY_AFTER, NOTIFY_GRACE, Notification, OUTAGE, SAME_OUTAGE, complete, expire, fail, recipients, renew,
};
use fresco_pipeline::media::Shortfall;

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

/// A refresh brings less than there is: it goes to the steps that waited for it, and the others are answered as before.
#[test]
fn a_short_result_leaves_the_last_whole_one_in_place() {
    let short =
        || Completion { shortfall: Some(Shortfall::Outputs { asked: 4, given: 3, blanked: 1 }), ..completion(PRICE) };
    let there = Entry { result: Some(ready(1)), last_attempt: Attempt(1), ..entry() };
    let (there, second) = next_claim(&there);
    let (there, _) = after(complete(&there, &second, short(), NOW).unwrap(), &second);
    let (there, third) = next_claim(&there);
    let (there, _) = after(complete(&there, &third, short(), NOW).unwrap(), &third);
    let given = |entry: &Entry, joined, base| match answer(entry, &waiter("a", joined, base), true, NOW) {
        Acquisition::Hit(ready) => Some(ready.attempt.0),
        _ => None,
    };
    assert_eq!((given(&there, 3, 2), given(&there, 0, 0), given(&there, 0, 1)), (Some(3), Some(1), None));
    let messages = recipients(&there, &[waiter("waited", 3, 0), waiter("new", 0, 0)]);
    let sent = messages.iter().map(|(_, message)| match message {
        Notification::Succeed(ready) => ready.attempt.0,
        other => panic!("{other:?}"),
    });
    assert_eq!(sent.collect::<Vec<_>>(), [3, 1]);
    // Each expires by itself.
    let without_whole = expire(&there, Attempt(1)).unwrap().entry;
    assert_eq!((given(&without_whole, 3, 2), given(&without_whole, 0, 0)), (Some(3), None));
    let without_short = expire(&there, Attempt(3)).unwrap().entry;
    assert_eq!((given(&without_short, 0, 0), without_short.whole.as_ref()), (Some(1), None));
    assert_eq!(renew(&there, Attempt(1), NOW + 9).unwrap().entry.whole.unwrap().created_at, NOW + 9);
    // A whole one replaces both.
    let (there, fourth) = next_claim(&there);
    let (there, _) = after(complete(&there, &fourth, completion(PRICE), NOW).unwrap(), &fourth);
    assert_eq!((there.result.unwrap().attempt, there.whole), (Attempt(4), None));
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

/// Fails every attempt for so long, with this pause asked for; the times of the failures.
fn failing(lasts: Millis, retry_after: Option<Millis>) -> (Entry, Vec<Millis>) {
    let (mut entry, mut times) = (entry(), Vec::new());
    loop {
        let now = entry.failure.as_ref().map_or(NOW, |failure| failure.not_before);
        if now >= NOW + lasts || entry.failure.as_ref().is_some_and(|failure| !failure.retryable) {
            return (entry, times);
        }
        let change = claim(&entry, &waiter("leader", entry.last_attempt.0, 0), now);
        let record = change.attempt.clone().unwrap();
        (entry, _) = after(change, &record);
        let cause = AttemptFailure { retry_after, ..outcome(ErrorName::ProviderUnavailable, Money::ZERO) };
        (entry, _) = after(fail(&entry, &record, &cause, now).unwrap(), &record);
        times.push(now - NOW);
    }
}

#[test]
fn an_outage_of_half_an_hour_is_survived_and_a_longer_one_is_not() {
    for hint in [None, Some(1_000), Some(60_000), Some(300_000), Some(i64::MAX)] {
        let (entry, times) = failing(OUTAGE, hint);
        assert!(entry.failure.is_some_and(|failure| failure.retryable), "{hint:?} {times:?}");
        assert!(times.len() <= 15, "the history has room for so many pauses: {times:?}");
        let (entry, times) = failing(2 * OUTAGE, hint);
        let failure = entry.failure.unwrap();
        assert_eq!((failure.failure.name, failure.retryable), (ErrorName::ProviderExhausted, false));
        let last = times.last().unwrap();
        assert!((OUTAGE..OUTAGE + MAX_RETRY_AFTER).contains(last), "{hint:?} {times:?}");
    }
}

#[test]
fn a_failure_long_after_another_belongs_to_another_outage() {
    let (entry, times) = failing(OUTAGE, None);
    let pause_ends = entry.failure.as_ref().unwrap().not_before;
    for (later, tries) in [(SAME_OUTAGE - 1, times.len() as u32), (SAME_OUTAGE, 0)] {
        let change = claim(&entry, &waiter("another", 0, 0), pause_ends + later);
        assert_eq!((change.entry.tries, change.entry.failing_since.is_some()), (tries, tries > 0));
    }
    // A success ends an outage, too.
    let (entry, record) = next_claim(&entry);
    let done = complete(&entry, &record, completion(PRICE), NOW).unwrap().entry;
    assert_eq!((done.tries, done.failing_since), (0, None));
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
