//! What is on record of a started stack, in `running.json`: enough to attach to one that `up` left running, and to clear
//! away one whose command was killed.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::emulator;
use super::error::Error;
use super::files;
use super::layout::Instance;
use super::process::Identity;
use super::progress::Progress;
use super::simulator;

/// The emulator saves its state first.
const EMULATOR_PATIENCE: Duration = Duration::from_secs(20);
const SIMULATOR_PATIENCE: Duration = Duration::from_secs(5);

/// A process on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    pub(crate) port: u16,
}

/// A started stack on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) version: String,
    /// Whether it outlives the command that started it.
    pub(crate) kept: bool,
    pub(crate) settings: Settings,
    pub(crate) emulator: Process,
    pub(crate) simulator: Option<Process>,
}

/// How a stack was started; whoever attaches to it takes these for its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) release: bool,
    pub(crate) scale: f64,
    pub(crate) concurrency: usize,
    pub(crate) parameters: std::collections::BTreeMap<String, String>,
}

/// The version that may attach to what it started: the emulator's start script and packages belong to it.
pub(crate) fn version() -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(include_bytes!("../../../emulator/start.py"));
    hash.update(include_bytes!("../../../emulator/count.py"));
    hash.update(include_bytes!("../../../emulator/schedules.py"));
    hash.update(include_bytes!("../../../emulator/requirements.txt"));
    format!("{}+{}", env!("CARGO_PKG_VERSION"), &hex::encode(hash.finalize())[..12])
}

impl Running {
    pub(crate) fn read(instance: &Instance) -> Option<Self> {
        files::read_json(&instance.running())
    }

    pub(crate) fn write(&self, instance: &Instance) -> Result<(), Error> {
        files::write_json(&instance.running(), self)
    }

    /// Whether one can attach to it: kept, alive, and answering.
    pub(crate) fn is_up(&self) -> bool {
        self.kept && self.emulator.identity.alive() && emulator::answers(self.emulator.port)
    }

    /// Whether its simulator is alive and answers.
    pub(crate) fn simulator_up(&self) -> Option<u16> {
        let simulator = self.simulator.as_ref()?;
        (simulator.identity.alive() && simulator::answers(simulator.port)).then_some(simulator.port)
    }

    /// Ends what of it still lives, and takes it off the record. `true` if something lived.
    pub(crate) fn end(&self, instance: &Instance, progress: &Progress) -> Result<bool, Error> {
        let simulator = self.simulator.as_ref().map(|simulator| &simulator.identity);
        let lived = self.emulator.identity.alive() || simulator.is_some_and(Identity::alive);
        if lived {
            progress.step("ending the stack that was left running");
        }
        let does_not_end = |what, pid| Error::DoesNotEnd { what, pid, instance: instance.folder().to_owned() };
        if !self.emulator.identity.end(EMULATOR_PATIENCE) {
            return Err(does_not_end("emulator", self.emulator.identity.pid));
        }
        if let Some(simulator) = simulator.filter(|simulator| !simulator.end(SIMULATOR_PATIENCE)) {
            return Err(does_not_end("simulator", simulator.pid));
        }
        files::remove(&instance.running())?;
        Ok(lived)
    }
}

/// What is known of an instance from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether `up` left it running and it answers.
    pub up: bool,
    /// Where the emulator listens, or listened last.
    pub endpoint_url: String,
    /// Where the simulated providers listen, if they do.
    pub simulator_url: Option<String>,
    /// The process id of the emulator.
    pub pid: u32,
}

/// What is on record of the instance in that folder; `None` where no stack runs.
pub fn status(folder: &Path) -> Option<Status> {
    let running = Running::read(&Instance::at(folder))?;
    running.emulator.identity.alive().then(|| Status {
        up: running.is_up(),
        endpoint_url: format!("http://127.0.0.1:{}", running.emulator.port),
        simulator_url: running.simulator_up().map(|port| format!("http://127.0.0.1:{port}")),
        pid: running.emulator.identity.pid,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn record(pid: u32, port: u16, kept: bool) -> Running {
        let identity = Identity::of(pid).unwrap();
        Running {
            version: version(),
            kept,
            settings: Settings { release: false, scale: 0.2, concurrency: 4, parameters: BTreeMap::new() },
            emulator: Process { identity, port },
            simulator: None,
        }
    }

    /// The record of a process that is gone.
    fn stale() -> Running {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let running = record(child.id(), 1, true);
        child.kill().unwrap();
        child.wait().unwrap();
        running
    }

    #[test]
    fn a_stale_record_is_not_up_and_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        let running = stale();
        running.write(&instance).unwrap();
        assert_eq!(Running::read(&instance), Some(running.clone()));
        assert!(!running.is_up());
        assert_eq!(status(folder.path()), None);
        assert!(!running.end(&instance, &Progress::silent()).unwrap());
        assert_eq!(Running::read(&instance), None);
    }

    #[test]
    fn a_living_process_that_does_not_answer_is_not_up() {
        let running = record(std::process::id(), super::super::http::free_port().unwrap(), true);
        assert!(!running.is_up());
    }

    #[test]
    fn half_a_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        std::fs::write(instance.running(), "{\"version\":").unwrap();
        assert_eq!(Running::read(&instance), None);
    }
}
