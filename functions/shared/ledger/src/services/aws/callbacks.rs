//! Messages to task tokens of Step Functions. A token is never part of an error or a log line, and neither is a message of
//! the service about one.

use aws_sdk_sfn::Client;
use fresco_pipeline::error::Failure;

use crate::sdk::{SdkError, code, describe_code};
use crate::traits::{Delivery, NOT_YET, StoreError, TaskCallbacks};

/// The longest error name that SendTaskFailure takes, in characters.
const ERROR_CHARS: usize = 256;
/// The longest cause that SendTaskFailure takes, in characters.
const CAUSE_CHARS: usize = 32_768;

/// Callbacks of Step Functions.
#[derive(Debug, Clone)]
pub struct SfnCallbacks {
    client: Client,
}

impl SfnCallbacks {
    pub fn new(client: Client) -> Self {
        SfnCallbacks { client }
    }

    async fn send_failure(&self, token: &str, error: &str, cause: &str) -> Result<Delivery, StoreError> {
        let error: String = error.chars().take(ERROR_CHARS).collect();
        let cause: String = cause.chars().take(CAUSE_CHARS).collect();
        let outcome = self.client.send_task_failure().task_token(token).error(error).cause(cause).send().await;
        delivery("Step Functions SendTaskFailure", outcome)
    }
}

fn delivery<T, E>(operation: &str, outcome: Result<T, SdkError<E>>) -> Result<Delivery, StoreError>
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    match outcome {
        Ok(_) => Ok(Delivery::Delivered),
        Err(error) => match code(&error) {
            Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken") => Ok(Delivery::Expired),
            _ => Err(StoreError::ledger(describe_code(operation, &error))),
        },
    }
}

impl TaskCallbacks for SfnCallbacks {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        let outcome = self.client.send_task_success().task_token(token).output(output).send().await;
        delivery("Step Functions SendTaskSuccess", outcome)
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Delivery, StoreError> {
        self.send_failure(token, failure.name.as_str(), &failure.message).await
    }

    async fn retry_in(&self, token: &str, seconds: u32, reason: &Failure) -> Result<Delivery, StoreError> {
        self.send_failure(token, NOT_YET, &format!("{seconds} s: {reason}")).await
    }
}
