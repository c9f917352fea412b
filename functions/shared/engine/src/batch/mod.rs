//! Batches: one pipeline over many rows. Planning cuts them into chunks, each chunk is a run, and what the rows came to is
//! put together in their order.

mod begin;
mod chunk;
mod cutting;
mod drive;
mod finish;
mod plan;
pub(crate) mod wire;

use fresco_ledger::records::{BatchRecord, Millis};
use fresco_ledger::traits::{Batches, Clock, ListPosition, Objects};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::rows::{Format, Row, RowProblem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Engine;
use crate::platform::Platform;
use crate::start::RunRequest;
use crate::transact::failure;
use wire::{BatchResults, BatchView, OnBadRow};

pub use finish::BatchFinished;
pub use plan::BatchWork;

/// Where rows lie that batches name by key.
pub const ROWS: &str = "rows/";
/// The most rows of a chunk, whatever the types of its steps.
const MAX_CHUNK: u32 = 100;
/// The most chunks side by side.
const MAX_CHUNKS_AT_ONCE: u32 = 40;
/// The longest pause behind a chunk, in seconds.
const MAX_PAUSE: u32 = 3_600;
/// How often it is looked at whether a batch's execution goes on. One that was recorded is started well within it.
const LOOK_EVERY: Millis = 300_000;

/// What a batch was asked to do. It is kept as `batches/<id>/request.json`.
#[derive(Clone, Serialize, Deserialize)]
struct BatchRequest {
    /// What is given with every row.
    run: RunRequest,
    /// The key of the object that holds the rows.
    rows: String,
    /// The entity tag that the object has to have, where it was known when the batch was asked for.
    #[serde(default)]
    tag: Option<String>,
    /// How they are written.
    format: Format,
    chunk_size: Option<u32>,
    at_once: u32,
    pause: u32,
    workers: Option<u32>,
    tolerate: Option<Tolerance>,
    on_bad_row: OnBadRow,
    /// The prefix under which media are looked for that rows name; only where the rows lie in the bucket.
    #[serde(default)]
    beside: Option<String>,
    /// In how many seconds the next batch of the same schedule is due.
    #[serde(default)]
    period: Option<u64>,
}

/// Rows that lie in the bucket.
pub(crate) struct RowsFrom<'k> {
    /// The key of the object.
    pub(crate) key: &'k str,
    /// Its entity tag, where it has to be just this one.
    pub(crate) tag: Option<&'k str>,
    /// How they are written.
    pub(crate) format: Format,
    /// The prefix under which names of media are looked for.
    pub(crate) beside: &'k str,
    /// In how many seconds the next batch of the same schedule is due.
    pub(crate) period: Option<u64>,
}

/// How many failed rows are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tolerance {
    Rows(u64),
    Percent(u32),
}

impl Tolerance {
    /// Reads `12` or `"5%"`.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Tolerance::Rows),
            Value::String(text) => {
                let percent = text.trim().strip_suffix('%')?.trim().parse().ok()?;
                (percent <= 100).then_some(Tolerance::Percent(percent))
            }
            _ => None,
        }
    }

    /// How many of so many rows may fail.
    fn of(self, rows: u64) -> u64 {
        match self {
            Tolerance::Rows(rows) => rows,
            Tolerance::Percent(percent) => rows.saturating_mul(u64::from(percent)) / 100,
        }
    }
}

/// `batches/<batch>/chunks/<n>.json`: the rows of a chunk, and those that were left out of it. It lives as long as the batch,
/// which may be driven anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ChunkFile {
    rows: Vec<Row>,
    bad: Vec<RowProblem>,
    /// Of those of `rows` that the chunk's planning left out, as what they name could not be read: it may be there next time.
    #[serde(default)]
    unread: Vec<RowProblem>,
}

fn request_key(batch: &RunId) -> String {
    format!("batches/{batch}/request.json")
}

fn chunk_key(batch: &RunId, chunk: u32) -> String {
    format!("batches/{batch}/chunks/{chunk}.json")
}

/// What a chunk came to, one object for each generation in which it ran: a call that is repeated reads what was before it, and
/// never what it has written itself.
fn part_key(batch: &RunId, chunk: u32, generation: u32) -> String {
    format!("batches/{batch}/parts/{chunk}{}.jsonl", suffix(generation))
}

fn suffix(generation: u32) -> String {
    if generation == 0 { String::new() } else { format!("-{generation}") }
}

fn results_key(batch: &RunId) -> String {
    format!("batches/{batch}/results.jsonl")
}

/// Where a batch's manifest is kept.
pub fn batch_manifest_key(batch: &RunId) -> String {
    format!("batches/{batch}/manifest.json")
}

/// The run of a chunk, anew in each generation.
fn run_of(batch: &RunId, chunk: u32, generation: u32) -> Result<RunId, Failure> {
    RunId::parse(format!("{batch}-{chunk}{}", suffix(generation)))
        .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
}

/// The generation that a chunk's run belongs to; 0 for what is no such run.
fn generation_of(run: &RunId, batch: &RunId, chunk: u32) -> u32 {
    let behind = run.as_str().strip_prefix(&format!("{batch}-{chunk}-"));
    behind.and_then(|generation| generation.parse().ok()).unwrap_or(0)
}

impl<P: Platform> Engine<P> {
    /// A batch as it is.
    pub async fn batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        Ok(self.view_of(self.batch_row(id).await?))
    }

    /// So many batches, newest first, behind this place; without the problems of their rows.
    pub async fn batches(&self, limit: u32, behind: Option<&ListPosition>) -> Result<Vec<BatchView>, Failure> {
        let now = self.platform.clock().now();
        let rows = self.platform.ledger().list_batches(limit, behind, now).await.map_err(failure)?;
        let mut views: Vec<BatchView> = rows.into_iter().map(|row| self.view_of(row)).collect();
        // Each has up to a hundred, and a list many batches.
        views.iter_mut().filter_map(|view| view.plan.as_mut()).for_each(|plan| plan.problems.clear());
        Ok(views)
    }

    /// Links to the results of a batch that has ended.
    pub async fn batch_results(&self, id: &RunId) -> Result<BatchResults, Failure> {
        let row = self.batch_row(id).await?;
        if !row.status.is_final() {
            return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; its results are there at its end"));
        }
        let (objects, seconds) = (self.platform.objects(), self.settings.link_life().as_secs());
        Ok(BatchResults {
            results: objects.presign_get(&results_key(id), seconds).await.map_err(failure)?,
            manifest: objects.presign_get(&batch_manifest_key(id), seconds).await.map_err(failure)?,
            expires_at: self.platform.clock().now() + i64::try_from(seconds).unwrap_or(0) * 1_000,
        })
    }

    async fn batch_row(&self, id: &RunId) -> Result<BatchRecord, Failure> {
        let row = self.platform.ledger().batch(id).await.map_err(failure)?;
        row.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this batch"))
    }

    async fn batch_request(&self, id: &RunId) -> Result<BatchRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(id)).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the batch's request is gone"))?;
        serde_json::from_slice(&bytes).map_err(internal)
    }

    fn view_of(&self, row: BatchRecord) -> BatchView {
        let until = row.ended_at.unwrap_or_else(|| self.platform.clock().now());
        let took = (until - row.began_at).max(1);
        let decided = row.counts.done + row.counts.failed + row.counts.bad;
        let rows = row.plan.as_ref().map_or(0, |plan| plan.rows);
        let left = i64::try_from(rows.saturating_sub(decided)).unwrap_or(i64::MAX);
        // Of those that were decided before it was driven anew nothing can be told about how long the others take.
        let decided = decided.saturating_sub(row.kept);
        let per_row = i64::try_from(decided).ok().filter(|decided| *decided > 0).map(|decided| took / decided);
        BatchView {
            id: row.id.to_string(),
            name: row.name,
            status: row.status,
            stopping: row.stop,
            created_at: row.created_at,
            began_at: row.began_at,
            ended_at: row.ended_at,
            counts: row.counts,
            running_chunks: if row.status.is_final() { 0 } else { u32::try_from(row.open.len()).unwrap_or(u32::MAX) },
            rows_per_second: decided as f64 * 1_000.0 / took as f64,
            expected_end: per_row.filter(|_| row.ended_at.is_none()).map(|each| until + each.saturating_mul(left)),
            plan: row.plan,
            failure: row.failure,
        }
    }
}

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ErrorName::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start::Once;

    #[test]
    fn what_is_borne_is_a_number_or_a_part() {
        for (given, of_200) in [("12", Some(12)), ("0", Some(0)), ("\"5%\"", Some(10)), ("\"100 %\"", Some(200))] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(Tolerance::read(&value).map(|tolerance| tolerance.of(200)), of_200, "{given}");
        }
        for bad in ["-1", "1.5", "\"5\"", "\"101%\"", "true", "[1]"] {
            assert_eq!(Tolerance::read(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn a_chunk_of_any_batch_has_a_run() {
        let batch = Once { key: "k".to_owned(), asked: String::new() }.run().unwrap();
        assert!(run_of(&batch, 1_000_000, 99).is_ok());
        for generation in [0, 1, 12] {
            assert_eq!(generation_of(&run_of(&batch, 7, generation).unwrap(), &batch, 7), generation);
        }
        assert_ne!(part_key(&batch, 1, 2), part_key(&batch, 12, 0));
    }
}
