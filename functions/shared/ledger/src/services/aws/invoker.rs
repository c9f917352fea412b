//! Invocations of other functions: asynchronous ones, which Lambda queues and retries, and synchronous ones.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use serde_json::Value;

use crate::sdk::describe;
use crate::traits::{Invoker, StoreError};

/// Asynchronous invocations of collect, batch and report.
#[derive(Debug, Clone)]
pub struct LambdaInvoker {
    client: Client,
    collect: String,
    batch: String,
    report: String,
}

impl LambdaInvoker {
    /// By the functions' names or ARNs; empty for a function that is never invoked.
    pub fn new(
        client: Client,
        collect: impl Into<String>,
        batch: impl Into<String>,
        report: impl Into<String>,
    ) -> Self {
        LambdaInvoker { client, collect: collect.into(), batch: batch.into(), report: report.into() }
    }

    async fn start(&self, function: &str, input: &Value) -> Result<(), StoreError> {
        let invoke = self.client.invoke().function_name(function).invocation_type(InvocationType::Event);
        match invoke.payload(Blob::new(input.to_string())).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::ledger(describe("Lambda Invoke", &error))),
        }
    }
}

impl Invoker for LambdaInvoker {
    async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), StoreError> {
        self.start(&self.collect, &serde_json::json!({ "key": key, "attempt": attempt })).await
    }

    async fn close_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.start(&self.report, &serde_json::json!({ "overdue": run })).await
    }

    async fn finalize_batch(&self, batch: &RunId, generation: u32) -> Result<(), StoreError> {
        self.start(&self.batch, &serde_json::json!({ "batch_id": batch, "left_in": generation })).await
    }
}

/// Synchronous invocations of one function.
#[derive(Debug, Clone)]
pub struct LambdaCall {
    client: Client,
    function: String,
}

impl LambdaCall {
    /// The function by its name or ARN.
    pub fn new(client: Client, function: impl Into<String>) -> Self {
        LambdaCall { client, function: function.into() }
    }

    /// Invokes the function and returns its answer, or its error under its stable name.
    pub async fn ask(&self, input: &Value) -> Result<Value, Failure> {
        let invoke = self.client.invoke().function_name(&self.function).payload(Blob::new(input.to_string()));
        let answer = invoke.send().await.map_err(|error| StoreError::ledger(describe("Lambda Invoke", &error)).0)?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let value: Value = serde_json::from_slice(&payload)
            .map_err(|_| Failure::new(ErrorName::Internal, format!("{} did not answer with JSON", self.function)))?;
        if answer.function_error.is_none() {
            return Ok(value);
        }
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = ErrorName::parse(text("errorType")).unwrap_or(ErrorName::Internal);
        Err(Failure::new(name, text("errorMessage")))
    }
}
