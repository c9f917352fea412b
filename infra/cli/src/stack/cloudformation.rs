//! One CloudFormation stack: what state it is in, and bringing it into another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{Capability, Parameter, Stack};

use super::error::Error;
use super::progress::Progress;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const CAPABILITIES: [Capability; 3] =
    [Capability::CapabilityIam, Capability::CapabilityNamedIam, Capability::CapabilityAutoExpand];

/// What to do with the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is not there.
    Create,
    /// It is there.
    Update,
}

/// What can be done with a stack in some status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Usable,
    Changing,
    Gone,
    /// It never completed, and can only be deleted.
    Useless,
}

fn condition(status: &str) -> Condition {
    match status {
        "DELETE_COMPLETE" => Condition::Gone,
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" => Condition::Usable,
        _ if status.ends_with("_IN_PROGRESS") => Condition::Changing,
        _ => Condition::Useless,
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
    pub(crate) async fn usable(&self, progress: &Progress) -> Result<Option<BTreeMap<String, String>>, Error> {
        // A command that was killed may have left a change under way.
        let Some(stack) = self.settle().await? else { return Ok(None) };
        match condition(status(&stack)) {
            Condition::Gone => return Ok(None),
            Condition::Usable => return Ok(Some(outputs(&stack))),
            Condition::Changing | Condition::Useless => {}
        }
        progress.step(format!("removing a stack that never completed ({})", status(&stack)));
        let deleted = self.client.delete_stack().stack_name(self.stack).send().await;
        deleted.map_err(Error::aws("deleting the stack"))?;
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
    ) -> Result<BTreeMap<String, String>, Error> {
        let parameters: Vec<Parameter> = parameters
            .iter()
            .map(|(name, value)| Parameter::builder().parameter_key(name).parameter_value(value).build())
            .collect();
        match change {
            Change::Create => {
                let create = self.client.create_stack().stack_name(self.stack).template_url(template_url);
                let create = create.set_parameters(Some(parameters)).set_capabilities(Some(CAPABILITIES.to_vec()));
                create.send().await.map_err(Error::aws("creating the stack"))?;
            }
            Change::Update => {
                let update = self.client.update_stack().stack_name(self.stack).template_url(template_url);
                let update = update.set_parameters(Some(parameters)).set_capabilities(Some(CAPABILITIES.to_vec()));
                if let Err(error) = update.send().await {
                    // CloudFormation's way of saying that it is as wanted.
                    if !error.message().is_some_and(|said| said.contains("No updates are to be performed")) {
                        return Err(Error::aws("updating the stack")(error));
                    }
                }
            }
        }
        match self.settle().await? {
            Some(stack) if matches!(status(&stack), "CREATE_COMPLETE" | "UPDATE_COMPLETE") => Ok(outputs(&stack)),
            Some(stack) => Err(self.failed(&stack).await),
            None => Err(Error::Deploy {
                stack: self.stack.to_owned(),
                status: "gone".to_owned(),
                reasons: "  it was deleted meanwhile".to_owned(),
            }),
        }
    }

    /// The stack once nothing changes it any more.
    async fn settle(&self) -> Result<Option<Stack>, Error> {
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
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn describe(&self) -> Result<Option<Stack>, Error> {
        match self.client.describe_stacks().stack_name(self.stack).send().await {
            Ok(answer) => Ok(answer.stacks.unwrap_or_default().into_iter().next()),
            Err(error) if error.message().is_some_and(|said| said.contains("does not exist")) => Ok(None),
            Err(error) => Err(Error::aws("describing the stack")(error)),
        }
    }

    /// Why it failed: the resources' own reasons, first failure first.
    async fn failed(&self, stack: &Stack) -> Error {
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
            // The echo of the first failure in what was under way beside it.
            .filter(|line| !line.contains("cancelled"))
            .collect();
        reasons.reverse();
        if reasons.is_empty() {
            reasons.push(format!("  {}", stack.stack_status_reason().unwrap_or("no reason given")));
        }
        Error::Deploy { stack: self.stack.to_owned(), status: status(stack).to_owned(), reasons: reasons.join("\n") }
    }
}

/// The outputs of a stack that was deployed, with these credentials.
pub async fn deployed(config: &SdkConfig, stack: &str) -> Result<BTreeMap<String, String>, Error> {
    let asked = format!("describing the stack {stack}");
    let described = Client::new(config).describe_stacks().stack_name(stack).send().await;
    let described = described.map_err(Error::aws(&asked))?;
    let found = described.stacks().first().map(outputs).unwrap_or_default();
    // The last that was added to the template.
    if found.contains_key("ApiEndpoint") {
        return Ok(found);
    }
    let message = "it is no stack of Fresco, or one of an older template; deploy this version".to_owned();
    Err(Error::Aws { action: asked, message })
}

/// What the resource of that name in the stack's template is called.
pub(crate) async fn physical_id(config: &SdkConfig, stack: &str, resource: &str) -> Result<String, Error> {
    let asked = format!("finding the stack's {resource}");
    let describe = Client::new(config).describe_stack_resource().stack_name(stack).logical_resource_id(resource);
    let found = describe.send().await.map_err(Error::aws(&asked))?;
    let id = found.stack_resource_detail.and_then(|detail| detail.physical_resource_id);
    id.ok_or_else(|| Error::Aws { action: asked, message: "it has no name".to_owned() })
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
    fn what_never_completed_is_useless_and_what_was_rolled_back_is_not() {
        assert_eq!(condition("ROLLBACK_COMPLETE"), Condition::Useless);
        assert_eq!(condition("CREATE_FAILED"), Condition::Useless);
        assert_eq!(condition("UPDATE_ROLLBACK_COMPLETE"), Condition::Usable);
        assert_eq!(condition("CREATE_IN_PROGRESS"), Condition::Changing);
        assert_eq!(condition("DELETE_COMPLETE"), Condition::Gone);
    }
}
