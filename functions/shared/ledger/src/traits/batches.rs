//! Batches and their chunks.

use std::future::Future;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use super::{ListPosition, StoreError};
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, Millis, RunRecord, RunStatus};

/// The end of a chunk's run, and its contribution to the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkEnd {
    pub batch: RunId,
    pub chunk: u32,
    pub run: RunId,
    pub status: RunStatus,
    pub failure: Option<Failure>,
    /// Its `spent` is what the run has settled.
    pub counts: BatchCounts,
    /// The rest of its grant, which goes back to the batch; `None` where the batch has no budget.
    pub unspent: Option<Money>,
}

/// Batches.
pub trait Batches: Send + Sync {
    /// Creates a batch and lists it; false if a batch of this id exists, which stays as it is.
    fn create_batch(&self, batch: &BatchRecord) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Reads a batch.
    fn batch(&self, id: &RunId) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// Lists at most `limit` batches of the last ninety days, newest first, after this position.
    fn list_batches(
        &self,
        limit: u32,
        after: Option<&ListPosition>,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<BatchRecord>, StoreError>> + Send;
    /// Records the plan and marks the batch running; true if it has neither ended nor been stopped. Idempotent.
    fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Sets the stop flag; the batch as it is then, if it exists and has not ended.
    fn stop_batch(&self, id: &RunId) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// Creates the run of a chunk, once, with a grant of at most `wanted` out of the batch's budget, and marks the chunk open.
    /// The run as it is, or `None` if the batch has ended, was stopped, or is in another generation: a late call of an
    /// earlier one would take a grant that no execution gives back.
    fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        generation: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> impl Future<Output = Result<Option<RunRecord>, StoreError>> + Send;
    /// Moves this amount of the batch's budget to the run of a chunk whose grant is too small; true if both are open, neither
    /// is stopped, and the batch has that much left.
    fn top_up(
        &self,
        batch: &RunId,
        run: &RunId,
        amount: Money,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Closes the run of a chunk, adds its counts to the batch and marks the chunk ended, all or nothing and once; true if
    /// this call did. An error if money was reserved or paid since the run was read: what it gives back would be reserved
    /// twice, and what was paid would not be counted. What is settled later goes to the batch ([`BudgetChange::Settle`]).
    ///
    /// [`BudgetChange::Settle`]: super::BudgetChange::Settle
    fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Reopens a batch that has ended, for a redrive: it is planning, in the next generation. The batch as it is then, or
    /// `None` if it does not exist or has not ended.
    fn reopen_batch(
        &self,
        id: &RunId,
        now: Millis,
        due: Millis,
    ) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// Lists at most `limit` open batches whose check is due, the longest due first. The index may lag.
    fn batches_to_check(&self, now: Millis, limit: u32) -> impl Future<Output = Result<Vec<RunId>, StoreError>> + Send;
    /// Sets the time of a batch's next check; true if it has not ended.
    fn schedule_batch_check(&self, id: &RunId, due: Millis) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Replaces the counts by those of the rows that are not redriven; money stays. True if the batch is planning.
    fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Closes the batch; true if it was open in this generation: a late call of an earlier generation closes nothing.
    fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        failure: Option<&Failure>,
        now: Millis,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
