//! Starting executions of the state machine.

use aws_sdk_sfn::Client;
use fresco_pipeline::ids::RunId;

use super::{code, describe};
use crate::traits::{Executions, StoreError};

/// Executions of one state machine.
#[derive(Debug, Clone)]
pub struct SfnRuns {
    client: Client,
    machine_arn: String,
}

impl SfnRuns {
    /// Of this state machine.
    pub fn new(client: Client, machine_arn: impl Into<String>) -> Self {
        SfnRuns { client, machine_arn: machine_arn.into() }
    }
}

impl Executions for SfnRuns {
    /// The execution's name is the run's id and its input `{"run_id": …}`.
    async fn start(&self, run: &RunId) -> Result<(), StoreError> {
        let input = serde_json::json!({ "run_id": run }).to_string();
        let start = self.client.start_execution().state_machine_arn(&self.machine_arn).name(run.as_str());
        match start.input(input).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("ExecutionAlreadyExists") => Ok(()),
            Err(error) => Err(StoreError::ledger(describe("Step Functions StartExecution", &error))),
        }
    }
}
