//! A step asks for an entry: it finds the result, joins the attempt under way, shares a failure, or claims.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, TokenHash};

use super::due_of;
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, CachedResult, Entry, Hold, HoldState, LastFailure, Millis,
    PendingAttempt, Request, Waiter,
};
use crate::traits::{BudgetChange, Change, Joining};

/// What a step brings along when it asks.
#[derive(Debug, Clone)]
pub struct AcquireRequest<'a> {
    /// Its row, written before the entry was read: so either this read sees a decision, or whoever decides sees the row.
    pub waiter: &'a Waiter,
    /// Whether the entry's result may be used (unexpired, its objects there). A result that this waiter does not want
    /// (`attempt <= base`) is not usable for it either way.
    pub usable: bool,
    /// What it would submit.
    pub request: &'a Request,
    /// The hash of the token of the attempt it would make.
    pub token_hash: &'a TokenHash,
    /// Until when this call of the function may be between claim and record.
    pub lease_until: Millis,
    /// When this call of the function is surely over.
    pub submitter_dead_at: Millis,
    /// Now.
    pub now: Millis,
}

/// What an asking step does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Acquisition {
    /// Use this.
    Hit(CachedResult),
    /// Wait for this attempt.
    Join(Attempt),
    /// The attempt it shared has failed for good.
    SharedFailure(Failure),
    /// The last attempt failed for a passing reason and its pause is not over: ask again after it.
    RetryLater(LastFailure),
    /// Commit this; then, and only then, submit.
    Claim(Box<Change>),
}

/// Decides what an asking step does.
pub fn acquire(entry: &Entry, request: &AcquireRequest<'_>) -> Acquisition {
    let waiter = request.waiter;
    if let Some(ready) = entry.result.as_ref().filter(|ready| request.usable && ready.attempt > waiter.base) {
        return Acquisition::Hit(ready.clone());
    }
    if let Some(pending) = &entry.pending {
        return Acquisition::Join(pending.attempt);
    }
    if let Some(failed) = &entry.failure {
        if failed.retryable && request.now < failed.not_before {
            return Acquisition::RetryLater(failed.clone());
        }
        // A terminal failure counts for whoever waited for that attempt. Who comes later may try anew: the user may have
        // topped up the account meanwhile.
        let shared = waiter.joined > Attempt::NONE && waiter.joined <= failed.attempt && failed.attempt > waiter.base;
        if !failed.retryable && shared {
            return Acquisition::SharedFailure(failed.failure.clone());
        }
    }
    Acquisition::Claim(Box::new(claim(entry, request)))
}

fn claim(entry: &Entry, request: &AcquireRequest<'_>) -> Change {
    let mut entry = entry.clone();
    let attempt = entry.last_attempt.next();
    if entry.failure.as_ref().is_none_or(|failed| !failed.retryable) {
        entry.tries = 0;
        entry.lost = 0;
    }
    entry.failure = None;
    entry.last_attempt = attempt;
    entry.pending = Some(PendingAttempt {
        attempt,
        stage: AttemptStage::Submitting,
        token_hash: request.token_hash.clone(),
        lease_until: request.lease_until,
        request_id: None,
        leader: request.waiter.step_id.clone(),
        lookups: 0,
        checks: 0,
        cancelling: false,
        next_check_at: request.lease_until,
    });
    entry.next_check_at = due_of(&entry, request.now);
    let run = request.waiter.step_id.run.clone();
    let row = AttemptRecord {
        key: entry.key.clone(),
        attempt,
        token_hash: request.token_hash.clone(),
        state: AttemptState::Open,
        request_id: None,
        request: request.request.clone(),
        claimed_at: request.now,
        submitter_dead_at: request.submitter_dead_at,
        hold: Hold { run: run.clone(), amount: request.request.price, state: HoldState::Held },
        fetches: 0,
    };
    Change {
        entry,
        attempt: Some(row),
        job: None,
        budget: Some(BudgetChange::Hold { run, amount: request.request.price }),
        joined: Some(Joining { step_id: request.waiter.step_id.clone(), from: request.waiter.joined, to: attempt }),
    }
}

/// The result of this attempt is gone, or about to go: it is removed, so that the next to ask generates.
pub fn expire(entry: &Entry, attempt: Attempt) -> Option<Change> {
    entry.result.as_ref().filter(|ready| ready.attempt == attempt)?;
    let mut entry = entry.clone();
    entry.result = None;
    Some(Change::of(entry))
}

/// The objects of this attempt's result were written anew, from this time on: they expire by it.
pub fn renew(entry: &Entry, attempt: Attempt, created_at: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let ready = entry.result.as_mut().filter(|ready| ready.attempt == attempt && ready.created_at < created_at)?;
    ready.created_at = created_at;
    Some(Change::of(entry))
}
