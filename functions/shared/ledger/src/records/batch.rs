//! Batches: one pipeline over many rows, cut into chunks, each of which is a run.

use std::collections::BTreeSet;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use serde::{Deserialize, Serialize};

use super::Millis;

pub use fresco_pipeline::batch::{BatchCounts, BatchPlan};
pub use fresco_pipeline::status::BatchStatus;

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
