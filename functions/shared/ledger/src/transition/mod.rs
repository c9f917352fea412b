//! The transitions of an entry, as pure functions from the records that were read to a [`Change`](crate::traits::Change). A
//! change is committed only if the entry is still as it was read, so a condition checked here holds at the commit. The order
//! and conditions are those of the exhaustive model behind the design: keep them, or run that model.

mod acquire;
mod complete;
mod fetch;
mod hold;
mod lease;
mod notify;
mod repair;
mod submit;

#[cfg(test)]
mod tests;

pub use acquire::{AcquireRequest, Acquisition, acquire, expire, renew};
pub use complete::{AttemptFailure, Completion, complete, fail, record_late_completion};
pub use fetch::{
    FETCH_PERIOD, INVALID_PERIOD, REFETCH_PERIOD, fetch_pause, forget_unfetched, may_fetch, recollect,
    record_fetch_failure, reopen,
};
pub use lease::{CheckLease, lease_checks};
pub use notify::{Notification, notified, recipients};
pub use repair::{ReadableAttempt, ReadableParts, repair};
pub use submit::{
    LookupResult, UnknownPolicy, mark_cancelling, mark_unknown, record_lookup, record_submission, record_unknown_job,
    watch_unknown_job,
};

use fresco_pipeline::time::DAY;

use crate::records::{Entry, Millis};

/// The outage that every step survives: a retryable failure is terminal for all waiters only if the failures before it began
/// so long ago.
pub const OUTAGE: Millis = 1_800_000;
/// A claim so long after the pause of a retryable failure belongs to another outage.
pub const SAME_OUTAGE: Millis = 900_000;
/// Empty look-ups, after the submitter has surely ended, before an attempt is lost.
pub const EMPTY_LOOKUPS: u32 = 2;
/// The pause before sweep invokes collect for a late completion again.
pub const LATE_COMPLETION_PAUSE: Millis = 300_000;
/// Answers without a result before the step fails.
pub const MAX_EMPTY_ANSWERS: u32 = 3;
/// Answers of a provider that it does not know a job before the job counts as failed.
pub const MAX_UNKNOWN_JOBS: u32 = 3;
/// The time from one of these answers to the next that counts.
pub const UNKNOWN_JOB_SPACING: Millis = 60_000;
/// The time from the first of these answers to the earliest end of the job.
pub const UNKNOWN_JOB_GRACE: Millis = 600_000;
/// The time in which a job that counts as failed for these answers is checked for a result.
pub const UNKNOWN_JOB_WATCH: Millis = DAY;
/// The time that the writer of a decision has to notify the waiters before sweep does.
pub const NOTIFY_GRACE: Millis = 30_000;
/// The pause between a cancellation request and sweep's check of it.
pub const CANCEL_GRACE: Millis = 5_000;
/// The longest pause that a provider's retry-after can ask for.
pub const MAX_RETRY_AFTER: Millis = 300_000;

/// The longest pause between two checks or fetches.
const MAX_RECHECK_INTERVAL: Millis = 900_000;

/// The pause before the next attempt, by retryable failures so far: 2 s doubling to four minutes.
pub fn backoff(tries: u32) -> Millis {
    2_000_i64.saturating_mul(1 << tries.saturating_sub(1).min(7)).min(240_000)
}

/// The pause before sweep checks a submitted attempt again: 1 minute growing to 15.
pub fn recheck_interval(checks: u32) -> Millis {
    60_000_i64.saturating_mul(i64::from(checks) + 1).min(MAX_RECHECK_INTERVAL)
}

/// The time of sweep's next check: of a pending notification, the pending attempt, or a late completion.
fn due_of(entry: &Entry, notify_at: Millis) -> Option<Millis> {
    let notify = entry.notify_pending.then_some(notify_at);
    let check = entry.pending.as_ref().map(|pending| pending.next_check_at);
    let late = entry.late_completions.iter().map(|late| late.next_check_at).min();
    [notify, check, late].into_iter().flatten().min()
}
