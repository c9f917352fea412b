//! Starting: the lock, what an earlier command left, the build beside the emulator, then the simulator. All of it blocks,
//! so it runs on a thread for blocking work.

use std::collections::BTreeMap;
use std::env;
use std::thread;

use serde::{Deserialize, Serialize};

use super::build::{self, Built};
use super::deploy::Deployment;
use super::emulator::{self, Emulator, Wanted};
use super::error::Error;
use super::files;
use super::http;
use super::layout::Instance;
use super::lock::Lock;
use super::package;
use super::parameters;
use super::simulator::{self, Simulator};
use super::state_file::{self, Process, Running, Settings};
use super::template_parameters::TemplateParameters;
use super::{Options, STACK_NAME, url, venv, version};

/// The message of a second command.
pub(crate) const BUSY: &str = "another fresco command is using this stack; waiting for it";

/// What this command started.
#[derive(Debug)]
pub(crate) struct Processes {
    // In this order: the simulator ends first, and does not call webhooks of an emulator that is gone.
    simulator: Option<Simulator>,
    emulator: Option<Emulator>,
}

impl Processes {
    pub(crate) fn keep(&mut self) {
        if let Some(emulator) = &mut self.emulator {
            emulator.process.keep();
        }
        if let Some(simulator) = &mut self.simulator {
            simulator.process.keep();
        }
    }
}

/// Everything runs, and the template is not deployed yet.
#[derive(Debug)]
pub(crate) struct Begun {
    // Dropped in this order where the deployment fails: first the processes, then the lock.
    pub(crate) processes: Option<Processes>,
    pub(crate) lock: Lock,
    pub(crate) instance: Instance,
    pub(crate) emulator_port: u16,
    pub(crate) simulator_port: u16,
    pub(crate) running: Running,
    user_id: String,
}

/// The ports of the last start. Webhooks and pending jobs hold addresses with them, so they are taken again if they are free.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Ports {
    emulator: Option<u16>,
    simulator: Option<u16>,
}

/// Starts what is not running, or finds the stack that is up.
pub(crate) fn begin(options: &Options) -> Result<Begun, Error> {
    let progress = &options.progress;
    let instance = Instance::open(&options.instance)?;
    let lock = Lock::take(&instance.lock(), BUSY, progress)?;
    version::check(&instance)?;
    if let Some(running) = Running::read(&instance) {
        if running.is_up() {
            return attach(options, instance, lock, running);
        }
        running.end(&instance, progress)?;
    }
    // What would fail anyway fails before the build.
    if let Some(port) = options.port.filter(|&port| !http::is_free(port)) {
        return Err(Error::PortTaken { port });
    }
    venv::check(&options.layout)?;
    let settings = Settings {
        release: options.release,
        scale: options.scale,
        concurrency: options.concurrency,
        parameters: options.parameters.clone(),
    };
    let ports_file = instance.folder().join("ports.json");
    let ports: Ports = files::read_json(&ports_file).unwrap_or_default();
    let mut running = None;
    let (built, emulator) = thread::scope(|scope| {
        // The build uses the cores; the environment and the emulator mostly wait.
        let building = scope.spawn(|| build_and_pack(options, settings.release));
        let python = venv::ensure(&options.layout, progress)?;
        let wanted = Wanted {
            port: options.port,
            last_port: ports.emulator,
            wait_scale: options.wait_scale,
            crashes: options.crashes.clone(),
            measure: options.measure,
        };
        let emulator = emulator::start(&options.layout, &instance, &python, &wanted, progress, |emulator| {
            let record = Running {
                version: state_file::version(),
                // Only what will live on may be attached to, so this is set when all is done.
                kept: false,
                settings: settings.clone(),
                emulator: Process { identity: emulator.process.identity().clone(), port: emulator.port },
                simulator: None,
            };
            record.write(&instance)?;
            running = Some(record);
            Ok(())
        })?;
        let built = building.join().map_err(|_| Error::Interrupted)??;
        Ok::<_, Error>((built, emulator))
    })?;
    let mut running = running.ok_or(Error::Interrupted)?;
    let simulator = start_simulator(&built, &instance, &mut running, ports.simulator, options)?;
    let ports = Ports { emulator: Some(emulator.port), simulator: Some(simulator.port) };
    files::write_json(&ports_file, &ports)?;
    Ok(Begun {
        user_id: simulator::user_id(simulator.port)?,
        emulator_port: emulator.port,
        simulator_port: simulator.port,
        processes: Some(Processes { simulator: Some(simulator), emulator: Some(emulator) }),
        lock,
        instance,
        running,
    })
}

/// Uses the stack that is up. What was built since is deployed to it all the same.
fn attach(options: &Options, instance: Instance, lock: Lock, mut running: Running) -> Result<Begun, Error> {
    if running.version != state_file::version() {
        return Err(Error::OtherVersion { instance: instance.folder().to_owned(), found: running.version });
    }
    if !options.parameters.is_empty() {
        let declared = TemplateParameters::read(&options.layout.template())?;
        let differences = parameters::differences(&declared, &running.settings.parameters, &options.parameters);
        if !differences.is_empty() {
            let differences = differences.join(", ");
            return Err(Error::OtherParameters { instance: instance.folder().to_owned(), differences });
        }
    }
    options.progress.detail("using the stack that is up");
    let built = build_and_pack(options, running.settings.release)?;
    let simulator_port = match running.simulator_up() {
        Some(port) => port,
        None => {
            let last = running.simulator.as_ref().map(|simulator| simulator.port);
            let mut simulator = start_simulator(&built, &instance, &mut running, last, options)?;
            simulator.process.keep();
            simulator.port
        }
    };
    Ok(Begun {
        user_id: simulator::user_id(simulator_port)?,
        emulator_port: running.emulator.port,
        simulator_port,
        processes: None,
        lock,
        instance,
        running,
    })
}

fn build_and_pack(options: &Options, release: bool) -> Result<Built, Error> {
    let built = build::build(&options.layout, release, &options.progress)?;
    package::pack_all(&options.layout, &built, &options.progress)?;
    Ok(built)
}

fn start_simulator(
    built: &Built,
    instance: &Instance,
    running: &mut Running,
    last_port: Option<u16>,
    options: &Options,
) -> Result<Simulator, Error> {
    let Settings { scale, concurrency, .. } = running.settings;
    let emulator = &running.emulator.identity;
    let simulator =
        simulator::start(built.simulator()?, instance, emulator, scale, concurrency, last_port, &options.progress)?;
    running.simulator = Some(Process { identity: simulator.process.identity().clone(), port: simulator.port });
    running.write(instance)?;
    Ok(simulator)
}

impl Begun {
    pub(crate) fn endpoint_url(&self) -> String {
        url(self.emulator_port)
    }

    /// The project's template with what differs on this machine: addresses, the account, the processor.
    pub(crate) fn deployment(&self, options: &Options) -> Deployment {
        let mut parameters = own_parameters(&url(self.simulator_port), &self.user_id);
        parameters.extend(parameters::with_local(&self.running.settings.parameters));
        Deployment {
            stack: STACK_NAME,
            template: options.layout.template(),
            parameters,
            endpoint_url: self.endpoint_url(),
            note: self.instance.deployed(),
            scratch: self.instance.scratch(),
        }
    }
}

/// What differs on this machine, but for the address of the API, which is known only once there is one.
fn own_parameters(simulator: &str, user_id: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("FalQueueUrl".to_owned(), format!("{simulator}/fal/queue")),
        ("FalRestUrl".to_owned(), format!("{simulator}/fal/rest")),
        ("FalApiUrl".to_owned(), format!("{simulator}/fal/api")),
        ("FalMediaHosts".to_owned(), simulator.to_owned()),
        ("GeminiUrl".to_owned(), format!("{simulator}/gemini")),
        ("FalUserId".to_owned(), user_id.to_owned()),
        ("Architecture".to_owned(), architecture().to_owned()),
    ])
}

fn architecture() -> &'static str {
    if env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_start_sets_cannot_be_set_by_hand() {
        let own = own_parameters("http://127.0.0.1:1", "user");
        let mut names: Vec<&str> = own.keys().map(String::as_str).chain(["PublicUrl"]).collect();
        names.sort_unstable();
        assert_eq!(names, parameters::OWN.map(|(name, _)| name));
    }
}
