//! The sweep leases the checks of an entry before it carries them out: the next ones are recorded first. A provider that does not
//! answer, or a sweep that ends in the middle, keeps no entry at the head of the index.

use fresco_pipeline::ids::Attempt;

use super::{LATE_COMPLETION_PAUSE, NOTIFY_GRACE, due_of, recheck_interval};
use crate::records::{Entry, Millis};
use crate::traits::Change;

/// The checks of an entry that are due.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckLease {
    /// Commit this first.
    pub change: Change,
    /// Attempts that are no longer pending and have to be collected.
    pub late: Vec<Attempt>,
    /// Whether the pending attempt has to be reconciled.
    pub pending: bool,
}

/// Leases the checks of an entry that are due; `None` if none is. Its waiters have to be notified in any case.
pub fn lease_checks(entry: &Entry, now: Millis) -> Option<CheckLease> {
    entry.next_check_at.filter(|due| *due <= now)?;
    let mut entry = entry.clone();
    let mut late = Vec::new();
    for completion in entry.late_completions.iter_mut().filter(|late| late.next_check_at <= now) {
        completion.next_check_at = now + LATE_COMPLETION_PAUSE;
        late.push(completion.attempt);
    }
    entry.late_completions.retain(|late| late.until.is_none_or(|until| now < until));
    let mut is_due = false;
    if let Some(pending) = entry.pending.as_mut().filter(|pending| pending.next_check_at <= now) {
        pending.checks += 1;
        pending.next_check_at = now + recheck_interval(pending.checks);
        is_due = true;
    }
    entry.next_check_at = due_of(&entry, now + NOTIFY_GRACE);
    Some(CheckLease { change: Change::of(entry), late, pending: is_due })
}
