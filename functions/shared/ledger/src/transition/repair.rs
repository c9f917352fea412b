//! An entry that cannot be read is made anew from what can: its attempts. What was a result becomes a miss, since nobody can
//! say what it was; what is under way at a provider stays under way, since it is paid.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, StepName};

use super::{NOTIFY_GRACE, due_of};
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, Entry, LastFailure, LateCompletion, Millis, PendingAttempt, StepId,
    Waiter,
};

/// Numbers that are passed over where it is not known which were given out: their objects may still be there.
const PASSED_OVER: u32 = 1_000;

/// What can be read of an entry, its attempts and its waiters.
#[derive(Debug, Clone, Default)]
pub struct ReadableParts<'a> {
    /// The entry, if it can be read.
    pub entry: Option<&'a Entry>,
    /// The revision to write from.
    pub rev: u64,
    /// The highest attempt that the row says was given out, if that can be read.
    pub last: Option<Attempt>,
    /// Its attempts.
    pub attempts: Vec<ReadableAttempt>,
    /// Its waiters that can be read.
    pub waiters: Vec<Waiter>,
}

/// What can be read of an attempt.
#[derive(Debug, Clone)]
pub struct ReadableAttempt {
    /// Its number.
    pub attempt: Attempt,
    /// Its row, if it can be read.
    pub row: Option<AttemptRecord>,
    /// Whether the provider's report stands on it.
    pub reported: bool,
}

/// The entry as it shall be; `None` where nothing is wrong with it.
pub fn repair(key: &ContentKey, survivors: &ReadableParts<'_>, now: Millis) -> Option<Entry> {
    match survivors.entry {
        Some(entry) => without_lost_pending(entry, survivors, now),
        None => Some(rebuilt(key, survivors, now)),
    }
}

/// The attempt under way has no row that can be read: nobody can ask after it, nor say what it was.
fn without_lost_pending(entry: &Entry, survivors: &ReadableParts<'_>, now: Millis) -> Option<Entry> {
    let pending = entry.pending.as_ref()?;
    if survivors.attempts.iter().any(|remnant| remnant.attempt == pending.attempt && remnant.row.is_some()) {
        return None;
    }
    let failure = unknown_fate(pending.attempt, pending.leader.clone(), now);
    let mut entry = Entry { pending: None, failure: Some(failure), notify_pending: true, ..entry.clone() };
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    Some(entry)
}

fn unknown_fate(attempt: Attempt, leader: StepId, now: Millis) -> LastFailure {
    let message = "the record of the attempt under way cannot be read; it may have been accepted and billed";
    let failure = Failure::new(ErrorName::StepUnknown, message);
    LastFailure { attempt, failure, retryable: false, not_before: now, leader }
}

fn rebuilt(key: &ContentKey, survivors: &ReadableParts<'_>, now: Millis) -> Entry {
    let mut entry = Entry { rev: survivors.rev, ..Entry::new(key.clone()) };
    let highest = survivors.attempts.iter().map(|remnant| remnant.attempt).max().unwrap_or(Attempt::NONE);
    entry.last_attempt = match survivors.last {
        Some(last) => last.max(highest),
        None => Attempt(highest.0.saturating_add(PASSED_OVER)),
    };
    let latest = survivors.attempts.iter().find(|remnant| remnant.attempt == highest);
    if let Some(row) = latest.and_then(|remnant| remnant.row.as_ref()).filter(|row| row.state == AttemptState::Open) {
        entry.pending = pending(row, &survivors.waiters, now);
    }
    // One whose row cannot be read either may be under way: whoever waits for it does not pay again unasked.
    if latest.is_some_and(|remnant| remnant.row.is_none()) {
        let eldest = survivors.waiters.iter().min_by_key(|waiter| waiter.since);
        entry.failure = eldest.map(|waiter| unknown_fate(highest, waiter.step_id.clone(), now));
    }
    // One that had been given up and has ended after all may not have been taken in. Looking at it again changes nothing.
    let given_up = |row: &AttemptRecord| matches!(row.state, AttemptState::Lost | AttemptState::Failed);
    let late =
        survivors.attempts.iter().filter(|remnant| remnant.reported && remnant.row.as_ref().is_some_and(given_up));
    entry.late_completion =
        late.map(|remnant| remnant.attempt).max().map(|attempt| LateCompletion { attempt, next_check_at: now });
    // Whoever waits asks again, or goes on waiting for what is under way.
    entry.notify_pending = !survivors.waiters.is_empty() && entry.pending.is_none();
    entry.next_check_at = due_of(&entry, now);
    entry
}

/// The attempt as one that has to be looked at now: whether it was submitted stands on its row, unless it is to be found out.
fn pending(row: &AttemptRecord, waiters: &[Waiter], now: Millis) -> Option<PendingAttempt> {
    let of_its_run = waiters.iter().find(|waiter| waiter.step_id.run == row.hold.run);
    let leader = of_its_run.or_else(|| waiters.iter().min_by_key(|waiter| waiter.since));
    // A leader that is gone is no loss: whoever has waited longest takes its place.
    let leader = match leader {
        Some(waiter) => waiter.step_id.clone(),
        None => StepId { run: row.hold.run.clone(), step: StepName::parse("gone").ok()? },
    };
    Some(PendingAttempt {
        attempt: row.attempt,
        stage: if row.request_id.is_some() { AttemptStage::Submitted } else { AttemptStage::Unknown },
        token_hash: row.token_hash.clone(),
        lease_until: now,
        request_id: row.request_id.clone(),
        leader,
        lookups: 0,
        checks: 0,
        next_check_at: now,
        cancelling: false,
    })
}
