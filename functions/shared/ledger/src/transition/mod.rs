//! What may happen to an entry, as pure functions from the rows that were read to a [`Change`](crate::traits::Change). An
//! implementation commits a change only if the entry is still as it was read, so a condition checked here holds at the
//! commit. The order and conditions are those of the exhaustive model behind the design: keep them, or run that model.

mod acquire;
mod complete;
mod hold;
mod notify;
mod repair;
mod submit;

#[cfg(test)]
mod tests;

pub use acquire::{AcquireRequest, Acquisition, acquire, expire, renew};
pub use complete::{
    AttemptFailure, Completion, complete, fail, postpone_late_completion, record_fetch_failure, record_late_completion,
};
pub use notify::{Notification, notified, postpone_notification, recipients};
pub use repair::{ReadableAttempt, ReadableParts, repair};
pub use submit::{
    LookupResult, UnknownPolicy, mark_cancelling, mark_unknown, postpone_check, record_lookup, record_submission,
    record_unknown_job,
};

use crate::records::{Entry, Millis};

/// Retryable failures in a row before an entry gives up for everybody.
pub const MAX_TRIES: u32 = 6;
/// Times that an attempt's outputs are fetched before the attempt counts as failed.
pub const MAX_FETCHES: u32 = 6;
/// Empty look-ups, made when the submitter is surely dead, before an attempt is lost.
pub const EMPTY_LOOKUPS: u32 = 2;
/// How long sweep waits before it hands an attempt that ended late over again.
pub const LATE_COMPLETION_PAUSE: Millis = 300_000;
/// How often a provider has to say that it does not know a job before it is believed.
pub const MAX_UNKNOWN_JOBS: u32 = 3;
/// How long the one who decided has to tell the waiters before sweep does.
pub const NOTIFY_GRACE: Millis = 30_000;
/// How long after we asked for a cancellation sweep looks whether it has come to anything.
pub const CANCEL_GRACE: Millis = 5_000;
/// The most that a provider's hint may delay the next attempt.
pub const MAX_RETRY_AFTER: Millis = 300_000;

/// The pause before the next attempt, by retryable failures so far: 2 s doubling to a minute.
pub fn backoff(tries: u32) -> Millis {
    2_000_i64.saturating_mul(1 << tries.saturating_sub(1).min(5)).min(60_000)
}

/// The pause before sweep looks at a submitted attempt again: 1 minute growing to 15.
pub fn recheck_interval(checks: u32) -> Millis {
    60_000_i64.saturating_mul(i64::from(checks) + 1).min(900_000)
}

/// When sweep has to look: at a decision that was not told, at the pending attempt, or at one that ended late.
fn due_of(entry: &Entry, untold_due: Millis) -> Option<Millis> {
    let told = entry.notify_pending.then_some(untold_due);
    let look = entry.pending.as_ref().map(|pending| pending.next_check_at);
    let late = entry.late_completion.as_ref().map(|late| late.next_check_at);
    [told, look, late].into_iter().flatten().min()
}
