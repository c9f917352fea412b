//! Plans a batch: its rows are read as a stream, checked, priced and cut into chunks. Memory is that of a few chunks,
//! whatever the number of rows; of each row a hash of eight bytes is kept to count duplicates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fresco_ledger::records::{BatchCounts, BatchPlan, BatchRecord};
use fresco_ledger::traits::{Batches as _, Clock, Entries, Objects};
use fresco_pipeline::document::prepare;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::RowReader;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::Chunks;
use super::chunker::{Chunk, Chunker, ListedChunk, PlannedRow};
use super::objects::{chunk_key, internal, results_key, run_of};
use super::row_results::{counts_of, is_left};
use super::store::BatchStore;
use crate::planning::freshness::{Freshness, freshness};
use crate::platform::Platform;
use crate::run::export::Exporter;
use crate::settings::Settings;

/// The bytes of rows that are read at a time.
const PIECE: u64 = 1 << 18;
/// Rows whose chunks are written and looked up together: the limit of one request to the ledger for rows of one step.
const TOGETHER: usize = 100;
/// Writes of so many rows that run concurrently.
const WRITTEN_AT_ONCE: usize = 4;
/// The most bytes of cells in chunks that are being written.
const MOST_WRITTEN: usize = 4 << 20;
/// Chunks that are read concurrently.
const READ_AT_ONCE: usize = 32;

/// The output of the planning, for the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWork {
    /// The bucket of the list.
    pub bucket: String,
    /// The key of the list of chunks: a JSON array of `{run_id, chunk}`.
    pub list: String,
    /// The prefix of the results of the map state.
    pub results: String,
    /// Concurrent chunks.
    pub concurrency: u32,
    /// The pause after each chunk, in seconds.
    pub pause: u32,
}

/// Plans batches.
pub struct BatchPlanner<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Arc<BatchStore<P>>,
    pub(crate) exporter: Arc<Exporter<P>>,
    pub(crate) chunks: Arc<Chunks<P>>,
}

impl<P: Platform> BatchPlanner<P> {
    /// Plans a batch. It is idempotent.
    pub async fn plan(&self, batch: &RunId) -> Result<BatchWork, Failure> {
        let record = self.store.record(batch).await?;
        if record.stop || record.status.is_final() {
            return Err(Failure::new(ErrorName::RunStopped, "the batch was stopped before it was planned"));
        }
        let request = self.store.request(batch).await?;
        if let Some(plan) = record.plan.clone().filter(|_| record.generation > 0) {
            return self.replan(&record, plan).await;
        }
        let document = prepare(&request.run.document)
            .map_err(|problems| Failure::new(ErrorName::DocumentInvalid, problems.to_string()))?;
        let mut chunker = Chunker::new(&request, document, self.settings.webhooks());
        self.cut(batch, &mut chunker).await?;
        self.exporter.require_export(chunker.export())?;
        let (list, plan) = chunker.finished(batch, record.generation)?;
        let key = format!("plans/{batch}/chunks.json");
        self.platform.objects().put(&key, Bytes::from(list), "application/json").await?;
        if !self.platform.ledger().plan_batch(batch, &plan).await? {
            return Err(Failure::new(ErrorName::RunStopped, "the batch ended while it was planned"));
        }
        Ok(self.work_of(batch, key, &plan))
    }

    /// Plans a redrive: only the chunks with rows that may still get a result.
    async fn replan(&self, record: &BatchRecord, plan: BatchPlan) -> Result<BatchWork, Failure> {
        let (batch, generation) = (&record.id, record.generation);
        // The chunks that earlier executions left open.
        let cause = Failure::new(ErrorName::RunStopped, "the batch is redriven");
        for earlier in 0..generation {
            self.chunks.close_open(record, earlier, &cause).await?;
        }
        let mut again = Vec::new();
        let mut kept = BatchCounts::default();
        let chunks = stream::iter((0..plan.chunks).map(|chunk| async move {
            Ok::<_, Failure>((chunk, self.store.results_of_chunk(batch, chunk, generation.saturating_sub(1)).await?))
        }));
        let mut chunks = chunks.buffered(READ_AT_ONCE);
        while let Some((chunk, results)) = chunks.try_next().await? {
            if results.iter().any(is_left) {
                again.push(ListedChunk { run_id: run_of(batch, chunk, generation)?, chunk });
                continue;
            }
            let counts = counts_of(&results);
            kept.chunks += 1;
            kept.done += counts.done;
            kept.failed += counts.failed;
            kept.bad += counts.bad;
            kept.hits += counts.hits;
        }
        drop(chunks);
        // The merged results are out of date.
        self.platform.objects().delete(&[results_key(batch)]).await?;
        self.platform.ledger().recount_batch(batch, &kept).await?;
        let key = format!("plans/{batch}/chunks-{generation}.json");
        let list = serde_json::to_vec(&again).map_err(internal)?;
        self.platform.objects().put(&key, Bytes::from(list), "application/json").await?;
        if !self.platform.ledger().plan_batch(batch, &plan).await? {
            return Err(Failure::new(ErrorName::RunStopped, "the batch ended while it was planned"));
        }
        Ok(self.work_of(batch, key, &plan))
    }

    fn work_of(&self, batch: &RunId, list: String, plan: &BatchPlan) -> BatchWork {
        BatchWork {
            bucket: self.settings.bucket.clone(),
            list,
            results: format!("plans/{batch}/map"),
            concurrency: plan.max_concurrent_chunks,
            pause: plan.pause_seconds,
        }
    }

    /// Reads the rows and writes the chunks.
    async fn cut(&self, batch: &RunId, chunker: &mut Chunker<'_>) -> Result<(), Failure> {
        let unreadable = |error: fresco_pipeline::rows::RowsError| {
            Failure::new(ErrorName::InputInvalid, format!("{}: {}. {}", error.code, error.message, error.advice))
        };
        let request = chunker.request;
        let mut rows = RowReader::new(request.format);
        let mut writing = FuturesUnordered::new();
        let (mut together, mut under_way) = (Vec::new(), 0);
        let (mut from, mut tag) = (0, request.tag.clone());
        loop {
            let piece = self.platform.objects().get_range(&request.rows, tag.as_deref(), from, PIECE).await;
            let Some((bytes, found)) = piece? else {
                let message = format!("{} is gone, or became another while it was read", request.rows);
                return Err(Failure::new(ErrorName::InputInvalid, message));
            };
            let mut read = Vec::new();
            if bytes.is_empty() {
                let rows = std::mem::replace(&mut rows, RowReader::new(request.format));
                chunker.note_skipped(rows.finish(&mut |row| read.push(row)).map_err(unreadable)?);
            } else {
                rows.feed(&bytes, &mut |row| read.push(row)).map_err(unreadable)?;
                chunker.note_columns(rows.columns());
            }
            for row in read {
                let Some(chunk) = chunker.accept(row)? else { continue };
                under_way += chunk.held();
                together.push(chunk);
                if together.iter().map(|chunk: &Chunk| chunk.rows.len()).sum::<usize>() < TOGETHER
                    && under_way <= MOST_WRITTEN
                {
                    continue;
                }
                writing.push(self.write_chunks(batch, std::mem::take(&mut together)));
                while writing.len() >= WRITTEN_AT_ONCE || under_way > MOST_WRITTEN {
                    let Some((held, priced)) = writing.try_next().await? else { break };
                    under_way -= held;
                    chunker.priced(priced);
                }
            }
            if bytes.is_empty() {
                break;
            }
            from += bytes.len() as u64;
            tag = Some(found);
        }
        together.extend(chunker.rest()?);
        writing.push(self.write_chunks(batch, together));
        while let Some((_, priced)) = writing.try_next().await? {
            chunker.priced(priced);
        }
        Ok(())
    }

    /// Writes chunks. Returns their bytes, the number of rows that begin with a hit, and the upper-bound price of the
    /// others.
    async fn write_chunks(&self, batch: &RunId, chunks: Vec<Chunk>) -> Result<(usize, (u64, Money)), Failure> {
        let objects = self.platform.objects();
        let mut files = Vec::with_capacity(chunks.len());
        for Chunk { number, file, .. } in &chunks {
            files.push((chunk_key(batch, *number), serde_json::to_vec(file).map_err(internal)?));
        }
        let puts: Vec<_> = files
            .into_iter()
            .map(|(key, json)| async move { objects.put(&key, Bytes::from(json), "application/json").await })
            .collect();
        let put = async {
            let puts = stream::iter(puts).buffer_unordered(TOGETHER);
            Ok::<_, Failure>(puts.try_collect::<()>().await?)
        };
        let (_, priced) = futures::try_join!(put, self.price(batch, &chunks))?;
        Ok((chunks.iter().map(Chunk::held).sum(), priced))
    }

    /// Returns the number of rows that begin with a hit, and the upper-bound price of the others. The keys of first
    /// steps are known; later steps are looked up when the chunk is planned.
    async fn price(&self, batch: &RunId, chunks: &[Chunk]) -> Result<(u64, Money), Failure> {
        let mut firsts: BTreeMap<ContentKey, Money> = BTreeMap::new();
        let (mut of_rows, mut price) = (Vec::new(), Money::ZERO);
        for Chunk { number, rows, .. } in chunks {
            let run = run_of(batch, *number, 0)?;
            for PlannedRow { plan, duplicate, .. } in rows {
                let mut keys = BTreeSet::new();
                for step in &plan.steps {
                    price = if *duplicate { price } else { price + step.price };
                    if step.reads().is_empty()
                        && step.cache == Default::default()
                        && !step.uncacheable
                        && let Ok(Some(ready)) = step.resolve(&run, &BTreeMap::new())
                    {
                        firsts.insert(ready.key.clone(), ready.price);
                        keys.insert(ready.key);
                    }
                }
                of_rows.push((keys, *duplicate));
            }
        }
        let keys: Vec<ContentKey> = firsts.keys().cloned().collect();
        let looked = self.platform.ledger().entries(&keys).await?;
        let (life, now) = (self.settings.object_life(), self.platform.clock().now());
        let there = looked.entries.into_iter().filter(|entry| {
            let created = entry.whole_result().map(|result| result.created_at);
            created.is_some_and(|created| freshness(life, created, now, 0) != Freshness::Expired)
        });
        let there: BTreeSet<ContentKey> = there.map(|entry| entry.key).collect();
        let mut hits = 0;
        for (keys, duplicate) in &of_rows {
            hits += u64::from(!keys.is_empty() && keys.is_subset(&there));
            let paid = keys.intersection(&there).filter(|_| !duplicate).filter_map(|key| firsts.get(key));
            price = paid.fold(price, |price, paid| price - *paid);
        }
        Ok((hits, price))
    }
}
