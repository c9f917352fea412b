//! Finalizes a batch: merges the results of its chunks in the order of the rows, as a stream, and closes its record.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fresco_api_types::{BatchFinished, BatchManifest, RowStatus, filenames};
use fresco_ledger::records::ResultSource;
use fresco_ledger::records::{BatchRecord, BatchStatus};
use fresco_ledger::traits::{Batches as _, Clock, EventPublisher, Objects, Upload};
use fresco_pipeline::document::Export;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::Chunks;
use super::objects::{batch_manifest_key, internal, results_key};
use super::row_results::results_in;
use super::store::BatchStore;
use crate::platform::Platform;
use crate::run::export::Exporter;
use crate::settings::Settings;

/// Chunks whose results are read concurrently.
const READ_AT_ONCE: usize = 64;
/// The version of the manifest.
const VERSION: u32 = 1;
/// The detail type of the event that announces the end of a batch; its source is `fresco`.
const BATCH_FINISHED: &str = "Batch Finished";

/// Totals over the results of the rows.
#[derive(Default)]
struct Totals {
    by_status: BTreeMap<String, u64>,
    by_source: BTreeMap<String, u64>,
    by_failure: BTreeMap<String, u64>,
    /// The times of generated rows, in milliseconds.
    took: Vec<i64>,
    done: u64,
    rows: u64,
}

/// Closes batches.
pub struct BatchFinalizer<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Arc<BatchStore<P>>,
    pub(crate) exporter: Arc<Exporter<P>>,
    pub(crate) chunks: Arc<Chunks<P>>,
}

impl<P: Platform> BatchFinalizer<P> {
    /// Finalizes a batch. `cause` is the reason for which its execution ended early. It is idempotent.
    pub async fn finalize(&self, batch: &RunId, cause: Option<Failure>) -> Result<BatchStatus, Failure> {
        self.close(self.store.record(batch).await?, cause).await
    }

    /// Finalizes a batch whose execution of this generation ended without doing so. A late event does not affect a
    /// later generation.
    pub async fn finalize_abandoned(
        &self,
        batch: &RunId,
        generation: u32,
        cause: Failure,
    ) -> Result<BatchStatus, Failure> {
        let record = self.store.record(batch).await?;
        if record.generation != generation {
            return Ok(record.status);
        }
        self.close(record, Some(cause)).await
    }

    async fn close(&self, record: BatchRecord, cause: Option<Failure>) -> Result<BatchStatus, Failure> {
        if record.status.is_final() {
            return Ok(record.status);
        }
        // The execution may have ended while chunks were open.
        let record = if record.open.is_empty() {
            record
        } else {
            let left = cause.clone().unwrap_or_else(|| Failure::new(ErrorName::RunStopped, "the batch ended"));
            self.chunks.close_open(&record, record.generation, &left).await?;
            self.store.record(&record.id).await?
        };
        if record.status.is_final() {
            return Ok(record.status);
        }
        let batch = &record.id;
        let chunks = record.plan.as_ref().map_or(0, |plan| plan.chunks);
        let Some(totals) = self.merge_results(&record, chunks).await? else { return Ok(record.status) };
        let status = status_of(&record, &totals);
        let cause = match status {
            BatchStatus::Succeeded => None,
            // An aborted execution is the way a batch is stopped, not the reason.
            _ => why_stopped(&record).or(cause),
        };
        let (done, failed) = (totals.done, totals.failed());
        let now = self.platform.clock().now();
        let manifest = manifest_of(&record, status, totals, cause.clone(), now);
        let json = serde_json::to_vec_pretty(&manifest).map_err(internal)?;
        let key = batch_manifest_key(batch);
        self.platform.objects().put(&key, Bytes::from(json), "application/json").await?;
        if let Some(export) = record.plan.as_ref().and_then(|plan| Export::parse(plan.export.as_deref()?).ok()) {
            for (from, name) in [(results_key(batch), "results.jsonl"), (key.clone(), filenames::MANIFEST)] {
                if let Err(cause) = self.exporter.export_file(&export, batch, &from, name).await {
                    tracing::warn!(batch.id = %batch, error.name = %cause.name, error.message = cause.message, "{name} not exported");
                }
            }
        }
        let finished = BatchFinished {
            stack: self.settings.stack.clone(),
            batch_id: batch.clone(),
            pipeline: record.name.clone(),
            status,
            done,
            failed,
            cost: record.counts.spent,
            bucket: self.settings.bucket.clone(),
            manifest: key,
        };
        let detail = serde_json::to_string(&finished).map_err(internal)?;
        // Before it is closed, so that it is published at least once: where publishing fails, all of this is retried.
        self.platform.publisher().publish(BATCH_FINISHED, &detail).await?;
        let ledger = self.platform.ledger();
        ledger.close_batch(batch, record.generation, status, cause.as_ref(), now).await?;
        Ok(status)
    }

    /// Merges the results of every chunk into one object. `None`: the batch was redriven meanwhile.
    async fn merge_results(&self, record: &BatchRecord, chunks: u32) -> Result<Option<Totals>, Failure> {
        let (objects, batch) = (self.platform.objects(), &record.id);
        // From an earlier generation or an interrupted call: an upload replaces nothing.
        objects.delete(&[results_key(batch)]).await?;
        let mut upload = objects.upload(&results_key(batch), "application/jsonl").await?;
        let mut totals = Totals::default();
        let mut parts =
            futures::stream::iter((0..chunks).map(|chunk| self.store.part(batch, chunk, record.generation)))
                .buffered(READ_AT_ONCE);
        while let Some(part) = parts.try_next().await? {
            totals.add(&part)?;
            upload.write(part).await?;
        }
        drop(parts);
        if self.store.record(batch).await?.generation != record.generation {
            return Ok(None);
        }
        // Another call has written the same.
        upload.finish().await?;
        Ok(Some(totals))
    }
}

/// The reason for which a batch was stopped, if it was.
fn why_stopped(record: &BatchRecord) -> Option<Failure> {
    let failed = record.counts.failed;
    let tolerated = record.plan.as_ref().and_then(|plan| plan.tolerated).filter(|tolerated| failed > *tolerated);
    let message = match tolerated {
        Some(tolerated) => format!("{failed} rows failed and {tolerated} are tolerated; paid results are kept"),
        None => "the batch was stopped; paid results are kept".to_owned(),
    };
    record.stop.then(|| Failure::new(ErrorName::RunStopped, message))
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

    /// Valid rows without all their results.
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
    fn percentiles_of_the_given_times() {
        let mut totals = Totals::default();
        assert_eq!(totals.percentiles(), None);
        totals.took = vec![7];
        assert_eq!(totals.percentiles(), Some([7; 4]));
        totals.took = (1..=200).rev().collect();
        assert_eq!(totals.percentiles(), Some([100, 180, 198, 200]));
    }
}
