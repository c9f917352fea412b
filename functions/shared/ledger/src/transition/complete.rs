//! The end of an attempt. The success of any known attempt counts; a failure acts on the pending attempt only.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;
use fresco_pipeline::money::Money;

use super::{MAX_EMPTY_ANSWERS, MAX_RETRY_AFTER, NOTIFY_GRACE, OUTAGE, backoff, due_of, hold};
use crate::records::{AttemptRecord, AttemptState, CachedResult, Entry, LastFailure, LateCompletion, Millis};
use crate::traits::Change;
use fresco_pipeline::media::{Media, Shortfall};

/// The success of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub outputs: Vec<Media>,
    /// The start of their upload.
    pub created_at: Millis,
    pub cost: Money,
    pub shortfall: Option<Shortfall>,
}

/// Records a success; `None` if it is recorded already. A success after a result of this or a later attempt is a duplicate:
/// it is settled, since it is paid, and not used.
pub fn complete(entry: &Entry, record: &AttemptRecord, completion: Completion, now: Millis) -> Option<Change> {
    if matches!(record.state, AttemptState::Won | AttemptState::Duplicate) {
        return None;
    }
    let mut entry = entry.clone();
    let mut record = record.clone();
    let budget = hold::settle(&mut record.hold, completion.cost);
    clear_late_completion(&mut entry, record.attempt);
    if entry.pending.as_ref().is_some_and(|pending| pending.attempt == record.attempt) {
        entry.pending = None;
    }
    if entry.result.as_ref().is_some_and(|ready| ready.attempt >= record.attempt) {
        record.state = AttemptState::Duplicate;
    } else {
        record.state = AttemptState::Won;
        let ready = CachedResult {
            attempt: record.attempt,
            outputs: completion.outputs,
            created_at: completion.created_at,
            cost: completion.cost,
            took_ms: (now - record.claimed_at).max(0),
            shortfall: completion.shortfall,
        };
        entry.whole = entry.whole_result().cloned().filter(|_| !ready.is_whole());
        entry.result = Some(ready);
        if entry.failure.as_ref().is_some_and(|failed| failed.attempt <= record.attempt) {
            entry.failure = None;
        }
        entry.tries = 0;
        entry.failing_since = None;
        entry.empty_answers = 0;
        entry.lost = 0;
        entry.notify_pending = true;
    }
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    Some(Change { attempt: Some(record), budget, ..Change::of(entry) })
}

/// Records that the end of an attempt was reported that is no longer pending, since it was lost or had failed. Sweep checks
/// it until it is collected.
pub fn record_late_completion(entry: &Entry, record: &AttemptRecord, now: Millis) -> Option<Change> {
    let pending = entry.pending.as_ref().is_some_and(|pending| pending.attempt == record.attempt);
    let watched = entry.late_completions.iter().any(|late| late.attempt == record.attempt && late.until.is_none());
    if pending || watched || matches!(record.state, AttemptState::Won | AttemptState::Duplicate) {
        return None;
    }
    let mut entry = entry.clone();
    match entry.late_completions.iter_mut().find(|late| late.attempt == record.attempt) {
        Some(late) => (late.next_check_at, late.until) = (now + NOTIFY_GRACE, None),
        None => entry.late_completions.push(LateCompletion {
            attempt: record.attempt,
            next_check_at: now + NOTIFY_GRACE,
            until: None,
        }),
    }
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change::of(entry))
}

pub(super) fn is_late(entry: &Entry, attempt: Attempt) -> bool {
    entry.late_completions.iter().any(|late| late.attempt == attempt)
}

fn clear_late_completion(entry: &mut Entry, attempt: Attempt) {
    entry.late_completions.retain(|late| late.attempt != attempt);
}

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFailure {
    /// A retryable name lets the next attempt be claimed after a pause.
    pub failure: Failure,
    /// The pause that the provider asks for, in milliseconds.
    pub retry_after: Option<Millis>,
    /// The most that the provider charges for it all the same.
    pub billed: Money,
}

/// Records a failure: the request was surely not accepted, or the job failed. `None` if the attempt is decided already.
pub fn fail(entry: &Entry, record: &AttemptRecord, outcome: &AttemptFailure, now: Millis) -> Option<Change> {
    if record.state != AttemptState::Open && record.state != AttemptState::Lost {
        // It is decided; a second end changes nothing else.
        return is_late(entry, record.attempt).then(|| {
            let mut entry = entry.clone();
            clear_late_completion(&mut entry, record.attempt);
            entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
            Change::of(entry)
        });
    }
    let mut entry = entry.clone();
    let mut record = record.clone();
    let current = entry.pending.as_ref().filter(|pending| pending.attempt == record.attempt).cloned();
    clear_late_completion(&mut entry, record.attempt);
    if record.state == AttemptState::Lost && outcome.billed == Money::ZERO && current.is_none() {
        // It was settled as spent; now it is known to be free.
        record.state = AttemptState::Failed;
        let budget = hold::settle(&mut record.hold, Money::ZERO);
        entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
        return Some(Change { attempt: Some(record), budget, ..Change::of(entry) });
    }
    record.state = AttemptState::Failed;
    let budget = if outcome.billed == Money::ZERO {
        hold::release(&mut record.hold)
    } else {
        hold::settle(&mut record.hold, outcome.billed)
    };
    if let Some(pending) = current {
        let mut failure = outcome.failure.clone();
        let mut retryable = failure.name.is_retryable();
        if retryable && failure.name != ErrorName::StepAgain {
            entry.tries += 1;
            let since = *entry.failing_since.get_or_insert(now);
            if now - since >= OUTAGE {
                retryable = false;
                failure = exhausted(entry.tries, now - since, &failure);
            }
            // Every answer may be billed, so they are bounded by number.
            entry.empty_answers += u32::from(outcome.failure.name == ErrorName::ProviderNoResult);
            if retryable && entry.empty_answers >= MAX_EMPTY_ANSWERS {
                retryable = false;
                let message = format!("asked {MAX_EMPTY_ANSWERS} times; the last: {}", failure.message);
                failure = Failure::new(ErrorName::ProviderFailed, message);
            }
        }
        let pause = if failure.name == ErrorName::StepAgain { 0 } else { backoff(entry.tries) };
        let pause = pause.max(outcome.retry_after.unwrap_or(0).clamp(0, MAX_RETRY_AFTER));
        entry.failure = Some(LastFailure {
            attempt: record.attempt,
            failure,
            retryable,
            not_before: now + pause,
            leader: pending.leader,
            unfetched: false,
        });
        entry.pending = None;
        entry.notify_pending = true;
    }
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    Some(Change { attempt: Some(record), budget, ..Change::of(entry) })
}

fn exhausted(tries: u32, lasted: Millis, last: &Failure) -> Failure {
    let message = format!("gave up after {tries} attempts in {} minutes; the last: {last}", lasted / 60_000);
    Failure::new(ErrorName::ProviderExhausted, message)
}
