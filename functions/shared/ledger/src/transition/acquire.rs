//! A step asks for an entry: it finds the result, joins the attempt under way, shares a failure, or claims.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, TokenHash};
use fresco_pipeline::money::Money;
use fresco_pipeline::request::GenerationRequest;

use super::due_of;
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, CachedResult, Entry, Failed, Hold, HoldState, Millis, PendingAttempt,
    Waiter,
};
use crate::traits::{BudgetChange, Change, Joining};

/// What a step brings along when it asks.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Its row, written before the entry was read: so either this read sees a decision, or whoever decides sees the row.
    pub waiter: &'a Waiter,
    /// Whether the entry's result may be used (unexpired, its objects there). A result that this waiter does not want
    /// (`attempt <= base`) is not usable for it either way.
    pub usable: bool,
    /// What it would submit.
    pub request: &'a GenerationRequest,
    /// Its upper-bound price, which the hold reserves.
    pub price: Money,
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
pub enum Answer {
    /// Use this.
    Hit(CachedResult),
    /// Wait for this attempt.
    Join(Attempt),
    /// The attempt it shared has failed for good.
    Shared(Failure),
    /// The last attempt failed for a passing reason and its pause is not over: ask again after it.
    NotYet(Failed),
    /// Commit this; then, and only then, submit.
    Claim(Box<Change>),
}

/// Decides what an asking step does.
pub fn ask(entry: &Entry, ask: &Ask<'_>) -> Answer {
    let waiter = ask.waiter;
    if let Some(ready) = entry.result.as_ref().filter(|ready| ask.usable && ready.attempt > waiter.base) {
        return Answer::Hit(ready.clone());
    }
    if let Some(pending) = &entry.pending {
        return Answer::Join(pending.attempt);
    }
    if let Some(failed) = &entry.failure {
        if failed.retryable && ask.now < failed.not_before {
            return Answer::NotYet(failed.clone());
        }
        // A terminal failure counts for whoever waited for that attempt. Who comes later may try anew: the user may have
        // topped up the account meanwhile.
        let shared = waiter.joined > Attempt::NONE && waiter.joined <= failed.attempt && failed.attempt > waiter.base;
        if !failed.retryable && shared {
            return Answer::Shared(failed.failure.clone());
        }
    }
    Answer::Claim(Box::new(claim(entry, ask)))
}

fn claim(entry: &Entry, ask: &Ask<'_>) -> Change {
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
        token_hash: ask.token_hash.clone(),
        lease_until: ask.lease_until,
        request_id: None,
        leader: ask.waiter.step_id.clone(),
        lookups: 0,
        checks: 0,
        cancelling: false,
        next_check_at: ask.lease_until,
    });
    entry.next_check_at = due_of(&entry, ask.now);
    let run = ask.waiter.step_id.run.clone();
    let row = AttemptRecord {
        key: entry.key.clone(),
        attempt,
        token_hash: ask.token_hash.clone(),
        state: AttemptState::Open,
        request_id: None,
        request: ask.request.clone(),
        claimed_at: ask.now,
        submitter_dead_at: ask.submitter_dead_at,
        hold: Hold { run: run.clone(), amount: ask.price, state: HoldState::Held },
        fetches: 0,
    };
    Change {
        entry,
        attempt: Some(row),
        job: None,
        budget: Some(BudgetChange::Hold { run, amount: ask.price }),
        joined: Some(Joining { step_id: ask.waiter.step_id.clone(), from: ask.waiter.joined, to: attempt }),
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
pub fn renewed(entry: &Entry, attempt: Attempt, created_at: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let ready = entry.result.as_mut().filter(|ready| ready.attempt == attempt && ready.created_at < created_at)?;
    ready.created_at = created_at;
    Some(Change::of(entry))
}
