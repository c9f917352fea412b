//! The fetches of a successful attempt's outputs. It is paid: its outputs are fetched again, never generated again, for as long
//! as its provider surely keeps them, and once more before another attempt is claimed in its place.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;
use fresco_pipeline::money::Money;
use fresco_pipeline::time::DAY;

use super::{AttemptFailure, MAX_RECHECK_INTERVAL, NOTIFY_GRACE, due_of, fail};
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, Entry, Fetching, LateCompletion, Millis, PendingAttempt,
};
use crate::traits::Change;

/// The time from the first failure in which outputs are fetched again.
pub const FETCH_PERIOD: Millis = DAY;
/// The time in which the outputs of an attempt that was given up are fetched once more, before another is claimed.
pub const REFETCH_PERIOD: Millis = 600_000;
/// The time after which something that is not the media it should be counts as what the provider has.
pub const INVALID_PERIOD: Millis = 300_000;

/// The pause before the next fetch, by failures so far: 2 s doubling to 15 minutes.
pub fn fetch_pause(tries: u32) -> Millis {
    2_000_i64.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(MAX_RECHECK_INTERVAL)
}

/// Whether a call at this time may fetch the outputs: the pause after the last failure is over.
pub fn may_fetch(record: &AttemptRecord, now: Millis) -> bool {
    record.fetching.as_ref().is_none_or(|fetching| now >= fetching.next_at)
}

/// Records a failed fetch of a successful attempt's outputs, which are fetched again after a pause. When their time is over
/// the attempt has failed, and is paid. `None` if it is decided already, or if a fetch failed just before.
pub fn record_fetch_failure(
    entry: &Entry,
    record: &AttemptRecord,
    failure: &Failure,
    cost: Money,
    now: Millis,
) -> Option<Change> {
    if matches!(record.state, AttemptState::Won | AttemptState::Duplicate) || !may_fetch(record, now) {
        return None;
    }
    let mut record = record.clone();
    let fetching = failed_once_more(record.fetching.take(), failure, now);
    let next_at = fetching.next_at;
    let over = now >= fetching.until || is_final(&fetching, now);
    record.fetching = Some(fetching.clone());
    if over {
        return give_up(entry, &record, &fetching, cost, now);
    }
    let mut entry = entry.clone();
    match entry.pending.as_mut().filter(|pending| pending.attempt == record.attempt) {
        Some(pending) => pending.next_check_at = next_at,
        None => look_after(&mut entry, record.attempt, next_at),
    }
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change { attempt: Some(record), ..Change::of(entry) })
}

fn failed_once_more(before: Option<Fetching>, failure: &Failure, now: Millis) -> Fetching {
    let mut fetching = before.unwrap_or_else(|| Fetching {
        since: now,
        until: now + FETCH_PERIOD,
        tries: 0,
        next_at: now,
        invalid_since: None,
        failure: failure.clone(),
        again: false,
    });
    fetching.tries += 1;
    fetching.failure = failure.clone();
    fetching.next_at = (now + fetch_pause(fetching.tries)).min(fetching.until.max(now + 1));
    fetching.invalid_since = (failure.name == ErrorName::OutputInvalid).then(|| fetching.invalid_since.unwrap_or(now));
    if let Some(since) = fetching.invalid_since {
        fetching.next_at = fetching.next_at.min((since + INVALID_PERIOD).max(now + 1));
    }
    fetching
}

/// Whether what was fetched is what the provider has, and not the media it should be.
fn is_final(fetching: &Fetching, now: Millis) -> bool {
    fetching.invalid_since.is_some_and(|since| fetching.again || now - since >= INVALID_PERIOD)
}

fn give_up(entry: &Entry, record: &AttemptRecord, fetching: &Fetching, cost: Money, now: Millis) -> Option<Change> {
    let cause = &fetching.failure.message;
    let failure = if fetching.again {
        let message =
            format!("the output of the earlier attempt still cannot be stored ({cause}); it is generated again");
        Failure::new(ErrorName::StepAgain, message)
    } else {
        Failure::new(ErrorName::OutputInvalid, format!("the output could not be stored: {cause}"))
    };
    let outcome = AttemptFailure { failure, retry_after: None, billed: cost };
    let mut change = fail(entry, record, &outcome, now)?;
    if let Some(failed) = change.entry.failure.as_mut().filter(|failed| failed.attempt == record.attempt) {
        failed.unfetched = !fetching.again;
    }
    Some(change)
}

/// Reopens an attempt that was given up before its outputs were fetched, for a step that would claim another. It keeps its
/// leader: the step that asks joins it, and has not generated it.
pub fn reopen(entry: &Entry, record: &AttemptRecord, now: Millis) -> Option<Change> {
    let failed = entry.failure.as_ref().filter(|failed| failed.unfetched && failed.attempt == record.attempt)?;
    if entry.pending.is_some() || !matches!(record.state, AttemptState::Failed | AttemptState::Lost) {
        return None;
    }
    let mut record = record.clone();
    record.state = AttemptState::Open;
    record.fetching = Some(fetched_from(now, REFETCH_PERIOD, failed.failure.clone(), true));
    let pending = PendingAttempt {
        attempt: record.attempt,
        stage: AttemptStage::Submitted,
        token_hash: record.token_hash.clone(),
        lease_until: now,
        request_id: record.request_id.clone(),
        leader: failed.leader.clone(),
        lookups: 0,
        checks: 0,
        unknown: None,
        cancelling: false,
        next_check_at: now + NOTIFY_GRACE,
    };
    let mut entry = Entry { failure: None, pending: Some(pending), ..entry.clone() };
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change { attempt: Some(record), ..Change::of(entry) })
}

/// Records that the outputs of an attempt that was given up cannot be fetched once more, since its record has expired.
pub fn forget_unfetched(entry: &Entry, attempt: Attempt) -> Option<Change> {
    let mut entry = entry.clone();
    entry.failure.as_mut().filter(|failed| failed.unfetched && failed.attempt == attempt)?.unfetched = false;
    Some(Change::of(entry))
}

/// Makes the outputs of an attempt that has succeeded due now, and fetched again for a day from now, whatever became of it.
/// `None` if they are stored.
pub fn recollect(entry: &Entry, record: &AttemptRecord, now: Millis) -> Option<Change> {
    if matches!(record.state, AttemptState::Won | AttemptState::Duplicate) {
        return None;
    }
    let mut record = record.clone();
    if let Some(before) = record.fetching.take() {
        record.fetching = Some(fetched_from(now, FETCH_PERIOD, before.failure, false));
    }
    let mut entry = entry.clone();
    match entry.pending.as_mut().filter(|pending| pending.attempt == record.attempt) {
        Some(pending) => pending.next_check_at = now + NOTIFY_GRACE,
        None => look_after(&mut entry, record.attempt, now + NOTIFY_GRACE),
    }
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change { attempt: Some(record), ..Change::of(entry) })
}

fn fetched_from(now: Millis, period: Millis, failure: Failure, again: bool) -> Fetching {
    Fetching { since: now, until: now + period, tries: 0, next_at: now, invalid_since: None, failure, again }
}

/// Lets the sweep check an attempt that is no longer pending.
fn look_after(entry: &mut Entry, attempt: Attempt, next_check_at: Millis) {
    match entry.late_completions.iter_mut().find(|late| late.attempt == attempt) {
        Some(late) => (late.next_check_at, late.until) = (next_check_at, None),
        None => entry.late_completions.push(LateCompletion { attempt, next_check_at, until: None }),
    }
}
