//! The stack that a tool starts for itself, and its clients.

use std::time::{Duration, Instant};

use anyhow::bail;
use fresco_cli::api::{Api, Inputs};
use fresco_cli::stack::{self, Options, Progress, Stack};
use fresco_cli::api::RunRequest;
use fresco_ledger::aws::Aws;
use fresco_ledger::dynamo::Dynamo;
use fresco_pipeline::ids::RunId;
use serde_json::Value;

use crate::StackAdmin;

/// A started stack that held nothing before, and its clients.
pub(crate) struct ToolStack {
    pub(crate) stack: Stack,
    pub(crate) aws: Aws,
    pub(crate) api: Api,
    pub(crate) admin: StackAdmin,
    pub(crate) ledger: Dynamo,
}

impl ToolStack {
    /// Removes what is in the stack's folder, and starts it.
    pub(crate) async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = options.instance.clone();
        tokio::task::spawn_blocking(move || stack::purge(&folder, &Progress::silent())).await??;
        let stack = Stack::start(options).await?;
        let aws = fresco_ledger::aws::connect_local(stack.endpoint_url()).await;
        Ok(ToolStack {
            api: Api::new(&stack::aws_config(&stack), &stack.api_url())?,
            admin: StackAdmin::new(&aws, &stack)?,
            ledger: aws.dynamo(stack.output("TableName")),
            aws,
            stack,
        })
    }

    /// Starts a run of a document through the API.
    pub(crate) async fn start_run(&self, document: String) -> anyhow::Result<RunId> {
        let request = RunRequest::new(document);
        let accepted = self.api.start(&request, &Inputs::default(), None).await?;
        Ok(RunId::parse(accepted.id)?)
    }

    /// Reads a control route of the simulator.
    pub(crate) fn control_state(&self, route: &str) -> anyhow::Result<Value> {
        Ok(self.stack.control("GET", route, &Value::Null)?)
    }

    /// Posts to a control route of the simulator.
    pub(crate) fn control(&self, route: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.stack.control("POST", route, body)?)
    }
}

/// Polls until `check` returns something; fails after `within`.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    const POLL: Duration = Duration::from_millis(25);
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s in vain for {what}", within.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn polling_ends_with_what_is_found_or_with_the_time() {
        let mut polls = 0;
        let found = until("the third poll", Duration::from_secs(60), async || {
            polls += 1;
            Ok((polls == 3).then_some(polls))
        });
        assert_eq!(found.await.unwrap(), 3);
        let error = until("nothing", Duration::ZERO, async || Ok(None::<()>)).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain for nothing");
    }
}
