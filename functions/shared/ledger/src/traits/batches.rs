//! Batches and the chunks that they are cut into.

use std::future::Future;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use super::{ListPosition, StoreError};
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, Millis, RunRecord, RunStatus};

/// How a chunk's run ended, and what it adds to its batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkEnd {
    /// The batch.
    pub batch: RunId,
    /// The chunk's number.
    pub chunk: u32,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: RunStatus,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
    /// What became of its rows.
    pub counts: BatchCounts,
    /// What is left of what it was granted, which goes back; `None` where the batch has no budget.
    pub unspent: Option<Money>,
}

/// Batches.
pub trait Batches: Send + Sync {
    /// Writes a new batch and lists it. `Ok(false)`: there is one with this id; it is left as it is.
    fn create_batch(&self, batch: &BatchRecord) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// A batch.
    fn batch(&self, id: &RunId) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// So many batches, newest first, behind this place in the list, of the last ninety days.
    fn list_batches(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<BatchRecord>, StoreError>> + Send;
    /// Notes the plan, and that the chunks run; whether the batch goes on and is not told to stop. Planning again is no error.
    fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Sets the stop flag; the batch as it then is, if it was there and going on.
    fn stop_batch(&self, id: &RunId) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// Writes the run of a chunk, once, with as much of the batch's budget as it wants and is left; and notes it as open. `None`:
    /// the batch has ended, or was stopped. The run as it is, whoever wrote it.
    fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> impl Future<Output = Result<Option<RunRecord>, StoreError>> + Send;
    /// Closes the run of a chunk, and adds what it came to; once. Whether it was this call that did. An error, where more was
    /// reserved or paid since the run was read: what it gives back would be reserved twice.
    fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Opens a batch that has ended, to be driven anew: it is being planned, in the next generation; the batch as it then is.
    /// `None`: there is none, or it has not ended.
    fn reopen_batch(
        &self,
        id: &RunId,
        now: Millis,
        due: Millis,
    ) -> impl Future<Output = Result<Option<BatchRecord>, StoreError>> + Send;
    /// At most so many batches that go on and are due to be looked at, those first that have been so for longest.
    fn batches_to_check(&self, now: Millis, limit: u32) -> impl Future<Output = Result<Vec<RunId>, StoreError>> + Send;
    /// Puts off the next look at a batch; whether it goes on.
    fn schedule_batch_check(&self, id: &RunId, due: Millis) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Notes what the rows came to that are not driven anew; money stays as it is. Whether the batch is being planned.
    fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Closes the batch; whether it was going on in this generation: what is late of an earlier one closes nothing.
    fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        failure: Option<&Failure>,
        now: Millis,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
