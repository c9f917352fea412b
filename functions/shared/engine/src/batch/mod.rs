//! Batches: one pipeline over many rows. Planning cuts the rows into chunks, each chunk is a run, and the results of
//! the rows are merged in the order of the rows.

mod chunk;
mod chunker;
mod control;
mod create;
mod finalize;
mod objects;
mod plan;
pub(crate) mod request;
mod row_results;
pub(crate) mod store;
mod views;

use std::sync::Arc;

use store::BatchStore;

use crate::intake::Intake;
use crate::run::Runs;
use crate::settings::Settings;

pub use chunk::Chunks;
pub use finalize::BatchFinalizer;
pub use objects::batch_manifest_key;
pub use plan::{BatchPlanner, BatchWork};

/// Starts, shows, stops and redrives batches.
pub struct Batches<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Arc<BatchStore<P>>,
    pub(crate) intake: Arc<Intake<P>>,
    pub(crate) runs: Arc<Runs<P>>,
}
