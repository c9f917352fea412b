//! Sweeps the ledger: reconciles attempts whose run is gone, and notifies waiters that were missed.

use fresco_ledger::traits::{Clock, Entries, Invoker};
use fresco_ledger::transition::{postpone_check, postpone_late_completion, postpone_notification};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;

use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::upkeep::Upkeep;

/// The most entries of one sweep. The rest stays due for the next.
const SWEEP_AT_MOST: u32 = 100;

impl<P: Platform> Upkeep<P> {
    /// Checks every entry and every batch whose next check is due. Returns their number.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        let ledger = self.platform.ledger();
        let due = ledger.entries_to_check(self.platform.clock().now(), SWEEP_AT_MOST).await?;
        for key in &due {
            // An entry that cannot be checked must not hold up the others.
            if let Err(cause) = self.sweep_entry(key).await {
                tracing::warn!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "entry not swept");
            }
        }
        Ok(due.len() + self.batches.sweep().await?)
    }

    async fn sweep_entry(&self, key: &ContentKey) -> Result<(), Failure> {
        if let Err(cause) = self.notifier.notify(key).await {
            let now = self.platform.clock().now();
            self.commits.commit_entry(key, |entry| postpone_notification(entry, now)).await?;
            return Err(cause);
        }
        failpoint(Failpoint::SweepNotified);
        let Some(entry) = self.commits.entry(key).await? else { return Ok(()) };
        let now = self.platform.clock().now();
        for late in entry.late_completions.iter().filter(|late| late.next_check_at <= now) {
            self.platform.invoker().collect(key, late.attempt).await?;
            failpoint(Failpoint::SweepHandedOver);
            self.commits.commit_entry(key, |entry| postpone_late_completion(entry, late.attempt, now)).await?;
        }
        let Some(pending) = entry.pending.as_ref().filter(|pending| pending.next_check_at <= now) else {
            return Ok(());
        };
        let attempt = pending.attempt;
        let outcome = self.reconciler.reconcile(&entry, None).await;
        failpoint(Failpoint::SweepReconciled);
        // Where nothing was decided, the entry must not stay at the head of the index.
        self.commits
            .commit(key, attempt, |entry, _| {
                let still = entry
                    .pending
                    .as_ref()
                    .is_some_and(|pending| pending.attempt == attempt && pending.next_check_at <= now);
                if still { postpone_check(entry, attempt, now) } else { None }
            })
            .await?;
        outcome
    }
}
