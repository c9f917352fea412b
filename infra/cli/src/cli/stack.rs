//! Connecting to a stack: the one that is up on this machine, one that lives as long as the command, or a deployed one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fresco_cli::api::Api;
use fresco_cli::stack::{self, Build, Layout, Options, Progress, ProgressMessage, Stack};
use fresco_cli::view::{duration, size};
use serde_json::json;

use super::output::Output;
use super::{CommandError, EXIT_INPUT, SimulatorArgs, Target, UpArgs};

/// Returns the stack that is up, or starts one for the time of the command. Values for the template's parameters are checked
/// before anything is built.
async fn start(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
    build: Build,
    keep: bool,
) -> Result<Stack, CommandError> {
    let layout = Layout::find()?;
    let parameters: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let problems = stack::check_parameters(&layout, &parameters)?;
    for problem in &problems {
        output.error(problem.code(), &problem.to_string());
    }
    if !problems.is_empty() {
        return Err(CommandError::Code(EXIT_INPUT));
    }
    let started = Instant::now();
    let options = Options {
        instance: instance(&layout, target),
        keep,
        build,
        port: target.port,
        scale: args.scale,
        parameters,
        progress: progress(output),
        ..Options::new(layout)
    };
    let stack = Stack::start(options).await?;
    if !stack.attached() {
        let took = duration(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
        output.progress(&format!("stack ready in {took} ({}, simulated providers)", stack.endpoint_url()));
    }
    Ok(stack)
}

/// A client of a stack's API, with the local stack if it is one, which ends with the connection.
pub(super) struct Connection {
    pub(super) api: Api,
    stack: Option<Stack>,
}

impl Connection {
    /// Returns whether the local stack has ended under the command.
    pub(super) fn has_ended(&self) -> bool {
        self.stack.as_ref().is_some_and(Stack::has_ended)
    }

    /// Returns whether the stack stays up after the command.
    pub(super) fn stays(&self) -> bool {
        self.stack.as_ref().is_none_or(Stack::attached)
    }
}

/// Connects a command that generates: to the stack of `--stack`, or to the local one, built if its sources changed.
pub(super) async fn connect(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
) -> Result<Connection, CommandError> {
    connect_with(output, target, args, Build::IfChanged).await
}

/// Connects a command that reads or controls: it builds nothing.
pub(super) async fn connect_as_built(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
) -> Result<Connection, CommandError> {
    connect_with(output, target, args, Build::Last).await
}

/// Connects as [`connect_as_built`], for commands without options of the simulator.
pub(super) async fn connect_default(output: &Output, target: &Target) -> Result<Connection, CommandError> {
    connect_as_built(output, target, &SimulatorArgs::default()).await
}

async fn connect_with(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
    build: Build,
) -> Result<Connection, CommandError> {
    if let Some(name) = &target.stack {
        let config = stack::aws_environment().await;
        let outputs = stack::deployed(&config, name).await?;
        let base = outputs.get("ApiEndpoint").cloned().unwrap_or_default();
        return Ok(Connection { api: Api::new(&config, &base)?, stack: None });
    }
    let stack = start(output, target, args, build, false).await?;
    let api = Api::new(&stack::aws_config(&stack), &stack.api_url())?;
    Ok(Connection { api, stack: Some(stack) })
}

/// A signed request as on AWS, with the local stack's credentials.
const CURL: &str = "curl --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test";

pub(super) async fn up(output: &Output, target: &Target, args: UpArgs) -> Result<(), CommandError> {
    let stack = start(output, target, &args.simulator, Build::IfChanged, true).await?;
    let (endpoint, simulator) = (stack.endpoint_url(), stack.simulator_url());
    let set: String =
        args.simulator.set.iter().map(|(name, value)| format!("\n  set:        {name}={value}")).collect();
    let api = stack.api_url();
    // In single quotes, since the URL contains a dollar sign.
    let text = format!(
        "The stack is up until `cargo fresco down`.\n  API:        {api}\n  AWS:        {endpoint} (region {})\n  providers:  {simulator} (simulated; GET /_control/counters)\n  state:      {}{set}\n\n\
         {CURL} '{api}/runs?input=a%20lighthouse%20at%20dusk' -H 'content-type: application/yaml' --data-binary @events/pipelines/one-image.yaml\n\
         {CURL} '{api}/runs?limit=5'\n\
         {CURL} '{api}/models?type=text_to_image'",
        stack.region(),
        stack.instance().display()
    );
    let object = json!({"event": "up", "api_url": api, "endpoint_url": endpoint, "region": stack.region(), "simulator_url": simulator, "instance": stack.instance(), "outputs": stack.outputs(), "parameters": stack.parameters()});
    output.result(|| Some(text), &object);
    Ok(())
}

pub(super) async fn down(output: &Output, target: &Target, purge: bool) -> Result<(), CommandError> {
    let layout = Layout::find()?;
    let folder = instance(&layout, target);
    let progress = progress(output);
    let existed = folder.exists();
    let ended = if purge { stack::purge(&folder, &progress)? } else { stack::stop(&folder, &progress)? };
    let text = match (ended, purge && existed) {
        (true, true) => "The stack is down, and its state is removed.",
        (true, false) => "The stack is down; its state is kept.",
        (false, true) => "The state of the stack is removed.",
        (false, false) => "No stack was up.",
    };
    output.result(|| Some(text.to_owned()), &json!({"event": "down", "ended": ended, "purged": purge && existed}));
    Ok(())
}

pub(super) async fn package(output: &Output, release: bool) -> Result<(), CommandError> {
    let layout = Layout::find()?;
    let progress = progress(output);
    let package = stack::package(&layout, release, &progress)?;
    let text = || Some(format!("{} ({})", package.path.display(), size(package.bytes)));
    output.result(
        text,
        &json!({"event": "package", "path": package.path, "bytes": package.bytes, "sha256": package.sha256}),
    );
    Ok(())
}

fn instance(layout: &Layout, target: &Target) -> PathBuf {
    target.state.clone().unwrap_or_else(|| layout.instance("local"))
}

/// Shows the steps of a start; their details are only in its logs.
pub(super) fn progress(output: &Output) -> Progress {
    let shown = output.clone();
    Progress::new(move |message| {
        if let ProgressMessage::Step(text) = message {
            shown.progress(&text);
        }
    })
}
