//! Starting, showing and listing batches.

use std::collections::BTreeMap;

use fresco_pipeline::batch::{BatchCounts, BatchPlan};
use fresco_pipeline::document::MAX_WORKERS;
use fresco_pipeline::error::Failure;
use fresco_pipeline::rows::Format;
use fresco_pipeline::status::BatchStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most rows of a chunk, whatever the types of its steps.
pub const MAX_CHUNK_SIZE: u32 = 100;
/// The most chunks side by side.
pub const MAX_CONCURRENT_CHUNKS: u32 = 40;
/// The longest pause after a chunk, in seconds.
pub const MAX_RATE_LIMIT_DELAY: u32 = 3_600;

/// The handling of rows that cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// They are omitted, and the results list them with their problems.
    #[default]
    Skip,
    /// The batch is refused.
    Stop,
}

/// A pipeline, the rows to run it over, and the inputs of every row. Exactly one of `rows`, `rows_text`, `rows_upload` and
/// `rows_key` is required.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchBody {
    /// The pipeline document: its text (YAML or JSON), or the document itself as JSON.
    pub pipeline: Option<Value>,
    /// In place of `pipeline`: the upload that holds its text.
    pub pipeline_upload: Option<String>,
    /// The input text of rows that give none.
    pub input: Option<String>,
    /// Values for `{{vars.NAME}}`; those of a row override them.
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
    /// The key of the object in the stack's bucket that holds the rows; under `rows/`.
    pub rows_key: Option<String>,
    /// The format of the rows; by default that of the extension of `rows_key`.
    pub format: Option<Format>,
    /// Rows of a chunk; by default as the slowest type of step allows.
    #[schemars(range(min = 1, max = MAX_CHUNK_SIZE))]
    pub chunk_size: Option<u32>,
    /// Chunks side by side; by default 1.
    #[schemars(range(min = 1, max = MAX_CONCURRENT_CHUNKS))]
    pub max_concurrent_chunks: Option<u32>,
    /// The pause after each chunk, in seconds; by default 1.
    #[schemars(range(max = MAX_RATE_LIMIT_DELAY))]
    pub rate_limit_delay: Option<u32>,
    /// Whether groups run side by side where the document does not say.
    pub parallel: Option<bool>,
    /// Lanes of a chunk side by side, of all its rows together; by default as the pipeline says.
    #[schemars(range(min = 1, max = MAX_WORKERS))]
    pub max_workers: Option<u32>,
    /// The failure tolerance: more failed rows than this stop the batch. A number of rows, or a part of all rows as `"5%"`. Rows
    /// that cannot be run do not count. By default nothing stops it.
    pub tolerate: Option<Value>,
    /// The most that the batch may spend, in micro-dollars.
    #[schemars(range(min = 0))]
    pub max_cost: Option<i64>,
    /// The handling of rows that cannot be run.
    pub on_bad_row: OnBadRow,
}

/// A batch that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchAccepted {
    /// The batch's id.
    pub id: String,
    /// Whether an earlier request with the same `Idempotency-Key` started it.
    pub existing: bool,
    /// A link to the batch, relative to the API.
    #[serde(rename = "self")]
    pub this: String,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchView {
    /// The batch's id.
    pub id: String,
    /// The pipeline's name.
    pub name: String,
    /// The batch's status.
    pub status: BatchStatus,
    /// Whether a stop was requested.
    pub stopping: bool,
    /// When it was requested.
    pub created_at: i64,
    /// When it was requested, or last redriven.
    pub began_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Its plan; absent until it is planned.
    pub plan: Option<BatchPlan>,
    /// Its rows so far, by their results.
    pub counts: BatchCounts,
    /// Chunks that run.
    pub running_chunks: u32,
    /// Rows done or failed in a second, since `began_at`.
    pub rows_per_second: f64,
    /// An estimate of when it ends; absent until a row is done or failed, and after the end.
    pub expected_end: Option<i64>,
    /// The failure of the batch as a whole.
    pub failure: Option<Failure>,
}

/// A page of batches, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchPage {
    /// The batches.
    pub batches: Vec<BatchView>,
    /// The parameter `cursor` of the next page. Absent on the last page.
    pub next: Option<String>,
}

/// Links to the results of a batch that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchResults {
    /// A link to the results: a line of JSON for each row, in the order of the rows.
    pub results: String,
    /// A link to the manifest: totals, percentiles, failures by name.
    pub manifest: String,
    /// When the links expire.
    pub expires_at: i64,
}
