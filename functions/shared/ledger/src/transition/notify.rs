//! Who is told what, once a decision stands in the entry. Telling is repeatable: a waiter goes when its token is answered or
//! gone, and `notify_pending` is cleared last, on the revision whose decision was told.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;

use super::{NOTIFY_GRACE, due_of};
use crate::records::{CachedResult, Entry, LastFailure, Millis, Waiter};
use crate::traits::Change;

/// What a waiter is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    /// Its result.
    Succeed(CachedResult),
    /// Its failure.
    Fail(Failure),
}

/// Whom to tell what. A result goes to everybody who wants it; a terminal failure to everybody who joined; a retryable one
/// to the leader alone (or, if it is gone, to the one that has waited longest), so that one step asks again and not all.
pub fn recipients(entry: &Entry, waiters: &[Waiter]) -> Vec<(Waiter, Notification)> {
    let wants = |waiter: &Waiter| entry.result.as_ref().filter(|ready| ready.attempt > waiter.base);
    let mut messages: Vec<(Waiter, Notification)> = waiters
        .iter()
        .filter_map(|w| wants(w).map(|ready| (w.clone(), Notification::Succeed(ready.clone()))))
        .collect();
    if entry.pending.is_some() {
        return messages;
    }
    // Who has not joined yet is between writing its row and deciding; it will read the entry again.
    let left: Vec<&Waiter> = waiters.iter().filter(|w| wants(w).is_none() && w.joined > Attempt::NONE).collect();
    match &entry.failure {
        Some(failed) if !failed.retryable => {
            let shared = left.iter().filter(|waiter| waiter.joined <= failed.attempt);
            messages.extend(shared.map(|waiter| ((*waiter).clone(), Notification::Fail(failed.failure.clone()))));
        }
        Some(failed) => messages.extend(leader_of(failed, &left)),
        // A refresh that waited for an attempt begun before it asked.
        None => messages.extend(
            left.iter().map(|waiter| ((*waiter).clone(), again("the attempt under way ended without a result"))),
        ),
    }
    messages
}

fn leader_of(failed: &LastFailure, left: &[&Waiter]) -> Option<(Waiter, Notification)> {
    if let Some(leader) = left.iter().find(|waiter| waiter.step_id == failed.leader) {
        return Some(((*leader).clone(), Notification::Fail(failed.failure.clone())));
    }
    let eldest = left.iter().min_by_key(|waiter| (waiter.since, &waiter.step_id))?;
    Some(((*eldest).clone(), again("the step that submitted is gone; this one takes over")))
}

fn again(message: &str) -> Notification {
    Notification::Fail(Failure::new(ErrorName::StepAgain, message))
}

/// Telling did not work: sweep tries again later, and does not keep others waiting for it.
pub fn postpone_notification(entry: &Entry, now: Millis) -> Option<Change> {
    if !entry.notify_pending {
        return None;
    }
    let mut entry = entry.clone();
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    Some(Change::of(entry))
}

/// Every waiter has been told. `None`: that was known.
pub fn notified(entry: &Entry, now: Millis) -> Option<Change> {
    if !entry.notify_pending {
        return None;
    }
    let mut entry = entry.clone();
    entry.notify_pending = false;
    entry.next_check_at = due_of(&entry, now);
    Some(Change::of(entry))
}
