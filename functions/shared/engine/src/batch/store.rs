//! Reads the records and the objects of batches.

use std::sync::Arc;

use bytes::Bytes;
use fresco_api_types::{RowResult, RowStatus};
use fresco_ledger::batch::BatchRecord;
use fresco_ledger::traits::{Batches as _, Objects};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;

use super::objects::{ChunkFile, chunk_key, internal, part_key, request_key};
use super::request::BatchRequest;
use super::row_results::{lines_of, of_row, omitted, results_in};
use crate::platform::Platform;

/// Reads the objects of batches.
pub(crate) struct BatchStore<P> {
    pub(crate) platform: Arc<P>,
}

impl<P: Platform> BatchStore<P> {
    pub(super) async fn record(&self, id: &RunId) -> Result<BatchRecord, Failure> {
        let row = self.platform.ledger().batch(id).await?;
        row.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this batch"))
    }

    pub(super) async fn request(&self, id: &RunId) -> Result<BatchRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(id)).await?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the batch's request is gone"))?;
        serde_json::from_slice(&bytes).map_err(internal)
    }

    pub(super) async fn chunk_file(&self, batch: &RunId, chunk: u32) -> Result<ChunkFile, Failure> {
        let bytes = self.platform.objects().get(&chunk_key(batch, chunk)).await?;
        let gone = || Failure::new(ErrorName::RunNotFound, format!("the rows of chunk {chunk} are gone"));
        serde_json::from_slice(&bytes.ok_or_else(gone)?).map_err(internal)
    }

    /// Returns the results of a chunk; see [`BatchStore::part`].
    pub(super) async fn results_of_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        last: u32,
    ) -> Result<Vec<RowResult>, Failure> {
        results_in(&self.part(batch, chunk, last).await?)
    }

    /// Returns the results of a chunk in the last generation up to `last` in which it ran. The rows of a chunk that
    /// never ran are `not_run`.
    pub(super) async fn part(&self, batch: &RunId, chunk: u32, last: u32) -> Result<Bytes, Failure> {
        for generation in (0..=last).rev() {
            let key = part_key(batch, chunk, generation);
            if let Some(part) = self.platform.objects().get(&key).await? {
                return Ok(part);
            }
        }
        let file = self.chunk_file(batch, chunk).await?;
        let not_run = file.rows.iter().map(|row| of_row(row.number, row.id.clone(), RowStatus::NotRun));
        let mut results: Vec<RowResult> = not_run.chain(file.bad.iter().map(omitted)).collect();
        results.sort_by_key(|result| result.row);
        Ok(Bytes::from(lines_of(&results)?))
    }
}
