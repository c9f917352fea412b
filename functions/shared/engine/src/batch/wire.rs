//! What goes over the wire about batches. Money is in micro-dollars, times are milliseconds since the Unix epoch.

use std::collections::BTreeMap;

use fresco_ledger::records::{BatchCounts, BatchPlan, BatchStatus};
use fresco_pipeline::document::MAX_WORKERS;
use fresco_pipeline::error::Failure;
use fresco_pipeline::rows::Format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_CHUNK, MAX_CHUNKS_AT_ONCE, MAX_PAUSE};

/// What happens to rows that cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// They are left out, and stand in the results with their problems.
    #[default]
    Skip,
    /// The batch is refused.
    Stop,
}

/// A pipeline and the rows to run it over, and what is given with them. Exactly one of `rows`, `rows_text`, `rows_upload` and
/// `rows_key` is needed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchBody {
    /// The pipeline document: its text (YAML or JSON), or the document itself as JSON.
    pub pipeline: Option<Value>,
    /// In place of `pipeline`: the upload that holds its text.
    pub pipeline_upload: Option<String>,
    /// The input text of rows that give none.
    pub input: Option<String>,
    /// Values for `{{vars.NAME}}`; those of a row go before them.
    pub vars: BTreeMap<String, String>,
    /// Values for `{{env.NAME}}`.
    pub env: BTreeMap<String, String>,
    /// Media that the document names, by that name: the ids of uploads.
    pub media: BTreeMap<String, String>,
    /// The rows: each an object with `id`, `input`, `vars` (or further keys, which are vars), or an input text.
    pub rows: Option<Vec<Value>>,
    /// The rows as a file's text.
    pub rows_text: Option<String>,
    /// The upload that holds the rows.
    pub rows_upload: Option<String>,
    /// The key of the object in the stack's bucket that holds the rows; beneath `rows/`.
    pub rows_key: Option<String>,
    /// How the rows are written; by the ending of `rows_key` where nothing is said.
    pub format: Option<Format>,
    /// Rows of a chunk; by the slowest type of step where nothing is said.
    #[schemars(range(min = 1, max = MAX_CHUNK))]
    pub chunk_size: Option<u32>,
    /// Chunks side by side; 1 where nothing is said.
    #[schemars(range(min = 1, max = MAX_CHUNKS_AT_ONCE))]
    pub max_concurrent_chunks: Option<u32>,
    /// The pause behind each chunk, in seconds; 1 where nothing is said.
    #[schemars(range(max = MAX_PAUSE))]
    pub rate_limit_delay: Option<u32>,
    /// Whether groups run side by side where the document does not say.
    pub parallel: Option<bool>,
    /// Lanes of a chunk side by side, of all its rows together; as the pipeline says where nothing is said.
    #[schemars(range(min = 1, max = MAX_WORKERS))]
    pub max_workers: Option<u32>,
    /// More failed rows than this stop the batch, those that cannot be run not counted: a number, or a part of all rows as `"5%"`. Nothing stops it where nothing is said.
    pub tolerate: Option<Value>,
    /// The most that the batch may spend, in micro-dollars.
    #[schemars(range(min = 0))]
    pub max_cost: Option<i64>,
    /// What happens to rows that cannot be run.
    pub on_bad_row: OnBadRow,
}

/// A batch that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchAccepted {
    /// Its id.
    pub id: String,
    /// Whether it had been begun before under this idempotency key.
    pub existing: bool,
    /// Where it is found, relative to the API.
    #[serde(rename = "self")]
    pub this: String,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchView {
    /// Its id.
    pub id: String,
    /// The pipeline's name.
    pub name: String,
    /// Where it is.
    pub status: BatchStatus,
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// When it was asked for.
    pub created_at: i64,
    /// When it was asked for, or driven anew.
    pub began_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// What its planning came to; absent before.
    pub plan: Option<BatchPlan>,
    /// What has become of its rows.
    pub counts: BatchCounts,
    /// Chunks that run.
    pub running_chunks: u32,
    /// Rows decided in a second, since the batch was asked for, or driven anew.
    pub rows_per_second: f64,
    /// About when it will have ended; absent before anything is decided, and at its end.
    pub expected_end: Option<i64>,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
}

/// Batches, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchPage {
    /// The batches.
    pub batches: Vec<BatchView>,
    /// Where the next page begins: the parameter `cursor`. Absent on the last page.
    pub next: Option<String>,
}

/// The results of a batch that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchResults {
    /// A link to the results: a line of JSON for each row, in the order of the rows.
    pub results: String,
    /// A link to the manifest: totals, percentiles, failures by name.
    pub manifest: String,
    /// When the links end.
    pub expires_at: i64,
}

/// What a row came to: a line of `batches/<id>/results.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowResult {
    /// The row's number, from 1.
    pub row: u64,
    /// Its id, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What became of it.
    pub status: RowStatus,
    /// Where its results came from: `generated` if any was, else `joined`, else `hit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<fresco_ledger::records::ResultSource>,
    /// From its first step's beginning to its last one's end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// What was paid for it.
    pub cost: i64,
    /// What its steps made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RowOutput>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RowFailure>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// It has all its results.
    Done,
    /// A step of it failed.
    Failed,
    /// It could not be run, and was left out.
    Bad,
    /// The batch ended before it was begun.
    NotRun,
}

/// Why a row failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowFailure {
    /// A stable name; of a bad row a stable code.
    pub name: String,
    /// What happened.
    pub message: String,
}

/// An output of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowOutput {
    /// The step that made it.
    pub step: String,
    /// Its key in the stack's bucket.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// Its length.
    pub bytes: u64,
    /// The hash of its content.
    pub sha256: String,
}

/// `batches/<id>/manifest.json`: what a batch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchManifest {
    /// The format.
    pub version: u32,
    /// The batch.
    pub batch_id: String,
    /// The pipeline's name.
    pub name: String,
    /// How it ended.
    pub status: BatchStatus,
    /// When it was asked for.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: i64,
    /// Its rows.
    pub rows: u64,
    /// Rows by what became of them.
    pub by_status: BTreeMap<String, u64>,
    /// Rows with all their results, by where those came from.
    pub by_source: BTreeMap<String, u64>,
    /// Rows that failed, by why.
    pub by_failure: BTreeMap<String, u64>,
    /// What was paid.
    pub spent: i64,
    /// What the results that were not paid for cost when they were made.
    pub saved: i64,
    /// How long generated rows took, in milliseconds: the 50th, 90th and 99th of a hundred, and the longest. Absent where
    /// none was.
    pub took_ms: Option<[i64; 4]>,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
}
