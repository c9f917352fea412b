//! The stack on this machine: the emulator of AWS, the simulated providers, and the project's own template deployed to
//! them. A stack is started for as long as one command needs it, or left running for many; its state stays either way.

mod aws;
mod build;
mod child;
mod cloudformation;
mod command;
mod cors;
mod deploy;
mod emulator;
mod error;
mod exports;
mod files;
mod http;
mod layout;
pub(crate) mod lifecycle;
mod lock;
mod package;
mod parameters;
mod process;
mod progress;
mod simulator;
mod start;
mod state_file;
mod stop;
mod template;
mod template_parameters;
#[cfg(test)]
mod template_tests;
mod venv;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_config::SdkConfig;
use fresco_ledger::clock::SystemClock;
use fresco_ledger::traits::Clock;
use fresco_pipeline::time::Millis;

pub use aws::REGION;
pub use cloudformation::deployed;
pub use error::Error;
pub use layout::Layout;
pub use package::{Artifact, package};
pub use parameters::{ParameterProblem, check_parameters};
pub use progress::{Notice, Progress};
pub use state_file::{Status, status};
pub use stop::{purge, stop};

use deploy::Deployed;
use lock::Lock;
use start::Begun;
use template_parameters::TemplateParameters;

/// The name of the CloudFormation stack in every instance.
pub const STACK_NAME: &str = "fresco";

/// How a stack shall be started. Whoever attaches to one that is up takes it as it is: only `layout`, `instance`, `keep`,
/// `lifecycle_now` and `progress` count then, and `parameters` have to be those that it has.
#[derive(Debug, Clone)]
pub struct Options {
    /// The project.
    pub layout: Layout,
    /// The folder of this stack's state.
    pub instance: PathBuf,
    /// Leave it running when this command ends.
    pub keep: bool,
    /// Deploy release builds instead of dev builds.
    pub release: bool,
    /// The emulator's port; a free one otherwise.
    pub port: Option<u16>,
    /// Factor on the providers' typical durations; 0 answers at once.
    pub scale: f64,
    /// So many requests a simulated provider works on at once.
    pub concurrency: usize,
    /// Factor on the Wait states and retry delays of state machines; 1 otherwise.
    pub wait_scale: Option<f64>,
    /// The folder of crash points: files in it end functions built for development at the points they name.
    pub crashes: Option<PathBuf>,
    /// Let the emulator count requests ([`Stack::requests`]). It saves its state at its end only, then.
    pub measure: bool,
    /// Values for the template's parameters, over the local ones.
    pub parameters: BTreeMap<String, String>,
    /// The time as of which the buckets' lifecycle is carried out, in milliseconds since the Unix epoch; now otherwise.
    pub lifecycle_now: Option<Millis>,
    /// Where notices go.
    pub progress: Progress,
}

impl Options {
    /// The command's own stack, under `.fresco/local`.
    pub fn new(layout: Layout) -> Self {
        Self {
            instance: layout.instance("local"),
            layout,
            keep: false,
            release: false,
            port: None,
            scale: 0.2,
            concurrency: 40,
            wait_scale: None,
            crashes: None,
            measure: false,
            parameters: BTreeMap::new(),
            lifecycle_now: None,
            progress: Progress::silent(),
        }
    }
}

/// A started stack. Dropping it ends what was started for it, unless it is kept or was up before.
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
    // In this order: the processes end before the lock is let go of.
    _processes: Option<start::Processes>,
    _lock: Option<Lock>,
}

impl Stack {
    /// Builds, starts and deploys what is not yet, or attaches to the stack that `keep` left running. One command at a time
    /// has a stack for itself; a second waits, unless the stack is kept.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let blocking = options.clone();
        let begun =
            tokio::task::spawn_blocking(move || start::begin(&blocking)).await.map_err(|_| Error::Interrupted)??;
        let config = aws::config(&begun.endpoint_url());
        let Deployed { outputs, parameters } = begun.deployment(&options).ensure(&config, &options.progress).await?;
        for (provider, key) in simulator::KEYS {
            deploy::put_secret(&config, &outputs, provider.key_name(), key).await?;
        }
        let template = TemplateParameters::read(&options.layout.template())?;
        let parameters = template.values(&parameters);
        exports::ensure(&config, parameters.get("ExportBucket").map_or("", String::as_str)).await?;
        let now = options.lifecycle_now.unwrap_or_else(|| SystemClock.now());
        lifecycle::apply(&config, &template, &parameters, now, &options.progress).await?;
        let (port, api) = (begun.emulator_port, outputs.get("ApiId").cloned().unwrap_or_default());
        tokio::task::spawn_blocking(move || cors::apply(port, &api)).await.map_err(|_| Error::Interrupted)??;
        let Begun { instance, lock, mut processes, emulator_port, simulator_port, mut running, .. } = begun;
        let attached = processes.is_none();
        if options.keep
            && let Some(started) = &mut processes
        {
            started.keep();
            running.kept = true;
            running.write(&instance)?;
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
            _lock: (!running.kept).then_some(lock),
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

    /// Asks a control route of the simulated providers; its answer as JSON.
    pub fn control(&self, method: &str, route: &str, body: &serde_json::Value) -> Result<serde_json::Value, Error> {
        let asked = format!("asking the simulator for {route}");
        let failed = |message: String| Error::Aws { action: asked.clone(), message };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::send(self.simulator_port, method, &format!("/_control/{route}"), &body);
        let (status, answer) = answer.map_err(|error| failed(error.to_string()))?;
        if !(200..300).contains(&status) {
            return Err(failed(format!("{status}: {answer}")));
        }
        serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))
    }

    /// What has been asked of the emulator since it started, as JSON: requests by caller, service and operation with
    /// DynamoDB's units, and functions with their time. Only where [`Options::measure`] was set.
    pub fn requests(&self) -> Result<String, Error> {
        emulator::requests(self.emulator_port)
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

    /// Whether it was up already.
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Ends what was started for it, without blocking the caller's thread. Dropping it does the same, blocking.
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
