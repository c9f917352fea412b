//! Batches that go on and are to end, or have ended and are to go on: stopping, driving anew, and looking after those whose
//! execution is gone.

use fresco_ledger::batch::BatchStatus;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Batches as _, Clock, Executions, Invoker, Runs as _};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use futures::{StreamExt, TryStreamExt, stream};

use super::Batches;
use super::objects::run_of;
use super::wire::BatchView;
use crate::platform::Platform;

/// How often it is looked at whether a batch's execution goes on. One that was recorded is started well within it.
pub(super) const CHECK_EVERY: Millis = 300_000;
/// How many runs of a batch are told to stop side by side.
const STOPPED_AT_ONCE: usize = 16;
/// How many of them are let go side by side; each asks providers about several jobs at once.
const LET_GO_AT_ONCE: usize = 4;
/// How many batches a call of the sweep looks at.
const LOOKED_AT: u32 = 100;

impl<P: Platform> Batches<P> {
    /// Stops a batch: no chunk is begun, those that run are stopped as runs are, and behind the last of them the execution is
    /// ended, which closes the batch. Again is no error.
    pub async fn stop(&self, id: &RunId) -> Result<BatchView, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.stop_batch(id).await? {
            let runs: Vec<RunId> =
                row.open.iter().map(|chunk| run_of(id, *chunk, row.generation)).collect::<Result<_, _>>()?;
            // All of them before any is let go, which asks providers and takes its time: nothing is submitted meanwhile.
            let flags: Vec<_> = runs.iter().map(|run| ledger.stop_run(run)).collect();
            stream::iter(flags).buffer_unordered(STOPPED_AT_ONCE).try_collect::<Vec<_>>().await?;
            let ends: Vec<_> = runs.iter().map(|run| async move { (run, self.runs.release_all(run).await) }).collect();
            let mut ends = stream::iter(ends).buffer_unordered(LET_GO_AT_ONCE);
            while let Some((run, end)) = ends.next().await {
                // What is not let go here is told at its next nudge.
                if let Err(cause) = end {
                    tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "not let go");
                }
            }
            match self.platform.executions().batch_is_running(id, row.generation).await? {
                true => self.end_stopped(id).await?,
                // Its results are put together, for which nobody here has the time.
                false => self.platform.invoker().finalize_batch(id, row.generation).await?,
            }
        }
        self.view(id).await
    }

    /// Stops a batch of which more rows have failed than it tolerates; ends one that is stopped behind its last chunk.
    pub(crate) async fn enforce_failure_tolerance(&self, batch: &RunId) -> Result<(), Failure> {
        let record = match self.store.record(batch).await {
            // It is gone, as its chunks' runs soon will be.
            Err(cause) if cause.name == ErrorName::RunNotFound => return Ok(()),
            record => record?,
        };
        let tolerated = record.plan.and_then(|plan| plan.tolerated);
        let stop = tolerated.is_some_and(|tolerated| record.counts.failed > tolerated);
        if stop && !record.stop {
            tracing::warn!(batch.id = %batch, failed = record.counts.failed, "more rows failed than the batch tolerates");
            // No chunk is begun any more; those that run end by themselves.
            self.platform.ledger().stop_batch(batch).await?;
        }
        if stop || record.stop { self.end_stopped(batch).await } else { Ok(()) }
    }

    /// Ends the execution of a batch that is stopped and has no chunk at work: it would go through all the others for nothing.
    async fn end_stopped(&self, id: &RunId) -> Result<(), Failure> {
        // Read anew: the last chunk may have ended meanwhile.
        let row = self.store.record(id).await?;
        let executions = self.platform.executions();
        if row.status.is_final() || !row.stop || !row.open.is_empty() {
            return Ok(());
        }
        if !executions.stop_batch_execution(id, row.generation).await? {
            // It ended without the batch.
            self.platform.invoker().finalize_batch(id, row.generation).await?;
        }
        Ok(())
    }

    /// Drives a batch that has ended anew: chunks with rows that failed, or were not run, run again; what is there is a hit. One
    /// whose execution ended without closing it (it was aborted) is closed first; its results are put together at its next end.
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

    /// Looks at the batches that are due: one whose execution ended without closing it, and whose end was not told either, is
    /// closed. How many there were.
    pub(crate) async fn sweep(&self) -> Result<usize, Failure> {
        let (ledger, now) = (self.platform.ledger(), self.platform.clock().now());
        let due = ledger.batches_to_check(now, LOOKED_AT).await?;
        for id in &due {
            // One that cannot be looked at must not keep the others waiting, nor stay at their head.
            if let Err(cause) = self.sweep_one(id).await {
                tracing::warn!(batch.id = %id, error.name = %cause.name, error.message = cause.message, "batch not swept");
            }
            ledger.schedule_batch_check(id, now + CHECK_EVERY).await?;
        }
        Ok(due.len())
    }

    async fn sweep_one(&self, id: &RunId) -> Result<(), Failure> {
        let row = self.store.record(id).await?;
        if !row.status.is_final() && !self.platform.executions().batch_is_running(id, row.generation).await? {
            self.platform.invoker().finalize_batch(id, row.generation).await?;
        }
        Ok(())
    }
}
