//! The stack on this machine: the emulator of AWS, the simulated providers, and the project's own template deployed to
//! them. A stack is started for as long as one command needs it, or left running for many; its state stays either way.

mod aws;
mod build;
mod child;
mod cloudformation;
mod command;
mod deploy;
mod emulator;
mod error;
mod exports;
mod files;
mod http;
mod layout;
mod lock;
mod package;
mod parameters;
mod progress;
mod simulator;
mod start;
mod state_file;
mod stop;
mod template;
#[cfg(test)]
mod template_tests;
mod venv;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_config::SdkConfig;
use fresco_pipeline::time::Millis;

pub use aws::{REGION, environment as aws_environment};
pub use cloudformation::deployed;
pub use error::Error;
pub use layout::Layout;
pub use package::{Package, package};
pub use parameters::{ParameterProblem, check_parameters};
pub use progress::{Progress, ProgressMessage};
pub use stop::{purge, stop};

use deploy::Deployed;
use lock::Lock;
use parameters::Declared;
use start::Started;

/// The name of the CloudFormation stack in every instance.
pub const STACK_NAME: &str = "fresco";

/// Whether a start builds the functions and the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Builds them where their sources changed, and deploys them.
    IfChanged,
    /// Builds nothing: a stack that is up is taken as it is, another is started from the last build.
    Last,
}

/// The options of a start. A stack that is up is taken as it is: only `layout`, `instance`, `keep`, `build`, `lifecycle_now` and
/// `progress` count then, and `parameters` must be those that it has.
#[derive(Debug, Clone)]
pub struct Options {
    /// The project.
    pub layout: Layout,
    /// The folder of this stack's state.
    pub instance: PathBuf,
    /// Leave it running when this command ends.
    pub keep: bool,
    /// Whether it builds.
    pub build: Build,
    /// Deploy release builds instead of dev builds.
    pub release: bool,
    /// The emulator's port; a free one otherwise.
    pub port: Option<u16>,
    /// Factor on the providers' typical durations; 0 answers at once.
    pub scale: f64,
    /// The number of requests that a simulated provider works on at once.
    pub concurrency: usize,
    /// Factor on the Wait states and retry delays of state machines; 1 otherwise.
    pub wait_scale: Option<f64>,
    /// The folder of failpoints: files in it end functions built for development at the points they name.
    pub crashes: Option<PathBuf>,
    /// For tests: how long a transaction holds its items, in milliseconds. Writes of the same items are in conflict then.
    pub conflicts_ms: Option<u32>,
    /// Let the emulator count requests ([`Stack::requests`]). It saves its state at its end only, then.
    pub measure: bool,
    /// Values for the template's parameters, over the local ones.
    pub parameters: BTreeMap<String, String>,
    /// The time as of which the buckets' lifecycle is carried out, in milliseconds since the Unix epoch; now otherwise.
    pub lifecycle_now: Option<Millis>,
    /// The receiver of progress messages.
    pub progress: Progress,
}

impl Options {
    /// The command's own stack, under `.fresco/local`.
    pub fn new(layout: Layout) -> Self {
        Self {
            instance: layout.instance("local"),
            layout,
            keep: false,
            build: Build::IfChanged,
            release: false,
            port: None,
            scale: 0.2,
            concurrency: 40,
            wait_scale: None,
            crashes: None,
            conflicts_ms: None,
            measure: false,
            parameters: BTreeMap::new(),
            lifecycle_now: None,
            progress: Progress::silent(),
        }
    }
}

/// A started stack. Dropping it ends the processes that were started for it, unless they are left running.
#[derive(Debug)]
pub struct Stack {
    endpoint_url: String,
    simulator_url: String,
    emulator_port: u16,
    simulator_port: u16,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    instance: PathBuf,
    attached: bool,
    // In this order: the processes end before the lock is released.
    _processes: Option<start::Processes>,
    _lock: Option<Lock>,
}

impl Stack {
    /// Builds, starts and deploys what is needed, or attaches to the stack that is up. One command at a time has a stack for
    /// itself; a second waits, unless the stack is up.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let blocking = options.clone();
        let started = tokio::task::spawn_blocking(move || start::start(&blocking)).await??;
        let config = aws::config(&started.endpoint_url());
        let Deployed { outputs, parameters } = started.deployment(&options).ensure(&config, &options.progress).await?;
        for (provider, key) in simulator::KEYS {
            deploy::put_secret(&config, &outputs, provider.key_name(), key).await?;
        }
        let parameters = Declared::read(&options.layout.template())?.values(&parameters);
        exports::ensure(&config, parameters.get("ExportBucket").map_or("", String::as_str)).await?;
        let (port, now) = (started.emulator_port, options.lifecycle_now);
        let removed = tokio::task::spawn_blocking(move || emulator::apply_lifecycle(port, now)).await??;
        // A stack that was up has continued what its last end interrupted.
        let resumed = match started.processes {
            Some(_) => tokio::task::spawn_blocking(move || emulator::resume(port)).await??,
            None => None,
        };
        for line in removed.into_iter().chain(resumed) {
            options.progress.step(line);
        }
        let Started { instance, lock, mut processes, emulator_port, simulator_port, mut record, .. } = started;
        let attached = processes.is_none();
        if options.keep
            && let Some(started) = &mut processes
        {
            started.leave_running();
            record.left_running = true;
            record.write(&instance)?;
        }
        Ok(Self {
            endpoint_url: url(emulator_port),
            simulator_url: url(simulator_port),
            emulator_port,
            simulator_port,
            outputs,
            parameters,
            instance: instance.folder().to_owned(),
            attached,
            _processes: processes,
            _lock: (!record.left_running).then_some(lock),
        })
    }

    /// Base URL of the AWS services: `http://127.0.0.1:PORT`.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// The region, [`REGION`].
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Base URL of the simulated providers.
    pub fn simulator_url(&self) -> &str {
        &self.simulator_url
    }

    /// Calls a control route of the simulated providers, and returns its JSON answer.
    pub fn control(&self, method: &str, route: &str, body: &serde_json::Value) -> Result<serde_json::Value, Error> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::json(self.simulator_port, method, &format!("/_control/{route}"), &body);
        Ok(answer.context("the simulator refused a control request")?)
    }

    /// The emulator's counts since it started, as JSON: requests by caller, service and operation with DynamoDB's units, and
    /// functions with their time. Only where [`Options::measure`] was set.
    pub fn requests(&self) -> Result<String, Error> {
        Ok(emulator::requests(self.emulator_port)?)
    }

    /// Base URL of the stack's HTTP API.
    pub fn api_url(&self) -> String {
        // Without the output there is no stack either.
        deploy::public_url(&self.endpoint_url, &self.outputs).unwrap_or_default()
    }

    /// The template's outputs, by name.
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// The output of that name; empty where the template has none such.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// The values of the template's parameters, by name.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// The value of that parameter; empty where the template has none such.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The folder of its state and logs.
    pub fn instance(&self) -> &Path {
        &self.instance
    }

    /// Whether its emulator has ended.
    pub fn has_ended(&self) -> bool {
        !emulator::answers(self.emulator_port)
    }

    /// Whether it was up already.
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Ends the processes that were started for it, without blocking the caller's thread. Dropping it does the same, blocking.
    pub async fn close(self) {
        // A panic in it would have been the drop's, and has nowhere better to go.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }
}

/// A configuration for AWS clients of this stack, with credentials that open nothing else.
pub fn aws_config(stack: &Stack) -> SdkConfig {
    aws::config(&stack.endpoint_url)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
