//! Stops and redrives batches, and repairs those whose execution is gone.

use fresco_api_types::BatchView;
use fresco_ledger::records::BatchStatus;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Batches as _, Clock, Executions, Invoker, Runs as _};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use futures::{StreamExt, TryStreamExt, stream};

use super::Batches;
use super::objects::run_of;
use crate::platform::Platform;

/// The interval between checks of the execution of a batch, in milliseconds. A batch that is recorded is started well
/// within it.
pub(super) const CHECK_EVERY: Millis = 300_000;
/// Runs whose stop flags are set concurrently.
const STOPPED_AT_ONCE: usize = 16;
/// Runs that are released concurrently; each calls providers for several jobs at once.
const LET_GO_AT_ONCE: usize = 4;

impl<P: Platform> Batches<P> {
    /// Stops a batch: no chunk starts any more, the runs of open chunks are stopped, and after the last of them the
    /// execution is ended, which closes the batch. It is idempotent.
    pub async fn stop(&self, id: &RunId) -> Result<BatchView, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.stop_batch(id).await? {
            let runs: Vec<RunId> =
                row.open.iter().map(|chunk| run_of(id, *chunk, row.generation)).collect::<Result<_, _>>()?;
            // All flags are set before any run is released, which calls providers and takes time: nothing is submitted
            // meanwhile.
            let flags: Vec<_> = runs.iter().map(|run| ledger.stop_run(run)).collect();
            stream::iter(flags).buffer_unordered(STOPPED_AT_ONCE).try_collect::<Vec<_>>().await?;
            let ends: Vec<_> = runs.iter().map(|run| async move { (run, self.runs.release_all(run).await) }).collect();
            let mut ends = stream::iter(ends).buffer_unordered(LET_GO_AT_ONCE);
            while let Some((run, end)) = ends.next().await {
                // A run that is not released fails at its next nudge.
                if let Err(cause) = end {
                    tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "not let go");
                }
            }
            match self.platform.executions().batch_is_running(id, row.generation).await? {
                true => self.end_stopped(id).await?,
                // Merging its results takes longer than this call may.
                false => self.platform.invoker().finalize_batch(id, row.generation).await?,
            }
        }
        self.view(id).await
    }

    /// Stops a batch with more failed rows than its tolerance; ends a stopped batch after its last chunk.
    pub(crate) async fn enforce_failure_tolerance(&self, batch: &RunId) -> Result<(), Failure> {
        let record = match self.store.record(batch).await {
            // The batch has expired, and the runs of its chunks expire soon.
            Err(cause) if cause.name == ErrorName::RunNotFound => return Ok(()),
            record => record?,
        };
        let tolerated = record.plan.and_then(|plan| plan.tolerated);
        let stop = tolerated.is_some_and(|tolerated| record.counts.failed > tolerated);
        if stop && !record.stop {
            tracing::warn!(batch.id = %batch, failed = record.counts.failed, "more rows failed than the batch tolerates");
            // No chunk starts any more; those that run end by themselves.
            self.platform.ledger().stop_batch(batch).await?;
        }
        if stop || record.stop { self.end_stopped(batch).await } else { Ok(()) }
    }

    /// Ends the execution of a stopped batch without open chunks, which would go through all remaining chunks for
    /// nothing.
    async fn end_stopped(&self, id: &RunId) -> Result<(), Failure> {
        // Read again: the last chunk may have ended meanwhile.
        let row = self.store.record(id).await?;
        let executions = self.platform.executions();
        if row.status.is_final() || !row.stop || !row.open.is_empty() {
            return Ok(());
        }
        if !executions.stop_batch_execution(id, row.generation).await? {
            // The execution ended without closing the batch.
            self.platform.invoker().finalize_batch(id, row.generation).await?;
        }
        Ok(())
    }

    /// Redrives a batch that has ended: chunks with rows that failed or did not run are run again, and existing results
    /// are hits. A batch whose execution ended without closing it is closed first; its results are merged at its next
    /// end.
    pub async fn redrive(&self, id: &RunId) -> Result<BatchView, Failure> {
        let (record, now) = (self.store.record(id).await?, self.platform.clock().now());
        if !record.status.is_final() {
            if self.platform.executions().batch_is_running(id, record.generation).await? {
                return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; stop it, or wait for its end"));
            }
            let cause = Failure::new(ErrorName::RunStopped, "the batch's execution ended without it");
            let ledger = self.platform.ledger();
            let closed = ledger.close_batch(id, record.generation, BatchStatus::Stopped, Some(&cause), now).await;
            closed?;
        }
        if let Some(opened) = self.platform.ledger().reopen_batch(id, now, now + CHECK_EVERY).await? {
            self.platform.executions().start_batch(id, opened.generation).await?;
        }
        self.view(id).await
    }

    /// Checks a batch: one whose execution ended without closing it is finalized. The next check is recorded first.
    pub(crate) async fn sweep(&self, id: &RunId) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        if !self.platform.ledger().schedule_batch_check(id, now + CHECK_EVERY).await? {
            return Ok(());
        }
        let row = self.store.record(id).await?;
        if !row.status.is_final() && !self.platform.executions().batch_is_running(id, row.generation).await? {
            self.platform.invoker().finalize_batch(id, row.generation).await?;
        }
        Ok(())
    }
}
