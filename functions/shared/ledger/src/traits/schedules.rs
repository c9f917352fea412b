//! Schedules: when they are due, and what became of the last time that they were.

use std::future::Future;

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::records::Millis;

/// What fires when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Its name in the stack's group of schedules.
    pub name: String,
    /// `cron(…)`, `rate(…)` or `at(…)`.
    pub expression: String,
    /// The time zone of the expression.
    pub timezone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// The key of the schedule's document, which is told with each firing.
    pub schedule: String,
}

/// The timers of a stack.
pub trait Scheduler: Send + Sync {
    /// Makes the timer, or makes it as this one is. One that cannot be is refused as [`ErrorName::InputInvalid`].
    ///
    /// [`ErrorName::InputInvalid`]: fresco_pipeline::error::ErrorName::InputInvalid
    fn put_timer(&self, timer: &Timer) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Removes the timer of this name. One that is not there is no error.
    fn delete_timer(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FiringOutcome {
    /// It began a run.
    Started,
    /// It was left out: the run before goes on.
    Skipped,
    /// Its run could not be started.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// The last firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The time that it was scheduled for.
    pub at: Millis,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: FiringOutcome,
    /// The last run that the schedule began, by this firing or one before.
    pub run: Option<RunId>,
}

/// What is known of the last firings.
pub trait Firings: Send + Sync {
    /// The last firing of a schedule, by the key of its document.
    fn last_firing(&self, schedule: &str) -> impl Future<Output = Result<Option<Firing>, StoreError>> + Send;
    /// Notes a firing, unless a later one is noted; whether it was.
    fn record_firing(&self, schedule: &str, firing: &Firing) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
