//! Timers of schedules, and the record of their last firings.

use std::future::Future;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::records::Millis;

/// A timer of EventBridge Scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// In the stack's group of schedules.
    pub name: String,
    /// `cron(…)`, `rate(…)` or `at(…)`.
    pub expression: String,
    pub timezone: String,
    pub enabled: bool,
    /// The first firing of a rate, in milliseconds since the Unix epoch. Without it, EventBridge Scheduler fires a rate as
    /// soon as it is created. Absent for the other expressions.
    pub starts_at: Option<Millis>,
    /// The key of the schedule's document, which is part of each event.
    pub schedule: String,
}

/// The timers of a stack.
pub trait Scheduler: Send + Sync {
    /// Creates or replaces a timer. An invalid timer is refused as [`ErrorName::InputInvalid`].
    ///
    /// [`ErrorName::InputInvalid`]: fresco_pipeline::error::ErrorName::InputInvalid
    fn put_timer(&self, timer: &Timer) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Deletes the timer of this name; idempotent.
    fn delete_timer(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The outcome of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FiringOutcome {
    /// It started a run.
    Started,
    /// The previous run has not ended.
    Skipped,
    /// Its run could not be started.
    Failed { failure: Failure },
}

/// The last firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The scheduled time.
    pub at: Millis,
    #[serde(flatten)]
    pub outcome: FiringOutcome,
    /// The last run that the schedule started, by this firing or an earlier one.
    pub run: Option<RunId>,
}

/// The last firings of schedules.
pub trait Firings: Send + Sync {
    /// Reads the last firing of a schedule, by the key of its document.
    fn last_firing(&self, schedule: &str) -> impl Future<Output = Result<Option<Firing>, StoreError>> + Send;
    /// Records a firing, unless a later one is recorded; true if it was written.
    fn record_firing(&self, schedule: &str, firing: &Firing) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
