//! A step acquires an entry: it uses the result, joins the pending attempt, shares a failure, or claims an attempt.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, TokenHash};
use fresco_pipeline::money::Money;
use fresco_pipeline::request::GenerationRequest;

use super::{SAME_OUTAGE, due_of};
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, CachedResult, Entry, Hold, HoldState, LastFailure, Millis,
    PendingAttempt, Waiter,
};
use crate::traits::{BudgetChange, Change, Joining};

/// A step's request for an entry.
#[derive(Debug, Clone)]
pub struct AcquireRequest<'a> {
    /// Written before the entry was read: either that read sees a decision, or the writer of the decision sees the waiter.
    pub waiter: &'a Waiter,
    /// Whether the entry's result may be used: it has not expired, and its objects exist. It has to count for the waiter
    /// besides.
    pub usable: bool,
    /// The request to submit on a claim.
    pub request: &'a GenerationRequest,
    /// Its upper-bound price, which the hold reserves.
    pub price: Money,
    /// The hash of the token of a claimed attempt.
    pub token_hash: &'a TokenHash,
    /// The end of the time in which this call of the function may be between claim and record.
    pub lease_until: Millis,
    /// The time when this call of the function has surely ended.
    pub submitter_dead_at: Millis,
    pub now: Millis,
}

/// The decision on a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Acquisition {
    /// Use this result.
    Hit(CachedResult),
    /// Wait for this attempt.
    Join(Attempt),
    /// The attempt that it joined has failed terminally.
    SharedFailure(Failure),
    /// The last attempt failed with a retryable failure, and its pause is not over: retry after it.
    RetryLater(LastFailure),
    /// The last attempt is paid and its outputs were not fetched: reopen it with [`reopen`](super::reopen).
    Recollect(Attempt),
    /// Commit this; then, and only then, submit.
    Claim(Box<Change>),
}

/// Decides on a step's request for an entry.
pub fn acquire(entry: &Entry, request: &AcquireRequest<'_>) -> Acquisition {
    let waiter = request.waiter;
    if let Some(ready) = entry.result_for(waiter).filter(|_| request.usable) {
        return Acquisition::Hit(ready.clone());
    }
    if let Some(pending) = &entry.pending {
        return Acquisition::Join(pending.attempt);
    }
    if let Some(failed) = &entry.failure {
        if failed.retryable && request.now < failed.not_before {
            return Acquisition::RetryLater(failed.clone());
        }
        // A terminal failure counts for the steps that waited for that attempt. A later step may claim: the user may have
        // topped up the account meanwhile.
        let shared = waiter.joined > Attempt::NONE && waiter.joined <= failed.attempt && failed.attempt > waiter.base;
        if !failed.retryable && shared {
            return Acquisition::SharedFailure(failed.failure.clone());
        }
        if failed.unfetched && failed.attempt > waiter.base {
            return Acquisition::Recollect(failed.attempt);
        }
    }
    Acquisition::Claim(Box::new(claim(entry, request)))
}

fn claim(entry: &Entry, request: &AcquireRequest<'_>) -> Change {
    let mut entry = entry.clone();
    let attempt = entry.last_attempt.next();
    let goes_on = |failed: &LastFailure| failed.retryable && request.now < failed.not_before + SAME_OUTAGE;
    if !entry.failure.as_ref().is_some_and(goes_on) {
        entry.tries = 0;
        entry.failing_since = None;
        entry.empty_answers = 0;
    }
    if entry.failure.as_ref().is_none_or(|failed| !failed.retryable) {
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
        unknown: None,
        cancelling: false,
        next_check_at: request.lease_until,
    });
    entry.next_check_at = due_of(&entry, request.now);
    let run = request.waiter.step_id.run.clone();
    let record = AttemptRecord {
        key: entry.key.clone(),
        attempt,
        token_hash: request.token_hash.clone(),
        state: AttemptState::Open,
        request_id: None,
        request: request.request.clone(),
        claimed_at: request.now,
        submitter_dead_at: request.submitter_dead_at,
        hold: Hold { run: run.clone(), amount: request.price, state: HoldState::Held },
        fetching: None,
    };
    Change {
        entry,
        attempt: Some(record),
        job: None,
        budget: Some(BudgetChange::Hold { run, amount: request.price }),
        joined: Some(Joining { step_id: request.waiter.step_id.clone(), from: request.waiter.joined, to: attempt }),
    }
}

/// Removes the result of this attempt, since it has expired or is about to, so that the next request generates.
pub fn expire(entry: &Entry, attempt: Attempt) -> Option<Change> {
    entry.results().find(|ready| ready.attempt == attempt)?;
    let mut entry = entry.clone();
    let kept = |ready: &CachedResult| ready.attempt != attempt;
    (entry.result, entry.whole) = (entry.result.filter(kept), entry.whole.filter(kept));
    if entry.result.is_none() {
        entry.result = entry.whole.take();
    }
    Some(Change::of(entry))
}

/// Records that the objects of this attempt's result were rewritten at this time, which they expire by.
pub fn renew(entry: &Entry, attempt: Attempt, created_at: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let mut results = entry.result.iter_mut().chain(&mut entry.whole);
    let ready = results.find(|ready| ready.attempt == attempt && ready.created_at < created_at)?;
    ready.created_at = created_at;
    Some(Change::of(entry))
}
