//! Batches that go on and are to end, or have ended and are to go on: stopping, driving anew, and looking after those whose
//! execution is gone.

use fresco_ledger::records::{BatchRecord, BatchStatus};
use fresco_ledger::traits::{Batches, Clock, Executions, Invoker, Runs};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use futures::{StreamExt, TryStreamExt, stream};

use super::wire::BatchView;
use super::{LOOK_EVERY, run_of};
use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// How many runs of a batch are told to stop side by side.
const STOPPED_AT_ONCE: usize = 16;
/// How many of them are let go side by side; each asks providers about several jobs at once.
const LET_GO_AT_ONCE: usize = 4;
/// How many batches a call of the sweep looks at.
const LOOKED_AT: u32 = 100;

impl<P: Platform> Engine<P> {
    /// Stops a batch: no chunk is begun, those that run are stopped as runs are, and behind the last of them the execution is
    /// ended, which closes the batch. Again is no error.
    pub async fn stop_batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.stop_batch(id).await.map_err(failure)? {
            let runs: Vec<RunId> =
                row.open.iter().map(|chunk| run_of(id, *chunk, row.generation)).collect::<Result<_, _>>()?;
            // All of them before any is let go, which asks providers and takes its time: nothing is submitted meanwhile.
            let flags: Vec<_> = runs.iter().map(|run| ledger.stop_run(run)).collect();
            stream::iter(flags).buffer_unordered(STOPPED_AT_ONCE).try_collect::<Vec<_>>().await.map_err(failure)?;
            let ends: Vec<_> = runs.iter().map(|run| async move { (run, self.let_all_go(run).await) }).collect();
            let mut ends = stream::iter(ends).buffer_unordered(LET_GO_AT_ONCE);
            while let Some((run, end)) = ends.next().await {
                // What is not let go here is told at its next nudge.
                if let Err(cause) = end {
                    tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "not let go");
                }
            }
            match self.platform.executions().batch_is_running(id, row.generation).await.map_err(failure)? {
                true => self.end_stopped(id).await?,
                // Its results are put together, for which nobody here has the time.
                false => self.platform.invoker().finalize_batch(id, row.generation).await.map_err(failure)?,
            }
        }
        self.batch(id).await
    }

    /// Ends the execution of a batch that is stopped and has no chunk at work: it would go through all the others for nothing.
    pub(super) async fn end_stopped(&self, id: &RunId) -> Result<(), Failure> {
        // Read anew: the last chunk may have ended meanwhile.
        let row = self.batch_row(id).await?;
        let executions = self.platform.executions();
        if row.status.is_final() || !row.stop || !row.open.is_empty() {
            return Ok(());
        }
        if !executions.stop_batch_execution(id, row.generation).await.map_err(failure)? {
            // It ended without the batch.
            self.platform.invoker().finalize_batch(id, row.generation).await.map_err(failure)?;
        }
        Ok(())
    }

    /// Closes the runs of chunks that an execution left behind when it ended. What they have paid for is kept, and what their
    /// budgets have left goes back.
    pub(super) async fn close_open_chunks(
        &self,
        row: &BatchRecord,
        generation: u32,
        cause: &Failure,
    ) -> Result<(), Failure> {
        for chunk in &row.open {
            let run = run_of(&row.id, *chunk, generation)?;
            // Its own execution may go on still: it is to submit nothing more.
            self.platform.ledger().stop_run(&run).await.map_err(failure)?;
            match self.close(&run, Some(cause.clone())).await {
                Ok(_) => {}
                Err(cause) if cause.name == ErrorName::RunNotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Drives a batch that has ended anew: chunks with rows that failed, or were not run, run again; what is there is a hit. One
    /// whose execution ended without closing it (it was aborted) is closed first; its results are put together at its next end.
    pub async fn redrive_batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        let (record, now) = (self.batch_row(id).await?, self.platform.clock().now());
        if !record.status.is_final() {
            if self.platform.executions().batch_is_running(id, record.generation).await.map_err(failure)? {
                return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; stop it, or wait for its end"));
            }
            let cause = Failure::new(ErrorName::RunStopped, "the batch's execution ended without it");
            let ledger = self.platform.ledger();
            let closed = ledger.close_batch(id, record.generation, BatchStatus::Stopped, Some(&cause), now).await;
            closed.map_err(failure)?;
        }
        if let Some(opened) = self.platform.ledger().reopen_batch(id, now, now + LOOK_EVERY).await.map_err(failure)? {
            self.platform.executions().start_batch(id, opened.generation).await.map_err(failure)?;
        }
        self.batch(id).await
    }

    /// Looks at the batches that are due: one whose execution ended without closing it, and whose end was not told either, is
    /// closed. How many there were.
    pub(crate) async fn sweep_batches(&self) -> Result<usize, Failure> {
        let (ledger, now) = (self.platform.ledger(), self.platform.clock().now());
        let due = ledger.batches_to_check(now, LOOKED_AT).await.map_err(failure)?;
        for id in &due {
            // One that cannot be looked at must not keep the others waiting, nor stay at their head.
            if let Err(cause) = self.sweep_batch(id).await {
                tracing::warn!(batch.id = %id, error.name = %cause.name, error.message = cause.message, "batch not swept");
            }
            ledger.schedule_batch_check(id, now + LOOK_EVERY).await.map_err(failure)?;
        }
        Ok(due.len())
    }

    async fn sweep_batch(&self, id: &RunId) -> Result<(), Failure> {
        let row = self.batch_row(id).await?;
        if !row.status.is_final()
            && !self.platform.executions().batch_is_running(id, row.generation).await.map_err(failure)?
        {
            self.platform.invoker().finalize_batch(id, row.generation).await.map_err(failure)?;
        }
        Ok(())
    }
}
