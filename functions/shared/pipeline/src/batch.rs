//! The plan of a batch and the counts of its rows, as the ledger stores them and the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::rows::RowProblem;

/// The result of planning a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchPlan {
    /// Rows, bad ones included.
    pub rows: u64,
    /// Rows that cannot be run; they are omitted and listed in the results.
    pub bad_rows: u64,
    /// Rows that ask for the same as an earlier row: they are generated once.
    pub duplicates: u64,
    /// Rows whose first step is a hit, so that it is not paid again.
    pub hits: u64,
    /// Chunks.
    pub chunks: u32,
    /// Rows of a chunk.
    pub chunk_size: u32,
    /// Chunks side by side.
    pub max_concurrent_chunks: u32,
    /// The pause after each chunk, in seconds.
    pub pause_seconds: u32,
    /// The upper-bound price of what is not a hit, in micro-dollars.
    #[schemars(with = "i64")]
    pub price: Money,
    /// The expected duration in seconds, at the slow end of the models' ranges.
    pub expected_seconds: u64,
    /// The number of chunks side by side that brings the batch under an hour; absent where it is, or where none does.
    pub concurrency_for_an_hour: Option<u32>,
    /// The number of rows that may fail before the batch is stopped; absent for no limit.
    #[serde(default)]
    pub tolerated: Option<u64>,
    /// The place that outputs are copied to, in a folder named by the batch.
    #[serde(default)]
    pub export: Option<String>,
    /// Findings that deserve a look.
    pub warnings: Vec<String>,
    /// The first problems of rows.
    pub problems: Vec<RowProblem>,
}

/// The rows of a batch so far, by their results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchCounts {
    /// Chunks that have ended.
    pub chunks: u32,
    /// Rows that have all their results.
    pub done: u64,
    /// Rows that could be run and do not have all their results.
    pub failed: u64,
    /// Rows that could not be run, and were omitted.
    #[serde(default)]
    pub bad: u64,
    /// Rows among `done` whose every result was in the cache, or joined.
    pub hits: u64,
    /// The amount paid, in micro-dollars.
    #[schemars(with = "i64")]
    pub spent: Money,
    /// The original cost of the results that were not paid for, in micro-dollars.
    #[schemars(with = "i64")]
    pub saved: Money,
}
