//! The repair of an entry that cannot be read, from its attempts. Its result becomes a miss, since it is unknown; a job at a
//! provider stays pending, since it is paid.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::{NOTIFY_GRACE, due_of};
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, Entry, LastFailure, LateCompletion, Millis, PendingAttempt, StepId,
    Waiter,
};

/// Attempt numbers that are skipped where the last assigned one is unknown: their objects may still exist.
const SKIPPED_ATTEMPTS: u32 = 1_000;

/// The readable parts of an entry, its attempts and its waiters.
#[derive(Debug, Clone, Default)]
pub struct ReadableParts<'a> {
    pub entry: Option<&'a Entry>,
    /// The revision to write from.
    pub rev: u64,
    /// The highest assigned attempt by the item, if that is readable.
    pub last: Option<Attempt>,
    pub attempts: Vec<ReadableAttempt>,
    pub waiters: Vec<Waiter>,
}

/// The readable parts of an attempt.
#[derive(Debug, Clone)]
pub struct ReadableAttempt {
    pub attempt: Attempt,
    pub record: Option<AttemptRecord>,
    /// Whether the provider's report is recorded.
    pub reported: bool,
}

/// The repaired entry; `None` if it is sound.
pub fn repair(key: &ContentKey, parts: &ReadableParts<'_>, now: Millis) -> Option<Entry> {
    match parts.entry {
        Some(entry) => without_lost_pending(entry, parts, now),
        None => Some(rebuilt(key, parts, now)),
    }
}

/// Fails a pending attempt whose record cannot be read: it cannot be polled.
fn without_lost_pending(entry: &Entry, parts: &ReadableParts<'_>, now: Millis) -> Option<Entry> {
    let pending = entry.pending.as_ref()?;
    if parts.attempts.iter().any(|part| part.attempt == pending.attempt && part.record.is_some()) {
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
    LastFailure { attempt, failure, retryable: false, not_before: now, leader, unfetched: false }
}

fn rebuilt(key: &ContentKey, parts: &ReadableParts<'_>, now: Millis) -> Entry {
    let mut entry = Entry { rev: parts.rev, ..Entry::new(key.clone()) };
    let highest = parts.attempts.iter().map(|part| part.attempt).max().unwrap_or(Attempt::NONE);
    entry.last_attempt = match parts.last {
        Some(last) => last.max(highest),
        None => Attempt(highest.0.saturating_add(SKIPPED_ATTEMPTS)),
    };
    let latest = parts.attempts.iter().find(|part| part.attempt == highest);
    if let Some(record) =
        latest.and_then(|part| part.record.as_ref()).filter(|record| record.state == AttemptState::Open)
    {
        entry.pending = pending(record, &parts.waiters, now);
    }
    // An unreadable attempt may be running: the steps that wait for it do not pay again by themselves.
    if latest.is_some_and(|part| part.record.is_none()) {
        let eldest = parts.waiters.iter().min_by_key(|waiter| waiter.since);
        entry.failure = eldest.map(|waiter| unknown_fate(highest, waiter.step_id.clone(), now));
    }
    // Late completions may not have been collected. Another check of them is idempotent.
    // A lost attempt whose job was found afterwards may not have been reported yet.
    let may_be_late = |part: &&ReadableAttempt| {
        part.record.as_ref().is_some_and(|record| match record.state {
            AttemptState::Lost => part.reported || record.request_id.is_some(),
            AttemptState::Failed => part.reported,
            _ => false,
        })
    };
    let late = parts.attempts.iter().filter(may_be_late);
    entry.late_completions =
        late.map(|part| LateCompletion { attempt: part.attempt, next_check_at: now, until: None }).collect();
    // Waiters retry, or keep waiting for the pending attempt.
    entry.notify_pending = !parts.waiters.is_empty() && entry.pending.is_none();
    entry.next_check_at = due_of(&entry, now);
    entry
}

/// The attempt as pending, with a check due now; submitted if its record has the job's id, else to be reconciled.
fn pending(record: &AttemptRecord, waiters: &[Waiter], now: Millis) -> Option<PendingAttempt> {
    let of_its_run = waiters.iter().find(|waiter| waiter.step_id.run == record.hold.run);
    let leader = of_its_run.or_else(|| waiters.iter().min_by_key(|waiter| waiter.since));
    // A missing leader is no loss: the longest waiting step takes its place.
    let leader = match leader {
        Some(waiter) => waiter.step_id.clone(),
        None => StepId { run: record.hold.run.clone(), step: "gone".parse().ok()? },
    };
    Some(PendingAttempt {
        attempt: record.attempt,
        stage: if record.request_id.is_some() { AttemptStage::Submitted } else { AttemptStage::Unknown },
        token_hash: record.token_hash.clone(),
        lease_until: now,
        request_id: record.request_id.clone(),
        leader,
        lookups: 0,
        checks: 0,
        unknown: None,
        next_check_at: now,
        cancelling: false,
    })
}
