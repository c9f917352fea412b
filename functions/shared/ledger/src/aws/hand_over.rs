//! Handing an attempt over to collect by an asynchronous invocation. Lambda keeps and repeats it; collect is idempotent.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::describe;
use crate::traits::{HandOver, StoreError};

/// The collect function.
#[derive(Debug, Clone)]
pub struct LambdaHandOver {
    client: Client,
    function: String,
}

impl LambdaHandOver {
    /// The function by its name or ARN.
    pub fn new(client: Client, function: impl Into<String>) -> Self {
        LambdaHandOver { client, function: function.into() }
    }
}

impl HandOver for LambdaHandOver {
    async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), StoreError> {
        let payload = serde_json::json!({ "key": key, "attempt": attempt }).to_string();
        let invoke = self.client.invoke().function_name(&self.function).invocation_type(InvocationType::Event);
        match invoke.payload(Blob::new(payload)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::ledger(describe("Lambda Invoke", &error))),
        }
    }
}
