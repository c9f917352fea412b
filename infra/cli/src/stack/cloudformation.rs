//! One CloudFormation stack: its status, and its creation and update.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{Capability, Parameter, Stack};

use super::error::Error;
use super::progress::Progress;

const CHECK_EVERY: Duration = Duration::from_millis(50);
const CAPABILITIES: [Capability; 3] =
    [Capability::CapabilityIam, Capability::CapabilityNamedIam, Capability::CapabilityAutoExpand];

/// A change of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Update,
}

/// The meaning of a stack's status for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Usable,
    Changing,
    Gone,
    /// It never completed, and can only be deleted.
    Unusable,
}

fn condition(status: &str) -> Condition {
    match status {
        "DELETE_COMPLETE" => Condition::Gone,
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" => Condition::Usable,
        _ if status.ends_with("_IN_PROGRESS") => Condition::Changing,
        _ => Condition::Unusable,
    }
}

/// A stack by name.
#[derive(Debug)]
pub(crate) struct CloudFormation<'a> {
    client: Client,
    stack: &'a str,
    bound: Duration,
}

impl<'a> CloudFormation<'a> {
    pub(crate) fn new(config: &SdkConfig, stack: &'a str, bound: Duration) -> Self {
        Self { client: Client::new(config), stack, bound }
    }

    /// The outputs of a stack that can be updated; `None` where one has to be created. One that never completed is
    /// deleted first.
    pub(crate) async fn usable(&self, progress: &Progress) -> anyhow::Result<Option<BTreeMap<String, String>>> {
        // A command that was killed may have left a change under way.
        let Some(stack) = self.settle().await? else { return Ok(None) };
        match condition(status(&stack)) {
            Condition::Gone => return Ok(None),
            Condition::Usable => return Ok(Some(outputs(&stack))),
            Condition::Changing | Condition::Unusable => {}
        }
        progress.step(format!("removing a stack that never completed ({})", status(&stack)));
        let deleted = self.client.delete_stack().stack_name(self.stack).send().await;
        deleted.context("cannot delete the stack")?;
        match self.settle().await? {
            None => Ok(None),
            Some(stack) if condition(status(&stack)) == Condition::Gone => Ok(None),
            Some(stack) => Err(self.failed(&stack).await),
        }
    }

    /// Creates or updates it, waits for the end, and gives its outputs.
    pub(crate) async fn apply(
        &self,
        change: Change,
        template_url: &str,
        parameters: &BTreeMap<String, String>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let parameters: Vec<Parameter> = parameters
            .iter()
            .map(|(name, value)| Parameter::builder().parameter_key(name).parameter_value(value).build())
            .collect();
        match change {
            Change::Create => {
                let create = self.client.create_stack().stack_name(self.stack).template_url(template_url);
                let create = create.set_parameters(Some(parameters)).set_capabilities(Some(CAPABILITIES.to_vec()));
                create.send().await.context("cannot create the stack")?;
            }
            Change::Update => {
                let update = self.client.update_stack().stack_name(self.stack).template_url(template_url);
                let update = update.set_parameters(Some(parameters)).set_capabilities(Some(CAPABILITIES.to_vec()));
                if let Err(error) = update.send().await {
                    // CloudFormation's way of saying that it is as wanted.
                    if !error.message().is_some_and(|said| said.contains("No updates are to be performed")) {
                        return Err(error).context("cannot update the stack");
                    }
                }
            }
        }
        match self.settle().await? {
            Some(stack) if matches!(status(&stack), "CREATE_COMPLETE" | "UPDATE_COMPLETE") => Ok(outputs(&stack)),
            Some(stack) => Err(self.failed(&stack).await),
            None => bail!("the stack {} was deleted during its deployment", self.stack),
        }
    }

    /// The stack, once no change is in progress.
    async fn settle(&self) -> anyhow::Result<Option<Stack>> {
        let deadline = Instant::now() + self.bound;
        loop {
            let stack = self.describe().await?;
            match &stack {
                Some(found) if condition(status(found)) == Condition::Changing => {
                    if Instant::now() >= deadline {
                        return Err(self.failed(found).await);
                    }
                }
                _ => return Ok(stack),
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    async fn describe(&self) -> anyhow::Result<Option<Stack>> {
        match self.client.describe_stacks().stack_name(self.stack).send().await {
            Ok(answer) => Ok(answer.stacks.unwrap_or_default().into_iter().next()),
            Err(error) if error.message().is_some_and(|said| said.contains("does not exist")) => Ok(None),
            Err(error) => Err(error).context("cannot describe the stack"),
        }
    }

    /// The error of a failed deployment, with the resources' own reasons, first failure first.
    async fn failed(&self, stack: &Stack) -> anyhow::Error {
        let events = self.client.describe_stack_events().stack_name(self.stack).send().await;
        let mut reasons: Vec<String> = events
            .map(|events| events.stack_events.unwrap_or_default())
            .unwrap_or_default()
            .iter()
            .filter(|event| event.resource_status().is_some_and(|status| status.as_str().ends_with("_FAILED")))
            .map(|event| {
                let reason = event.resource_status_reason().unwrap_or("no reason given");
                format!("  {}: {reason}", event.logical_resource_id().unwrap_or("?"))
            })
            // The first failure cancels the resources in progress.
            .filter(|line| !line.contains("cancelled"))
            .collect();
        reasons.reverse();
        if reasons.is_empty() {
            reasons.push(format!("  {}", stack.stack_status_reason().unwrap_or("no reason given")));
        }
        anyhow!("the deployment of stack {} ended as {}:\n{}", self.stack, status(stack), reasons.join("\n"))
    }
}

/// The outputs of a stack that was deployed, with these credentials.
pub async fn deployed(config: &SdkConfig, stack: &str) -> Result<BTreeMap<String, String>, Error> {
    let described = Client::new(config).describe_stacks().stack_name(stack).send().await;
    let described = described.with_context(|| format!("cannot describe the stack {stack}"))?;
    let found = described.stacks().first().map(outputs).unwrap_or_default();
    // The newest output of the template.
    if found.contains_key("ApiEndpoint") {
        return Ok(found);
    }
    Err(anyhow!("{stack} is no stack of Fresco, or one of an older template; deploy this version").into())
}

fn status(stack: &Stack) -> &str {
    stack.stack_status().map_or("", |status| status.as_str())
}

fn outputs(stack: &Stack) -> BTreeMap<String, String> {
    let pair = |output: &aws_sdk_cloudformation::types::Output| {
        Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
    };
    stack.outputs().iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_never_completed_cannot_be_updated_and_a_rolled_back_one_can() {
        assert_eq!(condition("ROLLBACK_COMPLETE"), Condition::Unusable);
        assert_eq!(condition("CREATE_FAILED"), Condition::Unusable);
        assert_eq!(condition("UPDATE_ROLLBACK_COMPLETE"), Condition::Usable);
        assert_eq!(condition("CREATE_IN_PROGRESS"), Condition::Changing);
        assert_eq!(condition("DELETE_COMPLETE"), Condition::Gone);
    }
}
