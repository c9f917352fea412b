//! Sweeps the ledger: closes batches and runs that their executions have left open, reconciles attempts whose run is gone,
//! and notifies waiters that were missed.

use std::fmt;

use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Batches as _, Clock, CommitError, Entries, Invoker, Runs, StoreError};
use fresco_ledger::transition::lease_checks;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId};
use futures::StreamExt;

use crate::deadline::within;
use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::upkeep::Upkeep;

/// The most batches, runs and entries of one sweep, of each. The rest stays due for the next.
const SWEEP_AT_MOST: u32 = 400;
/// Checks that are carried out concurrently: each may wait for a provider.
const AT_ONCE: usize = 16;
/// The longest that one check may take, in milliseconds.
const CHECK_BOUND: Millis = 10_000;
/// The time in which checks begin, in milliseconds. With the last of them and the measurement of the bucket it is less
/// than the function's timeout.
const SWEEP_PERIOD: Millis = 30_000;
/// The pause before a run that is past its bound is closed again, in milliseconds.
const CLOSE_PAUSE: Millis = 300_000;

/// A record whose check is due.
enum Due {
    Batch(RunId),
    Run(RunId),
    Entry(ContentKey),
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::Batch(id) => write!(f, "batch {id}"),
            Due::Run(id) => write!(f, "run {id}"),
            Due::Entry(key) => write!(f, "entry {key}"),
        }
    }
}

impl<P: Platform> Upkeep<P> {
    /// Checks what is due: batches first, which are few, then runs, then entries. Each check is postponed before it begins,
    /// so that none can hold up the others, whatever becomes of it. Returns the number of checks that were carried out.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        let ledger = self.platform.ledger();
        let now = self.platform.clock().now();
        let batches = ledger.batches_to_check(now, SWEEP_AT_MOST).await?;
        let runs = ledger.runs_to_check(now, SWEEP_AT_MOST).await?;
        let entries = ledger.entries_to_check(now, SWEEP_AT_MOST).await?;
        let due = batches.into_iter().map(Due::Batch).chain(runs.into_iter().map(Due::Run));
        let due: Vec<Due> = due.chain(entries.into_iter().map(Due::Entry)).collect();
        let checks = due.into_iter().map(|due| self.check_until(due, now + SWEEP_PERIOD));
        let checked: Vec<bool> = futures::stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
        Ok(checked.into_iter().filter(|checked| *checked).count())
    }

    /// Carries out a check, unless the sweep is about to end. Whether it did.
    async fn check_until(&self, due: Due, until: Millis) -> bool {
        if self.platform.clock().now() >= until {
            return false;
        }
        if let Err(cause) = within(self.platform.clock(), CHECK_BOUND, self.check(&due)).await {
            tracing::warn!(due = %due, error.name = %cause.name, error.message = cause.message, "not swept");
        }
        true
    }

    async fn check(&self, due: &Due) -> Result<(), Failure> {
        match due {
            Due::Batch(id) => self.batches.sweep(id).await,
            Due::Run(id) => self.sweep_run(id).await,
            Due::Entry(key) => self.sweep_entry(key).await,
        }
    }

    /// Closes a run that is past its bound, or was never planned, or whose end is not published yet. Its closing exports
    /// and publishes, for which another function has the time and the rights.
    async fn sweep_run(&self, id: &RunId) -> Result<(), Failure> {
        let due = self.platform.clock().now() + CLOSE_PAUSE;
        if self.platform.ledger().schedule_run_check(id, due).await? {
            tracing::warn!(run.id = %id, "the run is not closed in time; it is closed now");
            self.platform.invoker().close_run(id).await?;
        }
        Ok(())
    }

    async fn sweep_entry(&self, key: &ContentKey) -> Result<(), Failure> {
        let Some(entry) = self.commits.entry(key).await? else { return Ok(()) };
        let Some(lease) = lease_checks(&entry, self.platform.clock().now()) else { return Ok(()) };
        match self.platform.ledger().commit(&lease.change).await {
            Ok(()) => {}
            // Another caller is at work on the entry.
            Err(CommitError::Conflict) => return Ok(()),
            Err(CommitError::Unclear(cause)) => return Err(cause),
            Err(other) => return Err(StoreError::ledger(other.to_string()).into()),
        }
        let notified = self.notifier.notify(key).await;
        failpoint(Failpoint::SweepNotified);
        for attempt in lease.late {
            self.platform.invoker().collect(key, attempt).await?;
            failpoint(Failpoint::SweepHandedOver);
        }
        if lease.pending {
            self.reconciler.reconcile(&lease.change.entry, None).await?;
            failpoint(Failpoint::SweepReconciled);
        }
        notified
    }
}
