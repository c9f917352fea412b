//! `fresco up`, `down`, `package`, and the stack that the other commands work on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fresco_cli::api::Api;
use fresco_cli::stack::{self, Build, Layout, Options, Progress, ProgressMessage, Stack};
use fresco_cli::storage::{Parts, StackAdmin};
use fresco_cli::view::{duration, size};
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, Ended, Place, SimulatorArgs, UpArgs};

/// The stack for a command: the one that is up, or one that ends with the command. `--set` is checked before anything is built.
async fn start(output: &Output, place: &Place, args: &SimulatorArgs, build: Build, keep: bool) -> Result<Stack, Ended> {
    let layout = Layout::find()?;
    let parameters: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let problems = stack::check_parameters(&layout, &parameters)?;
    for problem in &problems {
        output.error(problem.code(), &problem.to_string());
    }
    if !problems.is_empty() {
        return Err(Ended::Code(EXIT_INPUT));
    }
    let start = Instant::now();
    let options = Options {
        instance: instance(&layout, place),
        keep,
        build,
        port: place.port,
        scale: args.scale,
        parameters,
        progress: progress(output),
        ..Options::new(layout)
    };
    let stack = Stack::start(options).await?;
    if !stack.attached() {
        let took = duration(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX));
        output.progress(&format!("stack ready in {took} ({}, simulated providers)", stack.endpoint_url()));
    }
    Ok(stack)
}

/// The table and bucket that a command maintains, and the stack on this machine if it is one: it ends with this.
pub(super) struct Administered {
    pub(super) admin: StackAdmin,
    _stack: Option<Stack>,
}

/// Those of `--stack`, or of the stack on this machine.
pub(super) async fn administered(output: &Output, place: &Place) -> Result<Administered, Ended> {
    if let Some(name) = &place.stack {
        let aws = fresco_ledger::aws::connect().await;
        let outputs = stack::deployed(aws.config(), name).await?;
        return Ok(Administered { admin: StackAdmin::new(&aws, &Parts::of(&outputs))?, _stack: None });
    }
    let stack = start(output, place, &SimulatorArgs::default(), Build::Last, false).await?;
    let aws = fresco_ledger::aws::connect_local(stack.endpoint_url()).await;
    Ok(Administered { admin: StackAdmin::new(&aws, &Parts::of(stack.outputs()))?, _stack: Some(stack) })
}

/// The API that a command asks, and the stack on this machine if it is one: it ends with this.
pub(super) struct Asked {
    pub(super) api: Api,
    stack: Option<Stack>,
}

impl Asked {
    /// Whether the stack stays up when the command has ended.
    pub(super) fn stays(&self) -> bool {
        self.stack.as_ref().is_none_or(Stack::attached)
    }
}

/// The API for a command that generates: of `--stack`, or of the stack on this machine, built where its sources changed.
pub(super) async fn asked(output: &Output, place: &Place, args: &SimulatorArgs) -> Result<Asked, Ended> {
    ask(output, place, args, Build::IfChanged).await
}

/// The API for a command that reads or controls: nothing is built for it.
pub(super) async fn asked_as_built(output: &Output, place: &Place, args: &SimulatorArgs) -> Result<Asked, Ended> {
    ask(output, place, args, Build::Last).await
}

/// As [`asked_as_built`], for commands without options of the simulator.
pub(super) async fn asked_plainly(output: &Output, place: &Place) -> Result<Asked, Ended> {
    asked_as_built(output, place, &SimulatorArgs::default()).await
}

async fn ask(output: &Output, place: &Place, args: &SimulatorArgs, build: Build) -> Result<Asked, Ended> {
    if let Some(name) = &place.stack {
        let config = fresco_ledger::aws::connect().await;
        let outputs = stack::deployed(config.config(), name).await?;
        let base = outputs.get("ApiEndpoint").cloned().unwrap_or_default();
        return Ok(Asked { api: Api::new(config.config(), &base)?, stack: None });
    }
    let stack = start(output, place, args, build, false).await?;
    let api = Api::new(&stack::aws_config(&stack), &stack.api_url())?;
    Ok(Asked { api, stack: Some(stack) })
}

/// Signed as on AWS; here with credentials that open nothing else.
const CURL: &str = "curl --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test";

pub(super) async fn up(output: &Output, place: &Place, args: UpArgs) -> Result<(), Ended> {
    let stack = start(output, place, &args.simulator, Build::IfChanged, true).await?;
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
    let existed = folder.exists();
    let ended = if purge { stack::purge(&folder, &progress)? } else { stack::stop(&folder, &progress)? };
    let text = match (ended, purge && existed) {
        (true, true) => "The stack is down, and its state is removed.",
        (true, false) => "The stack is down; its state stays for the next time.",
        (false, true) => "The state of the stack is removed.",
        (false, false) => "No stack was up.",
    };
    output.result(|| Some(text.to_owned()), &json!({"event": "down", "ended": ended, "purged": purge && existed}));
    Ok(())
}

pub(super) async fn package(output: &Output, release: bool) -> Result<(), Ended> {
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

fn instance(layout: &Layout, place: &Place) -> PathBuf {
    place.state.clone().unwrap_or_else(|| layout.instance("local"))
}

/// Shows the stages of a start, and not the lines within one.
pub(super) fn progress(output: &Output) -> Progress {
    let shown = output.clone();
    Progress::new(move |message| {
        if let ProgressMessage::Step(text) = message {
            shown.progress(&text);
        }
    })
}
