//! Starting executions of the state machine.

use aws_sdk_sfn::Client;
use fresco_pipeline::ids::RunId;

use crate::sdk::{code, describe};
use crate::traits::{Executions, StoreError};

/// Executions of the state machines of runs and of batches.
#[derive(Debug, Clone)]
pub struct SfnExecutions {
    client: Client,
    machine_arn: String,
    batch_machine_arn: String,
}

impl SfnExecutions {
    /// Of these state machines.
    pub fn new(client: Client, machine_arn: impl Into<String>, batch_machine_arn: impl Into<String>) -> Self {
        SfnExecutions { client, machine_arn: machine_arn.into(), batch_machine_arn: batch_machine_arn.into() }
    }

    async fn begin(&self, machine: &str, name: &str, input: String) -> Result<(), StoreError> {
        let start = self.client.start_execution().state_machine_arn(machine).name(name);
        match start.input(input).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("ExecutionAlreadyExists") => Ok(()),
            Err(error) => Err(StoreError::ledger(describe("Step Functions StartExecution", &error))),
        }
    }
}

/// The name of a batch's execution: its id, and after a point its generation if it was redriven.
fn batch_execution(batch: &RunId, generation: u32) -> String {
    if generation == 0 { batch.to_string() } else { format!("{batch}.{generation}") }
}

impl SfnExecutions {
    fn batch_execution_arn(&self, batch: &RunId, generation: u32) -> String {
        let executions = self.batch_machine_arn.replacen(":stateMachine:", ":execution:", 1);
        format!("{executions}:{}", batch_execution(batch, generation))
    }
}

impl Executions for SfnExecutions {
    /// The execution's name is the run's id and its input `{"run_id": …}`.
    async fn start_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.begin(&self.machine_arn, run.as_str(), serde_json::json!({ "run_id": run }).to_string()).await
    }

    /// The execution's input is `{"batch_id": …}`.
    async fn start_batch(&self, batch: &RunId, generation: u32) -> Result<(), StoreError> {
        let input = serde_json::json!({ "batch_id": batch }).to_string();
        self.begin(&self.batch_machine_arn, &batch_execution(batch, generation), input).await
    }

    async fn batch_is_running(&self, batch: &RunId, generation: u32) -> Result<bool, StoreError> {
        let arn = self.batch_execution_arn(batch, generation);
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(execution) => Ok(execution.status() == &aws_sdk_sfn::types::ExecutionStatus::Running),
            Err(error) if code(&error) == Some("ExecutionDoesNotExist") => Ok(false),
            Err(error) => Err(StoreError::ledger(describe("Step Functions DescribeExecution", &error))),
        }
    }

    async fn stop_batch_execution(&self, batch: &RunId, generation: u32) -> Result<bool, StoreError> {
        // Stopping what has ended is no error of Step Functions', so that it is asked first.
        if !self.batch_is_running(batch, generation).await? {
            return Ok(false);
        }
        let stop = self.client.stop_execution().execution_arn(self.batch_execution_arn(batch, generation));
        match stop.error("Run.Stopped").cause("the batch was stopped; what is paid is kept").send().await {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some("ExecutionDoesNotExist") => Ok(false),
            Err(error) => Err(StoreError::ledger(describe("Step Functions StopExecution", &error))),
        }
    }
}
