//! `fresco up`, `down` and `package`, and the connection of other commands to their stack.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fresco_cli::api::Api;
use fresco_cli::stack::{self, Layout, Notice, Options, Progress, Stack};
use fresco_cli::storage::{Parts, StackAdmin};
use fresco_cli::view::duration;
use fresco_cli::view::table::table;
use serde_json::json;

use super::output::Output;
use super::{CommandError, EXIT_INPUT, SimulatorArgs, Target, UpArgs};

/// Returns the stack that is up, or starts one for the time of the command.
pub(super) async fn start(output: &Output, target: &Target, scale: f64, keep: bool) -> Result<Stack, CommandError> {
    start_with(output, target, &SimulatorArgs { scale, set: Vec::new() }, keep).await
}

/// Does the same with values for the template's parameters, which are checked before anything is built.
pub(super) async fn start_with(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
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

/// The table and bucket that a command looks after, and the stack on this machine if it is one: it ends with this.
pub(super) struct Kept {
    pub(super) admin: StackAdmin,
    _stack: Option<Stack>,
}

/// Those of `--stack`, or of the stack on this machine.
pub(super) async fn kept(output: &Output, target: &Target) -> Result<Kept, CommandError> {
    if let Some(name) = &target.stack {
        let aws = fresco_ledger::aws::connect().await;
        let outputs = stack::deployed(aws.config(), name).await?;
        return Ok(Kept { admin: StackAdmin::new(&aws, &Parts::of(&outputs))?, _stack: None });
    }
    let stack = start(output, target, 0.2, false).await?;
    let aws = fresco_ledger::aws::connect_local(stack.endpoint_url()).await;
    Ok(Kept { admin: StackAdmin::new(&aws, &Parts::of(stack.outputs()))?, _stack: Some(stack) })
}

/// A client of a stack's API, with the local stack if it is one, which ends with the connection.
pub(super) struct Connection {
    pub(super) api: Api,
    stack: Option<Stack>,
}

impl Connection {
    /// Returns whether the stack stays up after the command.
    pub(super) fn stays(&self) -> bool {
        self.stack.as_ref().is_none_or(Stack::attached)
    }
}

/// Connects to the stack of `--stack`, or to the local one.
pub(super) async fn connect(
    output: &Output,
    target: &Target,
    args: &SimulatorArgs,
) -> Result<Connection, CommandError> {
    if let Some(name) = &target.stack {
        let config = fresco_ledger::aws::connect().await;
        let outputs = stack::deployed(config.config(), name).await?;
        let base = outputs.get("ApiEndpoint").cloned().unwrap_or_default();
        return Ok(Connection { api: Api::new(config.config(), &base)?, stack: None });
    }
    let stack = start_with(output, target, args, false).await?;
    let api = Api::new(&stack::aws_config(&stack), &stack.api_url())?;
    Ok(Connection { api, stack: Some(stack) })
}

/// Does the same for commands without settings of the simulator.
pub(super) async fn connect_default(output: &Output, target: &Target) -> Result<Connection, CommandError> {
    connect(output, target, &SimulatorArgs { scale: 0.2, set: Vec::new() }).await
}

/// A signed request as on AWS, with the local stack's credentials.
const CURL: &str = "curl --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test";

pub(super) async fn up(output: &Output, target: &Target, args: UpArgs) -> Result<(), CommandError> {
    let stack = start_with(output, target, &args.simulator, true).await?;
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
    let there = folder.exists();
    let ended = if purge { stack::purge(&folder, &progress)? } else { stack::stop(&folder, &progress)? };
    let text = match (ended, purge && there) {
        (true, true) => "The stack is down, and its state is removed.",
        (true, false) => "The stack is down; its state is kept.",
        (false, true) => "The state of the stack is removed.",
        (false, false) => "No stack was up.",
    };
    output.result(|| Some(text.to_owned()), &json!({"event": "down", "ended": ended, "purged": purge && there}));
    Ok(())
}

pub(super) async fn package(output: &Output, release: bool) -> Result<(), CommandError> {
    let layout = Layout::find()?;
    let progress = progress(output);
    let artifacts = stack::package(&layout, release, &progress)?;
    let text = || {
        let table = table(&artifacts)
            .left("function", |artifact| artifact.name.clone())
            .right("MiB", |artifact| format!("{:.1}", artifact.bytes as f64 / 1_048_576.0))
            .left("package", |artifact| artifact.path.display().to_string());
        Some(table.text())
    };
    let list: Vec<_> = artifacts
        .iter()
        .map(|artifact| json!({"function": artifact.name, "bytes": artifact.bytes, "path": artifact.path}))
        .collect();
    output.result(text, &json!({"event": "packages", "packages": list}));
    Ok(())
}

fn instance(layout: &Layout, target: &Target) -> PathBuf {
    target.state.clone().unwrap_or_else(|| layout.instance("local"))
}

/// Shows the steps of a start; their details are only in its logs.
pub(super) fn progress(output: &Output) -> Progress {
    let shown = output.clone();
    Progress::new(move |notice| {
        if let Notice::Step(text) = notice {
            shown.progress(&text);
        }
    })
}
