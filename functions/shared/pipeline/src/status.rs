//! The states of runs, steps and batches, as the ledger stores them and the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Starting, planning or running.
    Running,
    /// Every step has its result.
    Succeeded,
    /// Some steps have their results.
    Partial,
    /// No step has a result, or the run could not be planned.
    Failed,
    /// The run was stopped.
    Stopped,
}

impl RunStatus {
    /// Whether the run has ended.
    pub const fn is_final(self) -> bool {
        !matches!(self, RunStatus::Running)
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not started.
    Waiting,
    /// Under way.
    Running,
    /// The step has its result.
    Done,
    /// The step has no result.
    Failed,
}

/// Where a step's result came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultSource {
    /// The cache: nothing was paid.
    Hit,
    /// The job of another step, which this step joined: this run paid nothing.
    Joined,
    /// A job that this step submitted.
    Generated,
}

/// The status of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its rows are read and cut into chunks.
    Planning,
    /// Its chunks run.
    Running,
    /// Every row has its results.
    Succeeded,
    /// Some rows have their results.
    Partial,
    /// No row has results, or the batch could not be planned.
    Failed,
    /// The batch was stopped, by a user or because more rows failed than it tolerates.
    Stopped,
}

impl BatchStatus {
    /// Whether the batch has ended.
    pub const fn is_final(self) -> bool {
        !matches!(self, BatchStatus::Planning | BatchStatus::Running)
    }
}
