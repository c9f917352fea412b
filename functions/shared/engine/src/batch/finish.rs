//! A batch's end: what the chunks came to is put together in the order of the rows, as a stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_ledger::records::{BatchRecord, BatchStatus, ResultSource};
use fresco_ledger::traits::{Batches, Clock, EventPublisher, Objects, Upload};
use fresco_pipeline::document::Export;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::chunk::{left_out, lines_of, of_row};
use super::wire::{BatchManifest, RowResult, RowStatus};
use super::{batch_manifest_key, part_key, results_key};
use crate::Engine;
use crate::names;
use crate::platform::Platform;
use crate::transact::failure;

/// How many chunks' results are read side by side.
const READ_AT_ONCE: usize = 64;
/// The manifest's format.
const VERSION: u32 = 1;
/// The kind of the event that tells of a batch's end; its source is `fresco`.
const BATCH_FINISHED: &str = "Batch Finished";

/// What the event [`BATCH_FINISHED`] says, its `detail`. It is told at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFinished {
    /// The batch.
    pub batch_id: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// How it ended.
    pub status: BatchStatus,
    /// Rows that have all their results.
    pub done: u64,
    /// Rows that have not, though they could be run.
    pub failed: u64,
    /// What was paid, in micro-dollars.
    pub cost: Money,
    /// The stack's bucket.
    pub bucket: String,
    /// The key of the batch's manifest.
    pub manifest: String,
}

/// What is counted while the results go by.
#[derive(Default)]
struct Totals {
    by_status: BTreeMap<String, u64>,
    by_source: BTreeMap<String, u64>,
    by_failure: BTreeMap<String, u64>,
    /// Of generated rows, in milliseconds.
    took: Vec<i64>,
    done: u64,
    rows: u64,
}

impl<P: Platform> Engine<P> {
    /// Closes a batch. `cause` is why its execution ended, where it did not end by itself. It may be called more than once.
    pub async fn finalize_batch(&self, batch: &RunId, cause: Option<Failure>) -> Result<BatchStatus, Failure> {
        self.finish(self.batch_row(batch).await?, cause).await
    }

    /// Closes a batch whose execution of this generation ended without it. What comes late, when the batch was driven anew, is
    /// nothing that the new execution is to suffer from.
    pub async fn finish_left_batch(
        &self,
        batch: &RunId,
        generation: u32,
        cause: Failure,
    ) -> Result<BatchStatus, Failure> {
        let record = self.batch_row(batch).await?;
        if record.generation != generation {
            return Ok(record.status);
        }
        self.finish(record, Some(cause)).await
    }

    async fn finish(&self, record: BatchRecord, cause: Option<Failure>) -> Result<BatchStatus, Failure> {
        if record.status.is_final() {
            return Ok(record.status);
        }
        // Its execution may have ended under its chunks.
        let record = if record.open.is_empty() {
            record
        } else {
            let left = cause.clone().unwrap_or_else(|| Failure::new(ErrorName::RunStopped, "the batch ended"));
            self.close_open_chunks(&record, record.generation, &left).await?;
            self.batch_row(&record.id).await?
        };
        if record.status.is_final() {
            return Ok(record.status);
        }
        let batch = &record.id;
        let chunks = record.plan.as_ref().map_or(0, |plan| plan.chunks);
        let Some(totals) = self.put_together(&record, chunks).await? else { return Ok(record.status) };
        let status = status_of(&record, &totals);
        let cause = match status {
            BatchStatus::Succeeded => None,
            // That its execution was aborted is how it was stopped, not why.
            _ => why_stopped(&record).or(cause),
        };
        let (done, failed) = (totals.done, totals.failed());
        let now = self.platform.clock().now();
        let manifest = manifest_of(&record, status, totals, cause.clone(), now);
        let json = serde_json::to_vec_pretty(&manifest).map_err(super::internal)?;
        let key = batch_manifest_key(batch);
        self.platform.objects().put(&key, Bytes::from(json), "application/json").await.map_err(failure)?;
        if let Some(export) = record.plan.as_ref().and_then(|plan| Export::parse(plan.export.as_deref()?).ok()) {
            for (from, name) in [(results_key(batch), "results.jsonl"), (key.clone(), names::MANIFEST)] {
                if let Err(cause) = self.export_file(&export, batch, &from, name).await {
                    tracing::warn!(batch.id = %batch, error.name = %cause.name, error.message = cause.message, "{name} not exported");
                }
            }
        }
        let finished = BatchFinished {
            batch_id: batch.clone(),
            pipeline: record.name.clone(),
            status,
            done,
            failed,
            cost: record.counts.spent,
            bucket: self.settings.bucket.clone(),
            manifest: key,
        };
        let detail = serde_json::to_string(&finished).map_err(super::internal)?;
        // Before it is closed, so that it is told at least once: where it cannot be told, all of this is tried again.
        self.platform.publisher().publish(BATCH_FINISHED, &detail).await.map_err(failure)?;
        let ledger = self.platform.ledger();
        ledger.close_batch(batch, record.generation, status, cause.as_ref(), now).await.map_err(failure)?;
        Ok(status)
    }

    /// Writes the results of every chunk one behind the other. `None`: the batch was driven anew meanwhile.
    async fn put_together(&self, record: &BatchRecord, chunks: u32) -> Result<Option<Totals>, Failure> {
        let (objects, batch) = (self.platform.objects(), &record.id);
        // Of an earlier generation, or of a call that did not come to the end: an upload replaces nothing.
        objects.delete(&[results_key(batch)]).await.map_err(failure)?;
        let mut upload = objects.upload(&results_key(batch), "application/jsonl").await.map_err(failure)?;
        let mut totals = Totals::default();
        let mut parts = futures::stream::iter((0..chunks).map(|chunk| self.part(batch, chunk, record.generation)))
            .buffered(READ_AT_ONCE);
        while let Some(part) = parts.try_next().await? {
            totals.add(&part)?;
            upload.write(part).await.map_err(failure)?;
        }
        drop(parts);
        if self.batch_row(batch).await?.generation != record.generation {
            return Ok(None);
        }
        // What another call has written meanwhile is the same.
        upload.finish().await.map_err(failure)?;
        Ok(Some(totals))
    }

    /// The same, read.
    pub(super) async fn results_of_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        last: u32,
    ) -> Result<Vec<RowResult>, Failure> {
        results_in(&self.part(batch, chunk, last).await?)
    }

    /// What a chunk came to in the last generation, up to this one, in which it ran; rows of one that never was begun are said to
    /// be so.
    async fn part(&self, batch: &RunId, chunk: u32, last: u32) -> Result<Bytes, Failure> {
        for generation in (0..=last).rev() {
            let key = part_key(batch, chunk, generation);
            if let Some(part) = self.platform.objects().get(&key).await.map_err(failure)? {
                return Ok(part);
            }
        }
        let file = self.chunk_file(batch, chunk).await?;
        let not_run = file.rows.iter().map(|row| of_row(row.number, row.id.clone(), RowStatus::NotRun));
        let mut results: Vec<RowResult> = not_run.chain(file.bad.iter().map(left_out)).collect();
        results.sort_by_key(|result| result.row);
        Ok(Bytes::from(lines_of(&results)?))
    }
}

/// Why a batch was stopped, if it was.
fn why_stopped(record: &BatchRecord) -> Option<Failure> {
    let failed = record.counts.failed;
    let borne = record.plan.as_ref().and_then(|plan| plan.tolerated).filter(|borne| failed > *borne);
    let message = match borne {
        Some(borne) => format!("{failed} rows failed, and {borne} were to be borne; what is paid is kept"),
        None => "the batch was stopped; what is paid is kept".to_owned(),
    };
    record.stop.then(|| Failure::new(ErrorName::RunStopped, message))
}

fn results_in(part: &[u8]) -> Result<Vec<RowResult>, Failure> {
    let lines = part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(super::internal)).collect()
}

fn word<T: Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Totals {
    fn add(&mut self, part: &[u8]) -> Result<(), Failure> {
        for result in results_in(part)? {
            self.rows += 1;
            *self.by_status.entry(word(result.status)).or_default() += 1;
            if result.status == RowStatus::Done {
                self.done += 1;
                *self.by_source.entry(word(result.source.unwrap_or(ResultSource::Hit))).or_default() += 1;
                self.took.extend(result.took_ms.filter(|_| result.source == Some(ResultSource::Generated)));
            }
            if let Some(failure) = result.failure {
                *self.by_failure.entry(failure.name).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Rows that could be run and have not all their results.
    fn failed(&self) -> u64 {
        let bad = self.by_status.get(&word(RowStatus::Bad)).copied().unwrap_or(0);
        self.rows - self.done - bad
    }

    fn percentiles(&mut self) -> Option<[i64; 4]> {
        self.took.sort_unstable();
        let of = |part: usize| self.took.get((self.took.len() * part).div_ceil(100).saturating_sub(1)).copied();
        Some([of(50)?, of(90)?, of(99)?, of(100)?])
    }
}

fn status_of(record: &BatchRecord, totals: &Totals) -> BatchStatus {
    if totals.rows > 0 && totals.done == totals.rows {
        BatchStatus::Succeeded
    } else if record.stop {
        BatchStatus::Stopped
    } else if totals.done > 0 {
        BatchStatus::Partial
    } else {
        BatchStatus::Failed
    }
}

fn manifest_of(
    record: &BatchRecord,
    status: BatchStatus,
    mut totals: Totals,
    failure: Option<Failure>,
    now: i64,
) -> BatchManifest {
    BatchManifest {
        version: VERSION,
        batch_id: record.id.to_string(),
        name: record.name.clone(),
        status,
        created_at: record.created_at,
        ended_at: now,
        rows: totals.rows,
        took_ms: totals.percentiles(),
        by_status: totals.by_status,
        by_source: totals.by_source,
        by_failure: totals.by_failure,
        spent: record.counts.spent.as_micros(),
        saved: record.counts.saved.as_micros(),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_what_there_is() {
        let mut totals = Totals::default();
        assert_eq!(totals.percentiles(), None);
        totals.took = vec![7];
        assert_eq!(totals.percentiles(), Some([7; 4]));
        totals.took = (1..=200).rev().collect();
        assert_eq!(totals.percentiles(), Some([100, 180, 198, 200]));
    }
}
