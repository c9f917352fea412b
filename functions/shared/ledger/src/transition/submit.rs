//! Between the claim and the job's end: the job's id is recorded, or it is reconciled whether the job exists.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;
use serde::{Deserialize, Serialize};

use super::complete::is_late;
use super::{
    CANCEL_GRACE, EMPTY_LOOKUPS, LATE_COMPLETION_PAUSE, MAX_UNKNOWN_JOBS, NOTIFY_GRACE, UNKNOWN_JOB_GRACE,
    UNKNOWN_JOB_SPACING, UNKNOWN_JOB_WATCH, due_of, hold, recheck_interval,
};
use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, Entry, LastFailure, LateCompletion, Millis, UnknownJob,
};
use crate::traits::{Change, JobOwner};

/// The policy for a job that may or may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPolicy {
    /// The step fails with `Step.Unknown`, for the user to decide.
    #[default]
    Fail,
    /// It is submitted once more, and may be paid twice.
    ResubmitOnce,
}

/// Records the provider's id of the job, from the POST, from its list (adopt), or from a webhook that came first. `None` if it
/// is recorded already.
pub fn record_submission(entry: &Entry, record: &AttemptRecord, request_id: &str, now: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let mut record = record.clone();
    let job =
        JobOwner { provider: record.request.provider, request_id: request_id.to_owned(), attempt: record.attempt };
    let mut news = false;
    if record.request_id.is_none() {
        record.request_id = Some(request_id.to_owned());
        news = true;
    }
    if let Some(pending) =
        entry.pending.as_mut().filter(|p| p.attempt == record.attempt && p.stage != AttemptStage::Submitted)
    {
        pending.stage = AttemptStage::Submitted;
        pending.lookups = 0;
        pending.request_id = Some(request_id.to_owned());
        pending.next_check_at = now + recheck_interval(0);
        news = true;
    }
    if news
        && record.state == AttemptState::Lost
        && entry.late_completions.iter().all(|late| late.attempt != record.attempt)
    {
        // It was lost and exists after all: sweep checks it from now on, even if this caller fails.
        entry.late_completions.push(LateCompletion {
            attempt: record.attempt,
            next_check_at: now + NOTIFY_GRACE,
            until: None,
        });
    }
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    news.then(|| Change { attempt: Some(record), job: Some(job), ..Change::of(entry) })
}

/// Marks that the provider may have the job: the reply was broken, or the submitter's lease has expired. Its check is due.
pub fn mark_unknown(entry: &Entry, attempt: Attempt, now: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let pending = entry.pending.as_mut().filter(|p| p.attempt == attempt && p.stage == AttemptStage::Submitting)?;
    pending.stage = AttemptStage::Unknown;
    pending.next_check_at = now;
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change::of(entry))
}

/// The result of a search of the provider's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// The job is not in the list.
    Empty,
    /// The provider has no list to search.
    Impossible,
    /// The provider has no jobs: it answers at once, and the submitter says that the answer was lost.
    ReplyLost,
}

/// Records that the job was not found. When its submitter has surely ended and enough look-ups were empty, it is lost: its
/// hold is settled as spent, since it may have been accepted, and the policy decides whether to submit once more.
pub fn record_lookup(
    entry: &Entry,
    record: &AttemptRecord,
    look_up: LookupResult,
    policy: UnknownPolicy,
    now: Millis,
) -> Option<Change> {
    let mut entry = entry.clone();
    let mut record = record.clone();
    let pending = entry.pending.as_mut().filter(|p| p.attempt == record.attempt && p.stage == AttemptStage::Unknown)?;
    if now >= record.submitter_dead_at {
        // Earlier look-ups prove nothing: the POST may still be in flight.
        pending.lookups += 1;
    }
    let enough = match look_up {
        LookupResult::Empty => pending.lookups >= EMPTY_LOOKUPS,
        LookupResult::Impossible => pending.lookups >= 1,
        // The submitter has ended its call, so there is nothing to wait for.
        LookupResult::ReplyLost => true,
    };
    if !enough {
        pending.next_check_at = if now < record.submitter_dead_at { record.submitter_dead_at } else { now + 60_000 };
        entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
        return Some(Change::of(entry));
    }
    let again = policy == UnknownPolicy::ResubmitOnce && entry.lost == 0;
    let leader = pending.leader.clone();
    let provider = record.request.provider.as_str();
    let message = if again {
        format!("{provider} does not know the job; it is submitted once more")
    } else {
        format!("{provider} neither confirmed nor refused the job, and does not list it")
    };
    entry.failure = Some(LastFailure {
        attempt: record.attempt,
        failure: Failure::new(if again { ErrorName::StepAgain } else { ErrorName::StepUnknown }, message),
        retryable: again,
        not_before: now,
        leader,
        unfetched: false,
    });
    entry.pending = None;
    entry.lost += 1;
    entry.notify_pending = true;
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    record.state = AttemptState::Lost;
    let amount = record.hold.amount;
    let budget = hold::settle(&mut record.hold, amount);
    Some(Change { attempt: Some(record), budget, ..Change::of(entry) })
}

/// Marks that a cancellation is about to be requested, since no step waits. The attempt stays pending until the provider
/// reports its end: a cancellation is a request.
pub fn mark_cancelling(entry: &Entry, attempt: Attempt, now: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let pending = entry.pending.as_mut().filter(|p| p.attempt == attempt && p.stage == AttemptStage::Submitted)?;
    pending.cancelling = true;
    pending.next_check_at = pending.next_check_at.min(now + CANCEL_GRACE);
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change::of(entry))
}

/// Records the provider's answer that it does not know a job which it accepted. `None` if it answered so often enough and for
/// long enough: the attempt has failed. However many steps ask, one answer a minute counts: a lagging replica gives the same
/// one to all of them.
pub fn record_unknown_job(entry: &Entry, attempt: Attempt, now: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let pending = entry.pending.as_mut().filter(|p| p.attempt == attempt && p.stage == AttemptStage::Submitted)?;
    let mut unknown = pending.unknown.unwrap_or(UnknownJob { since: now, counted_at: now, count: 1 });
    if now >= unknown.counted_at + UNKNOWN_JOB_SPACING {
        (unknown.counted_at, unknown.count) = (now, unknown.count + 1);
    }
    if unknown.count >= MAX_UNKNOWN_JOBS && now >= unknown.since + UNKNOWN_JOB_GRACE {
        return None;
    }
    pending.unknown = Some(unknown);
    pending.next_check_at = now + recheck_interval(0);
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change::of(entry))
}

/// Keeps watching a failed attempt whose job the provider did not know: what it still reports within a day is collected.
pub fn watch_unknown_job(entry: &Entry, record: &AttemptRecord, now: Millis) -> Option<Change> {
    if record.state != AttemptState::Failed || is_late(entry, record.attempt) {
        return None;
    }
    let mut entry = entry.clone();
    let (next_check_at, until) = (now + LATE_COMPLETION_PAUSE, Some(now + UNKNOWN_JOB_WATCH));
    entry.late_completions.push(LateCompletion { attempt: record.attempt, next_check_at, until });
    entry.next_check_at = due_of(&entry, entry.next_check_at.unwrap_or(now));
    Some(Change::of(entry))
}
