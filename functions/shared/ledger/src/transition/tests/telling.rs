//! Who is told what.

use super::*;
use crate::records::LastFailure;
use crate::transition::{Notification, notified, recipients};

fn failing(retryable: bool) -> Entry {
    let name = if retryable { ErrorName::ProviderThrottled } else { ErrorName::ProviderFailed };
    let failure = Failure::new(name, "what happened");
    let failure = LastFailure { attempt: Attempt(2), failure, retryable, not_before: NOW, leader: step_id("leader") };
    Entry { last_attempt: Attempt(2), failure: Some(failure), notify_pending: true, ..entry() }
}

/// Names and what they are told: a result's attempt, or the failure's name.
fn messages(entry: &Entry, waiters: &[Waiter]) -> Vec<(String, Result<u32, ErrorName>)> {
    let mut messages: Vec<_> = recipients(entry, waiters)
        .into_iter()
        .map(|(waiter, message)| match message {
            Notification::Succeed(ready) => (waiter.step_id.step.to_string(), Ok(ready.attempt.0)),
            Notification::Fail(cause) => (waiter.step_id.step.to_string(), Err(cause.name)),
        })
        .collect();
    messages.sort();
    messages
}

fn all(names: &[&str], told: Result<u32, ErrorName>) -> Vec<(String, Result<u32, ErrorName>)> {
    names.iter().map(|name| ((*name).to_owned(), told)).collect()
}

#[test]
fn a_result_goes_to_everybody_who_wants_it() {
    let there = Entry { result: Some(ready(2)), last_attempt: Attempt(2), notify_pending: true, ..entry() };
    // Joined or not, whichever attempt was joined; but not to a refresh that began after it.
    let waiters = [waiter("a", 2, 0), waiter("b", 0, 0), waiter("c", 1, 1), waiter("later", 0, 2)];
    assert_eq!(messages(&there, &waiters), all(&["a", "b", "c"], Ok(2)));
}

#[test]
fn a_refresh_that_joined_an_older_attempt_asks_again() {
    let there = Entry { result: Some(ready(2)), last_attempt: Attempt(2), notify_pending: true, ..entry() };
    let waiters = [waiter("refresh", 2, 2), waiter("starting", 0, 2)];
    assert_eq!(messages(&there, &waiters), all(&["refresh"], Err(ErrorName::StepAgain)));
}

#[test]
fn nobody_is_told_of_a_failure_while_an_attempt_is_pending() {
    let (second, _) =
        next_claim(&Entry { result: Some(ready(1)), last_attempt: Attempt(1), notify_pending: true, ..entry() });
    let waiters = [waiter("a", 1, 0), waiter("refresh", 2, 1)];
    assert_eq!(messages(&second, &waiters), all(&["a"], Ok(1)));
}

#[test]
fn a_final_failure_goes_to_everybody_who_joined() {
    let waiters = [waiter("leader", 2, 0), waiter("early", 1, 0), waiter("starting", 0, 0), waiter("later", 3, 0)];
    assert_eq!(messages(&failing(false), &waiters), all(&["early", "leader"], Err(ErrorName::ProviderFailed)));
}

#[test]
fn a_retryable_failure_goes_to_the_leader_alone() {
    let waiters = [waiter("a", 2, 0), waiter("leader", 2, 0), waiter("z", 1, 0)];
    assert_eq!(messages(&failing(true), &waiters), all(&["leader"], Err(ErrorName::ProviderThrottled)));
}

#[test]
fn where_the_leader_is_gone_the_eldest_takes_over() {
    let eldest = Waiter { since: NOW - 1, ..waiter("z", 1, 0) };
    let starting = Waiter { since: NOW - 2, ..waiter("starting", 0, 0) };
    let waiters = [waiter("a", 2, 0), waiter("b", 2, 0), eldest.clone(), starting];
    assert_eq!(messages(&failing(true), &waiters), all(&["z"], Err(ErrorName::StepAgain)));
    // Of two that are as old, always the same one.
    assert_eq!(messages(&failing(true), &waiters[..2]), all(&["a"], Err(ErrorName::StepAgain)));
    assert_eq!(messages(&failing(true), &[]), []);
}

#[test]
fn a_result_and_a_later_failure_are_told_apart() {
    let both = Entry { result: Some(ready(1)), ..failing(false) };
    let waiters = [waiter("old", 2, 0), waiter("refresh", 2, 1)];
    let expected = [all(&["old"], Ok(1)), all(&["refresh"], Err(ErrorName::ProviderFailed))].concat();
    assert_eq!(messages(&both, &waiters), expected);
}

#[test]
fn that_everybody_was_told_is_noted_once() {
    let (noted, _) = after(notified(&failing(true), NOW).unwrap(), &claimed().1);
    assert!(!noted.notify_pending && noted.next_check_at.is_none());
    assert_eq!(notified(&noted, NOW), None);
    // What is pending is due all the same.
    let (pending, row) =
        next_claim(&Entry { result: Some(ready(1)), last_attempt: Attempt(1), notify_pending: true, ..entry() });
    let (noted, _) = after(notified(&pending, NOW).unwrap(), &row);
    assert_eq!(noted.next_check_at, noted.pending.map(|pending| pending.next_check_at));
}
