//! Starts the processes of a stack, or attaches to one that is up. All of it blocks, so it runs on a thread for blocking work.

use std::collections::BTreeMap;
use std::env;
use std::thread;

use anyhow::{anyhow, bail};

use super::deploy::Deployment;
use super::emulator::{self, Emulator};
use super::layout::Instance;
use super::lock::{Group, Lock};
use super::package::{self, Package};
use super::parameters::{self, Declared};
use super::simulator::{self, Simulator};
use super::state_file::{self, Record, Settings};
use super::stop::end_processes;
use super::{Build, Options, STACK_NAME, url, venv, version};

/// The message of a second command.
pub(crate) const BUSY: &str = "another fresco command is using this stack; waiting for it";

/// The processes that this command started.
#[derive(Debug)]
pub(crate) struct Processes {
    // In this order: the simulator ends first, and does not call webhooks of an emulator that is gone.
    simulator: Simulator,
    emulator: Emulator,
}

impl Processes {
    pub(crate) fn leave_running(&mut self) {
        self.emulator.process.leave_running();
        self.simulator.process.leave_running();
    }
}

/// A stack whose processes run. Its template may not be deployed yet.
#[derive(Debug)]
pub(crate) struct Started {
    // Dropped in this order where the deployment fails: first the processes, then the lock.
    /// Absent where the stack was up.
    pub(crate) processes: Option<Processes>,
    pub(crate) lock: Lock,
    pub(crate) instance: Instance,
    pub(crate) emulator_port: u16,
    pub(crate) simulator_port: u16,
    pub(crate) record: Record,
    user_id: String,
}

/// Starts the processes, or attaches to the stack that is up.
pub(crate) fn start(options: &Options) -> anyhow::Result<Started> {
    let instance = Instance::open(&options.instance)?;
    let lock = Lock::take(&instance.lock(), BUSY, &options.progress)?;
    version::check(&instance)?;
    let record = Record::read(&instance);
    match record.emulator_port {
        Some(port) if is_up(&instance, &record, port) => attach(options, instance, lock, record, port),
        _ => {
            end_processes(&instance, &options.progress)?;
            start_processes(options, instance, lock, &record)
        }
    }
}

fn is_up(instance: &Instance, record: &Record, emulator_port: u16) -> bool {
    record.left_running && Group(&instance.emulator_lock()).lives() && emulator::answers(emulator_port)
}

fn start_processes(options: &Options, instance: Instance, lock: Lock, last: &Record) -> anyhow::Result<Started> {
    // What fails anyway fails before the build.
    options.port.map_or(Ok(()), emulator::check_port)?;
    venv::check(&options.layout)?;
    let mut record = Record {
        version: state_file::version(),
        // Set when all is deployed: no command attaches to a stack that is not whole.
        left_running: false,
        settings: Settings {
            release: options.release,
            scale: options.scale,
            concurrency: options.concurrency,
            parameters: options.parameters.clone(),
        },
        ..last.clone()
    };
    record.write(&instance)?;
    let release = options.release;
    let (package, emulator) = thread::scope(|scope| {
        // The build uses the cores; the environment and the emulator mostly wait.
        let packaging = scope.spawn(|| functions(options, release));
        let python = venv::ensure(&options.layout, &options.progress)?;
        let emulator = emulator::start(options, &instance, &python, last.emulator_port)?;
        let package = packaging.join().map_err(|_| anyhow!("the build was interrupted; try again"))??;
        Ok::<_, anyhow::Error>((package, emulator))
    })?;
    let emulator_id = emulator.process.id();
    let simulator =
        simulator::start(&package.simulator, options, &instance, emulator_id, &record.settings, last.simulator_port)?;
    record.emulator_port = Some(emulator.port);
    record.simulator_port = Some(simulator.port);
    record.write(&instance)?;
    Ok(Started {
        user_id: simulator::user_id(simulator.port)?,
        emulator_port: emulator.port,
        simulator_port: simulator.port,
        processes: Some(Processes { simulator, emulator }),
        lock,
        instance,
        record,
    })
}

/// Uses the stack that is up. A later build is deployed to it all the same.
fn attach(
    options: &Options,
    instance: Instance,
    lock: Lock,
    mut record: Record,
    emulator_port: u16,
) -> anyhow::Result<Started> {
    let folder = instance.folder().display();
    if record.version != state_file::version() {
        bail!(
            "the stack that is up in {folder} was started by another version of Fresco ({}); `cargo fresco down` ends it, \
             then try again",
            record.version
        );
    }
    if !options.parameters.is_empty() {
        let declared = Declared::read(&options.layout.template())?;
        let differences = declared.differences(&record.settings.parameters, &options.parameters);
        if !differences.is_empty() {
            bail!(
                "the stack that is up in {folder} has other parameters: {}; `cargo fresco down` ends it (its state stays), \
                 then `cargo fresco up --set …` starts it with these",
                differences.join(", ")
            );
        }
    }
    options.progress.detail("using the stack that is up");
    if options.build == Build::IfChanged {
        functions(options, record.settings.release)?;
    }
    let simulator_port = match record.simulator_port.filter(|&port| simulator_is_up(&instance, port)) {
        Some(port) => port,
        None => restart_simulator(options, &instance, &mut record)?,
    };
    Ok(Started {
        user_id: simulator::user_id(simulator_port)?,
        emulator_port,
        simulator_port,
        processes: None,
        lock,
        instance,
        record,
    })
}

fn simulator_is_up(instance: &Instance, port: u16) -> bool {
    Group(&instance.simulator_lock()).lives() && simulator::answers(port)
}

fn restart_simulator(options: &Options, instance: &Instance, record: &mut Record) -> anyhow::Result<u16> {
    Group(&instance.simulator_lock()).end(simulator::PATIENCE);
    let emulator = Group(&instance.emulator_lock()).leader();
    let emulator = emulator.ok_or_else(|| anyhow!("the emulator has ended meanwhile; try again"))?;
    let emulator_id = emulator.as_raw_nonzero().get().unsigned_abs();
    let binary = package::last(&options.layout)?.simulator;
    let mut simulator =
        simulator::start(&binary, options, instance, emulator_id, &record.settings, record.simulator_port)?;
    simulator.process.leave_running();
    record.simulator_port = Some(simulator.port);
    record.write(instance)?;
    Ok(simulator.port)
}

/// The functions' package: built where the sources changed, or the last one.
fn functions(options: &Options, release: bool) -> anyhow::Result<Package> {
    match options.build {
        Build::IfChanged => Ok(package::package(&options.layout, release, &options.progress)?),
        Build::Last => package::last(&options.layout),
    }
}

impl Started {
    pub(crate) fn endpoint_url(&self) -> String {
        url(self.emulator_port)
    }

    /// The deployment of the project's template with what differs on this machine: addresses, the account, the processor.
    pub(crate) fn deployment(&self, options: &Options) -> Deployment {
        let mut parameters = start_parameters(&url(self.simulator_port), &self.user_id);
        parameters.extend(parameters::with_local(&self.record.settings.parameters));
        Deployment {
            stack: STACK_NAME,
            template: options.layout.template(),
            parameters,
            endpoint_url: self.endpoint_url(),
            note: self.instance.deployed(),
            scratch: self.instance.scratch(),
            // A command that reads takes the stack that is up as it is.
            update: options.build == Build::IfChanged || self.processes.is_some(),
        }
    }
}

/// The parameters that the start sets, without the address of the API, which is known only once it exists.
fn start_parameters(simulator: &str, user_id: &str) -> BTreeMap<String, String> {
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
    fn a_parameter_of_the_start_cannot_be_set_by_hand() {
        let set = start_parameters("http://127.0.0.1:1", "user");
        let mut names: Vec<&str> = set.keys().map(String::as_str).chain(["PublicUrl"]).collect();
        names.sort_unstable();
        assert_eq!(names, parameters::SET_BY_START.map(|(name, _)| name));
    }
}
