//! The notification of waiters about a decision. It is idempotent: a waiter is deleted when its token is answered or expired,
//! and `notify_pending` is cleared last, on the revision whose decision was sent.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;

use super::due_of;
use crate::records::{CachedResult, Entry, LastFailure, Millis, Waiter};
use crate::traits::Change;

/// The message to a waiter.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    Succeed(CachedResult),
    Fail(Failure),
    /// Call again at this time, for this reason.
    RetryAt(Millis, Failure),
}

/// The recipients of an entry's decision, and the message to each. A result goes to all waiters that it counts for, a
/// terminal failure to all that joined, and a retryable failure to the leader alone, or to the longest waiting step if the
/// leader is gone, so that one step retries and not all.
pub fn recipients(entry: &Entry, waiters: &[Waiter]) -> Vec<(Waiter, Notification)> {
    let wants = |waiter: &Waiter| entry.result_for(waiter);
    let mut messages: Vec<(Waiter, Notification)> = waiters
        .iter()
        .filter_map(|w| wants(w).map(|ready| (w.clone(), Notification::Succeed(ready.clone()))))
        .collect();
    if entry.pending.is_some() {
        return messages;
    }
    // A waiter that has not joined yet is between its write and its decision; it reads the entry again.
    let left: Vec<&Waiter> = waiters.iter().filter(|w| wants(w).is_none() && w.joined > Attempt::NONE).collect();
    match &entry.failure {
        Some(failed) if !failed.retryable => {
            let shared = left.iter().filter(|waiter| waiter.joined <= failed.attempt);
            messages.extend(shared.map(|waiter| ((*waiter).clone(), Notification::Fail(failed.failure.clone()))));
        }
        Some(failed) => messages.extend(leader_of(failed, &left)),
        // A refresh that waited for an attempt which started before its request.
        None => messages.extend(
            left.iter().map(|waiter| ((*waiter).clone(), again("the attempt under way ended without a result"))),
        ),
    }
    messages
}

fn leader_of(failed: &LastFailure, left: &[&Waiter]) -> Option<(Waiter, Notification)> {
    if let Some(leader) = left.iter().find(|waiter| waiter.step_id == failed.leader) {
        return Some(((*leader).clone(), Notification::RetryAt(failed.not_before, failed.failure.clone())));
    }
    let eldest = left.iter().min_by_key(|waiter| (waiter.since, &waiter.step_id))?;
    Some(((*eldest).clone(), again("the step that submitted is gone; this one takes over")))
}

fn again(message: &str) -> Notification {
    Notification::Fail(Failure::new(ErrorName::StepAgain, message))
}

/// Records that every waiter is notified; `None` if that is recorded already.
pub fn notified(entry: &Entry, now: Millis) -> Option<Change> {
    if !entry.notify_pending {
        return None;
    }
    let mut entry = entry.clone();
    entry.notify_pending = false;
    entry.next_check_at = due_of(&entry, now);
    Some(Change::of(entry))
}
