//! `fresco up`, `down`, `package`, and the stack that the other commands work on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fresco_cli::api::Api;
use fresco_cli::stack::{self, Layout, Notice, Options, Progress, Stack};
use fresco_cli::storage::{Parts, StackAdmin};
use fresco_cli::view::{duration, table};
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, Ended, Place, SimulatorArgs, UpArgs};

/// The stack for a command: the one that is up, or one for as long as the command goes on.
pub(super) async fn start(output: &Output, place: &Place, scale: f64, keep: bool) -> Result<Stack, Ended> {
    start_with(output, place, &SimulatorArgs { scale, set: Vec::new() }, keep).await
}

/// The same with values for the template's parameters, which are looked at before anything is built.
pub(super) async fn start_with(
    output: &Output,
    place: &Place,
    args: &SimulatorArgs,
    keep: bool,
) -> Result<Stack, Ended> {
    let layout = Layout::find()?;
    let parameters: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let problems = stack::check_parameters(&layout, &parameters)?;
    for problem in &problems {
        output.error(problem.code(), &problem.to_string());
    }
    if !problems.is_empty() {
        return Err(Ended::Code(EXIT_INPUT));
    }
    let begun = Instant::now();
    let options = Options {
        instance: instance(&layout, place),
        keep,
        port: place.port,
        scale: args.scale,
        parameters,
        progress: progress(output),
        ..Options::new(layout)
    };
    let stack = Stack::start(options).await?;
    if !stack.attached() {
        let took = duration(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
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
pub(super) async fn kept(output: &Output, place: &Place) -> Result<Kept, Ended> {
    if let Some(name) = &place.stack {
        let aws = fresco_ledger::services::aws::connect().await;
        let outputs = stack::deployed(aws.config(), name).await?;
        return Ok(Kept { admin: StackAdmin::new(&aws, &Parts::of(&outputs))?, _stack: None });
    }
    let stack = start(output, place, 0.2, false).await?;
    let aws = fresco_ledger::services::aws::connect_local(stack.endpoint_url()).await;
    Ok(Kept { admin: StackAdmin::new(&aws, &Parts::of(stack.outputs()))?, _stack: Some(stack) })
}

/// The API that a command asks, and the stack on this machine if it is one: it ends with this.
pub(super) struct Asked {
    pub(super) api: Api,
    stack: Option<Stack>,
}

impl Asked {
    /// Whether the stack is there when the command has ended.
    pub(super) fn stays(&self) -> bool {
        self.stack.as_ref().is_none_or(Stack::attached)
    }
}

/// The stack of `--stack`, or the one on this machine.
pub(super) async fn asked(output: &Output, place: &Place, args: &SimulatorArgs) -> Result<Asked, Ended> {
    if let Some(name) = &place.stack {
        let config = fresco_ledger::services::aws::connect().await;
        let outputs = stack::deployed(config.config(), name).await?;
        let base = outputs.get("ApiEndpoint").cloned().unwrap_or_default();
        return Ok(Asked { api: Api::new(config.config(), &base)?, stack: None });
    }
    let stack = start_with(output, place, args, false).await?;
    let api = Api::new(&stack::aws_config(&stack), &stack.api_url())?;
    Ok(Asked { api, stack: Some(stack) })
}

/// The same for commands that have no simulator to set up.
pub(super) async fn asked_plainly(output: &Output, place: &Place) -> Result<Asked, Ended> {
    asked(output, place, &SimulatorArgs { scale: 0.2, set: Vec::new() }).await
}

/// Signed as on AWS; here with credentials that open nothing else.
const CURL: &str = "curl --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test";

pub(super) async fn up(output: &Output, place: &Place, args: UpArgs) -> Result<(), Ended> {
    let stack = start_with(output, place, &args.simulator, true).await?;
    let (endpoint, simulator) = (stack.endpoint_url(), stack.simulator_url());
    let set: String =
        args.simulator.set.iter().map(|(name, value)| format!("\n  set:        {name}={value}")).collect();
    let api = stack.api_url();
    // In single quotes: there is a dollar in the address.
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

pub(super) async fn down(output: &Output, place: &Place, purge: bool) -> Result<(), Ended> {
    let layout = Layout::find()?;
    let folder = instance(&layout, place);
    let progress = progress(output);
    let there = folder.exists();
    let ended = if purge { stack::purge(&folder, &progress)? } else { stack::stop(&folder, &progress)? };
    let text = match (ended, purge && there) {
        (true, true) => "The stack is down, and what it held is removed.",
        (true, false) => "The stack is down; what it holds is kept for the next time.",
        (false, true) => "What the stack held is removed.",
        (false, false) => "No stack was up.",
    };
    output.result(|| Some(text.to_owned()), &json!({"event": "down", "ended": ended, "purged": purge && there}));
    Ok(())
}

pub(super) async fn package(output: &Output, release: bool) -> Result<(), Ended> {
    let layout = Layout::find()?;
    let progress = progress(output);
    let artifacts = stack::package(&layout, release, &progress)?;
    let text = || {
        use table::Align::{Left, Right};
        let kib = |bytes: u64| format!("{:.1}", bytes as f64 / 1_048_576.0);
        let rows = artifacts
            .iter()
            .map(|artifact| vec![artifact.name.clone(), kib(artifact.bytes), artifact.path.display().to_string()]);
        Some(table::layout(&[("function", Left), ("MiB", Right), ("package", Left)], &rows.collect::<Vec<_>>()))
    };
    let list: Vec<_> = artifacts
        .iter()
        .map(|artifact| json!({"function": artifact.name, "bytes": artifact.bytes, "path": artifact.path}))
        .collect();
    output.result(text, &json!({"event": "packages", "packages": list}));
    Ok(())
}

fn instance(layout: &Layout, place: &Place) -> PathBuf {
    place.state.clone().unwrap_or_else(|| layout.instance("local"))
}

/// Stages are shown; what goes on within one only in its log.
pub(super) fn progress(output: &Output) -> Progress {
    let shown = output.clone();
    Progress::new(move |notice| {
        if let Notice::Step(text) = notice {
            shown.progress(&text);
        }
    })
}
