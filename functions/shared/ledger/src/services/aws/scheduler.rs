//! Timers in EventBridge Scheduler.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState,
    Target,
};
use aws_smithy_types::DateTime;
use fresco_pipeline::error::{ErrorName, Failure};

use crate::sdk::{code, describe, request_token};
use crate::traits::{Scheduler, StoreError, Timer};

/// The time for which a failed invocation is retried: a later firing is of no use.
const RETRY_SECONDS: i32 = 3_600;
const RETRIES: i32 = 10;

/// The target of timers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimerTarget {
    /// The group of schedules.
    pub group: String,
    /// The function's ARN.
    pub function: String,
    /// The role that may invoke it.
    pub role: String,
    /// The dead-letter queue.
    pub failures: String,
}

/// The timers of one group.
#[derive(Debug, Clone)]
pub struct EventBridgeScheduler {
    client: Client,
    target: TimerTarget,
}

impl EventBridgeScheduler {
    /// By this client.
    pub fn new(client: Client, target: TimerTarget) -> Self {
        EventBridgeScheduler { client, target }
    }

    fn fires(&self, timer: &Timer) -> Result<Target, StoreError> {
        // Scheduler fills the words in brackets; see its user guide, "Adding context attributes".
        let input = serde_json::json!({
            "source": "fresco.schedule",
            "schedule": timer.schedule,
            "scheduled_time": "<aws.scheduler.scheduled-time>",
        });
        let retries =
            RetryPolicy::builder().maximum_retry_attempts(RETRIES).maximum_event_age_in_seconds(RETRY_SECONDS);
        Target::builder()
            .arn(&self.target.function)
            .role_arn(&self.target.role)
            .dead_letter_config(DeadLetterConfig::builder().arn(&self.target.failures).build())
            .retry_policy(retries.build())
            .input(input.to_string())
            .build()
            .map_err(unbuilt)
    }
}

fn unbuilt(error: aws_smithy_types::error::operation::BuildError) -> StoreError {
    StoreError::ledger(format!("EventBridge Scheduler: {error}"))
}

/// On the minute.
fn on_time() -> Result<FlexibleTimeWindow, StoreError> {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(unbuilt)
}

fn state(timer: &Timer) -> ScheduleState {
    if timer.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
}

macro_rules! described {
    ($call:expr, $timers:expr, $timer:expr) => {
        $call
            .group_name(&$timers.target.group)
            .name(&$timer.name)
            .schedule_expression(&$timer.expression)
            .schedule_expression_timezone(&$timer.timezone)
            .set_start_date($timer.starts_at.map(DateTime::from_millis))
            .state(state($timer))
            .flexible_time_window(on_time()?)
            // One that is never due again does not count against the account's schedules.
            .action_after_completion(ActionAfterCompletion::Delete)
            .target($timers.fires($timer)?)
            .client_token(request_token()?)
            .send()
            .await
    };
}

impl Scheduler for EventBridgeScheduler {
    async fn put_timer(&self, timer: &Timer) -> Result<(), StoreError> {
        let error = match described!(self.client.update_schedule(), self, timer) {
            Ok(_) => return Ok(()),
            Err(error) if code(&error) == Some("ResourceNotFoundException") => {
                match described!(self.client.create_schedule(), self, timer) {
                    Ok(_) => return Ok(()),
                    Err(error) => {
                        (code(&error).map(str::to_owned), describe("EventBridge Scheduler CreateSchedule", &error))
                    }
                }
            }
            Err(error) => (code(&error).map(str::to_owned), describe("EventBridge Scheduler UpdateSchedule", &error)),
        };
        match error {
            (Some(code), message) if code == "ValidationException" => {
                Err(StoreError(Failure::new(ErrorName::InputInvalid, message)))
            }
            (_, message) => Err(StoreError::ledger(message)),
        }
    }

    async fn delete_timer(&self, name: &str) -> Result<(), StoreError> {
        let delete = self.client.delete_schedule().group_name(&self.target.group).name(name);
        match delete.client_token(request_token()?).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(StoreError::ledger(describe("EventBridge Scheduler DeleteSchedule", &error))),
        }
    }
}
