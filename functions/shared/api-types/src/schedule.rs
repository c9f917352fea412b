//! The schedules of a stack.

use fresco_pipeline::document::Overlap;
use fresco_pipeline::error::Failure;
use fresco_pipeline::status::RunStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::DocumentProblem;

/// A schedule, with its last and next firings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleView {
    /// Its name: its key without the prefix and the extension.
    pub name: String,
    /// The key of its document.
    pub key: String,
    /// Its expression: `cron(…)`, `rate(…)` or `at(…)`. Empty where the document cannot be read.
    pub schedule: String,
    /// The time zone of the expression.
    pub timezone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// The rule for a firing while the run of the last firing continues.
    pub overlap: Overlap,
    /// When it fires next; absent where it does not. Of a `rate` an estimate.
    pub next_at: Option<i64>,
    /// Its last firing within 90 days.
    pub last: Option<FiringView>,
    /// The reason why the schedule is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The problems of the document, each with its position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
}

/// The last firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FiringView {
    /// The time that it was scheduled for.
    pub at: i64,
    /// `started`, `skipped` (the run before continued) or `failed` (its run could not be started).
    pub outcome: String,
    /// The last run that the schedule started, by this firing or an earlier one.
    pub run_id: Option<String>,
    /// The status of that run; absent where it has no record.
    pub status: Option<RunStatus>,
    /// The reason why the run could not be started, or failed.
    pub failure: Option<Failure>,
}

/// The schedules by their keys, at most a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
}
