//! Batches: one pipeline over many rows, cut into chunks, each of which is a run.

use std::collections::BTreeSet;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::RowProblem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Millis;

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its rows are read and cut into chunks.
    Planning,
    /// Its chunks run.
    Running,
    /// Every row has its results.
    Succeeded,
    /// Some rows have.
    Partial,
    /// None has, or it could not be planned.
    Failed,
    /// It was stopped, by somebody or because more rows failed than it tolerates.
    Stopped,
}

impl BatchStatus {
    /// Whether it has ended.
    pub const fn is_final(self) -> bool {
        !matches!(self, BatchStatus::Planning | BatchStatus::Running)
    }
}

/// What the planning of a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchPlan {
    /// Rows, bad ones among them.
    pub rows: u64,
    /// Rows that cannot be run; they are left out and stand in the results.
    pub bad_rows: u64,
    /// Rows that ask for the same as one before them: they are generated once.
    pub duplicates: u64,
    /// Rows whose first step's results are all there, so that it is not paid again.
    pub hits: u64,
    /// Chunks.
    pub chunks: u32,
    /// Rows of a chunk.
    pub chunk_size: u32,
    /// Chunks side by side.
    pub max_concurrent_chunks: u32,
    /// The pause behind each chunk, in seconds.
    pub pause_seconds: u32,
    /// What all of it costs at most, in micro-dollars, less what is there already.
    #[schemars(with = "i64")]
    pub price: Money,
    /// About how long it will take, in seconds, at the models' slow end.
    pub expected_seconds: u64,
    /// How many chunks side by side would bring it under an hour; absent where it is, or where none would.
    pub concurrency_for_an_hour: Option<u32>,
    /// How many rows may fail before the batch is stopped; absent for no limit.
    #[serde(default)]
    pub tolerated: Option<u64>,
    /// Where the outputs are copied to, beneath a folder named by the batch.
    #[serde(default)]
    pub export: Option<String>,
    /// What should be looked at.
    pub warnings: Vec<String>,
    /// The first problems of rows.
    pub problems: Vec<RowProblem>,
}

/// What has become of the rows so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchCounts {
    /// Chunks that have ended.
    pub chunks: u32,
    /// Rows that have all their results.
    pub done: u64,
    /// Rows that have not, though they could be run.
    pub failed: u64,
    /// Rows that could not be run, and were left out.
    #[serde(default)]
    pub bad: u64,
    /// Of those that are done: rows whose every result was in the cache, or joined.
    pub hits: u64,
    /// What was paid, in micro-dollars.
    #[schemars(with = "i64")]
    pub spent: Money,
    /// What the results that were not paid for cost when they were made, in micro-dollars.
    #[schemars(with = "i64")]
    pub saved: Money,
}

/// `B#batch`: one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    #[serde(skip_serializing)]
    pub id: RunId,
    /// The pipeline's name.
    pub name: String,
    pub status: BatchStatus,
    /// Nothing more may be submitted.
    pub stop: bool,
    pub created_at: Millis,
    /// The time of its creation or of its last redrive.
    pub began_at: Millis,
    /// Rows that were decided before the last redrive.
    pub kept: u64,
    pub ended_at: Option<Millis>,
    /// The rest of its budget for grants to chunks; [`Money::UNLIMITED`] without a budget.
    pub remaining: Money,
    #[serde(default, with = "super::json")]
    pub plan: Option<BatchPlan>,
    #[serde(flatten)]
    pub counts: BatchCounts,
    /// The numbers of the running chunks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "serde_dynamo::number_set")]
    pub open: BTreeSet<u32>,
    /// The number of its redrives.
    pub generation: u32,
    /// The time when sweep checks that its execution is running; absent once it has ended.
    #[serde(rename = "due")]
    pub next_check_at: Option<Millis>,
    /// The failure of the batch as a whole.
    #[serde(default, with = "super::json")]
    pub failure: Option<Failure>,
}
