//! Reads the records and the objects of batches.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use fresco_api_types::{RowResult, RowStatus};
use fresco_ledger::records::{BatchRecord, ChunkRef, ResultSource, StepRecord};
use fresco_ledger::traits::{Batches as _, Entries as _, Objects, Runs as _};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::money::Money;

use super::objects::{ChunkFile, chunk_key, internal, part_key, request_key, run_of};
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

    /// Returns what earlier runs of a chunk paid for results that came after their ends, by row: the steps find these in
    /// the cache, and no result of a row says yet what they cost.
    pub(super) async fn paid_late(
        &self,
        chunk: &ChunkRef,
        generation: u32,
        steps: &[StepRecord],
    ) -> Result<BTreeMap<u64, Money>, Failure> {
        let ledger = self.platform.ledger();
        let (mut runs, mut counted) = (HashSet::new(), HashSet::new());
        for earlier in 0..generation {
            let run = run_of(&chunk.batch, chunk.number, earlier)?;
            counted.extend(ledger.steps(&run).await?.iter().filter_map(generated_by));
            runs.insert(run);
        }
        let mut late = BTreeMap::new();
        for step in steps.iter().filter(|step| step.source != Some(ResultSource::Generated)) {
            let (Some(row), Some(ready), Some(by)) = (step.plan.row, &step.pinned, generated_by(step)) else {
                continue;
            };
            if counted.contains(&by) {
                continue;
            }
            let attempt = ledger.attempt(&by.0, by.1).await?;
            if attempt.is_some_and(|attempt| runs.contains(&attempt.hold.run)) {
                *late.entry(row).or_insert(Money::ZERO) += ready.cost;
                // Of the rows that share it, the first has paid.
                counted.insert(by);
            }
        }
        Ok(late)
    }
}

/// The attempt that generated the result of a step.
fn generated_by(step: &StepRecord) -> Option<(ContentKey, Attempt)> {
    Some((step.key.clone()?, step.pinned.as_ref()?.attempt))
}
