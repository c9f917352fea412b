//! The recipients of notifications.

use super::*;
use crate::records::LastFailure;
use crate::transition::{Notification, notified, recipients};

fn failing(retryable: bool) -> Entry {
    let name = if retryable { ErrorName::ProviderThrottled } else { ErrorName::ProviderFailed };
    let failure = Failure::new(name, "what happened");
    let failure = LastFailure {
        attempt: Attempt(2),
        failure,
        retryable,
        not_before: NOW,
        leader: step_id("leader"),
        unfetched: false,
    };
    Entry { last_attempt: Attempt(2), failure: Some(failure), notify_pending: true, ..entry() }
}

/// Recipients and their messages: a result's attempt, or the failure's name.
fn messages(entry: &Entry, waiters: &[Waiter]) -> Vec<(String, Result<u32, ErrorName>)> {
    let mut messages: Vec<_> = recipients(entry, waiters)
        .into_iter()
        .map(|(waiter, message)| match message {
            Notification::Succeed(ready) => (waiter.step_id.step.to_string(), Ok(ready.attempt.0)),
            Notification::Fail(cause) => (waiter.step_id.step.to_string(), Err(cause.name)),
            Notification::RetryAt(at, cause) => {
                assert_eq!(at, NOW, "when its pause is over");
                (waiter.step_id.step.to_string(), Err(cause.name))
            }
        })
        .collect();
    messages.sort();
    messages
}

fn all(names: &[&str], message: Result<u32, ErrorName>) -> Vec<(String, Result<u32, ErrorName>)> {
    names.iter().map(|name| ((*name).to_owned(), message)).collect()
}

#[test]
fn a_result_goes_to_every_waiter_that_it_counts_for() {
    let there = Entry { result: Some(ready(2)), last_attempt: Attempt(2), notify_pending: true, ..entry() };
    // Joined or not, and for any joined attempt; but not to a refresh that started after it.
    let waiters = [waiter("a", 2, 0), waiter("b", 0, 0), waiter("c", 1, 1), waiter("later", 0, 2)];
    assert_eq!(messages(&there, &waiters), all(&["a", "b", "c"], Ok(2)));
}

#[test]
fn a_refresh_that_joined_an_older_attempt_retries() {
    let there = Entry { result: Some(ready(2)), last_attempt: Attempt(2), notify_pending: true, ..entry() };
    let waiters = [waiter("refresh", 2, 2), waiter("starting", 0, 2)];
    assert_eq!(messages(&there, &waiters), all(&["refresh"], Err(ErrorName::StepAgain)));
}

#[test]
fn a_failure_is_not_sent_while_an_attempt_is_pending() {
    let (second, _) =
        next_claim(&Entry { result: Some(ready(1)), last_attempt: Attempt(1), notify_pending: true, ..entry() });
    let waiters = [waiter("a", 1, 0), waiter("refresh", 2, 1)];
    assert_eq!(messages(&second, &waiters), all(&["a"], Ok(1)));
}

#[test]
fn a_terminal_failure_goes_to_every_waiter_that_joined() {
    let waiters = [waiter("leader", 2, 0), waiter("early", 1, 0), waiter("starting", 0, 0), waiter("later", 3, 0)];
    assert_eq!(messages(&failing(false), &waiters), all(&["early", "leader"], Err(ErrorName::ProviderFailed)));
}

#[test]
fn a_retryable_failure_goes_to_the_leader_alone() {
    let waiters = [waiter("a", 2, 0), waiter("leader", 2, 0), waiter("z", 1, 0)];
    assert_eq!(messages(&failing(true), &waiters), all(&["leader"], Err(ErrorName::ProviderThrottled)));
}

#[test]
fn the_longest_waiting_step_replaces_a_missing_leader() {
    let eldest = Waiter { since: NOW - 1, ..waiter("z", 1, 0) };
    let starting = Waiter { since: NOW - 2, ..waiter("starting", 0, 0) };
    let waiters = [waiter("a", 2, 0), waiter("b", 2, 0), eldest.clone(), starting];
    assert_eq!(messages(&failing(true), &waiters), all(&["z"], Err(ErrorName::StepAgain)));
    // Of two of the same age, always the same one.
    assert_eq!(messages(&failing(true), &waiters[..2]), all(&["a"], Err(ErrorName::StepAgain)));
    assert_eq!(messages(&failing(true), &[]), []);
}

#[test]
fn a_result_and_a_later_failure_go_to_different_waiters() {
    let both = Entry { result: Some(ready(1)), ..failing(false) };
    let waiters = [waiter("old", 2, 0), waiter("refresh", 2, 1)];
    let expected = [all(&["old"], Ok(1)), all(&["refresh"], Err(ErrorName::ProviderFailed))].concat();
    assert_eq!(messages(&both, &waiters), expected);
}

#[test]
fn the_end_of_notification_is_recorded_once() {
    let (noted, _) = after(notified(&failing(true), NOW).unwrap(), &claimed().1);
    assert!(!noted.notify_pending && noted.next_check_at.is_none());
    assert_eq!(notified(&noted, NOW), None);
    // The check of the pending attempt stays due.
    let (pending, record) =
        next_claim(&Entry { result: Some(ready(1)), last_attempt: Attempt(1), notify_pending: true, ..entry() });
    let (noted, _) = after(notified(&pending, NOW).unwrap(), &record);
    assert_eq!(noted.next_check_at, noted.pending.map(|pending| pending.next_check_at));
}
