//! The results of a batch: `batches/<id>/results.jsonl`, a line a row, and `batches/<id>/manifest.json`.

use std::collections::BTreeMap;

use fresco_pipeline::error::Failure;
use fresco_pipeline::status::{BatchStatus, ResultSource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of a row: a line of `batches/<id>/results.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowResult {
    /// The row's number, from 1.
    pub row: u64,
    /// The row's id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The row's status.
    pub status: RowStatus,
    /// The source of its results: `generated` if any was, else `joined`, else `hit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ResultSource>,
    /// From its first step's start to its last one's end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// The amount paid for it.
    pub cost: i64,
    /// The outputs of its steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RowOutput>,
    /// What the outputs of its steps lack of what was asked for, in words, by step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shortfalls: BTreeMap<String, String>,
    /// Its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RowFailure>,
}

/// The status of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// It has all its results.
    Done,
    /// A step of it failed.
    Failed,
    /// It could not be run, and was omitted.
    Bad,
    /// The batch ended before the row started.
    NotRun,
}

/// The failure of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowFailure {
    /// The stable name of a failure; of a bad row the stable code of its problem.
    pub name: String,
    /// A description of this occurrence.
    pub message: String,
}

/// An output of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowOutput {
    /// The step that generated it.
    pub step: String,
    /// Its key in the stack's bucket.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in lower-case hex.
    pub sha256: String,
}

/// The totals of a batch: `batches/<id>/manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchManifest {
    /// The format.
    pub version: u32,
    /// The batch.
    pub batch_id: String,
    /// The pipeline's name.
    pub name: String,
    /// The batch's status.
    pub status: BatchStatus,
    /// When it was requested.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: i64,
    /// Its rows.
    pub rows: u64,
    /// Rows by status.
    pub by_status: BTreeMap<String, u64>,
    /// Rows with all their results, by the source of the results.
    pub by_source: BTreeMap<String, u64>,
    /// Failed rows by the name of the failure.
    pub by_failure: BTreeMap<String, u64>,
    /// The amount paid.
    pub spent: i64,
    /// The original cost of the results that were not paid for.
    pub saved: i64,
    /// The durations of generated rows in milliseconds: 50th, 90th and 99th percentile, and the longest. Absent where no row was
    /// generated.
    pub took_ms: Option<[i64; 4]>,
    /// The failure of the batch as a whole.
    pub failure: Option<Failure>,
}
