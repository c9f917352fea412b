//! Batches: one pipeline over many rows, cut into chunks, each of which is a run.

use std::collections::BTreeSet;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use crate::records::Millis;

pub use fresco_pipeline::batch::{BatchCounts, BatchPlan};
pub use fresco_pipeline::status::BatchStatus;

/// `B#batch`: one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its id, a run's in form.
    pub id: RunId,
    /// The pipeline's name.
    pub name: String,
    /// Where it is.
    pub status: BatchStatus,
    /// Nothing new may be submitted.
    pub stop: bool,
    /// When it was written.
    pub created_at: Millis,
    /// When it was written, or driven anew.
    pub began_at: Millis,
    /// Rows that were decided before it was driven anew.
    pub kept: u64,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// What is left of its budget to be given to chunks; [`Money::UNLIMITED`] without one.
    pub remaining: Money,
    /// What its planning came to, once it did.
    pub plan: Option<BatchPlan>,
    /// What has become of its rows.
    pub counts: BatchCounts,
    /// The numbers of chunks that run.
    pub open: BTreeSet<u32>,
    /// How often it was driven anew.
    pub generation: u32,
    /// When it is looked at whether its execution goes on; as long as it has not ended.
    pub next_check_at: Option<Millis>,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
}
