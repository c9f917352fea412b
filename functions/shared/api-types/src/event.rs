//! Events: the progress of a run as the API lists it, and the ends of runs and batches as the stack publishes them to the bus.

use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::status::{BatchStatus, ResultSource, RunStatus, StepState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::FailureView;

/// An event of a run. Events are listed at least once: a repeated one has the same `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// The event's id within the run.
    pub id: String,
    /// When it happened.
    pub at: i64,
    /// The event.
    #[serde(flatten)]
    pub what: RunEvent,
}

/// A change of a run or of one of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run was recorded.
    RunStarted {
        /// The run.
        run_id: String,
    },
    /// The run was planned.
    RunPlanned {
        /// The run.
        run_id: String,
        /// The number of its steps.
        steps: u32,
        /// The number of its steps that are hits.
        hits: u32,
    },
    /// A step changed its state.
    StepChanged {
        /// The run.
        run_id: String,
        /// The step.
        step: String,
        /// Its model.
        model: String,
        /// Its state.
        state: StepState,
        /// The source of its result, once that is known.
        source: Option<ResultSource>,
        /// Its duration in milliseconds, once it is done or failed.
        took_ms: Option<i64>,
        /// Its failure.
        failure: Option<FailureView>,
    },
    /// The run ended.
    RunEnded {
        /// The run.
        run_id: String,
        /// Its status.
        status: RunStatus,
        /// Its failure, unless it succeeded.
        failure: Option<FailureView>,
    },
}

/// The `detail` of the bus event `Run Finished`. It is published at least once: a repeated one has the same `run_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinished {
    /// The stack's name.
    pub stack: String,
    /// The run.
    pub run_id: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's status.
    pub status: RunStatus,
    /// The amount that it has paid.
    pub cost: Money,
    /// The original cost of the results that it did not pay for.
    pub saved: Money,
    /// The stack's bucket.
    pub bucket: String,
    /// The key of the run's manifest in the bucket; the manifest names the outputs.
    pub manifest: String,
}

/// The `detail` of the bus event `Batch Finished`. It is published at least once: a repeated one has the same `batch_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFinished {
    /// The stack's name.
    pub stack: String,
    /// The batch.
    pub batch_id: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// The batch's status.
    pub status: BatchStatus,
    /// Rows that have all their results.
    pub done: u64,
    /// Rows that could be run and do not have all their results.
    pub failed: u64,
    /// The amount paid.
    pub cost: Money,
    /// The stack's bucket.
    pub bucket: String,
    /// The key of the batch's manifest in the bucket.
    pub manifest: String,
}
