//! The record of the last start, in `running.json`: enough to attach to a stack that `up` left running, and to take its ports
//! again. The locks of its processes show whether they live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files;
use super::layout::Instance;

/// The last start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: String,
    /// Whether the stack outlives the command that started it.
    pub(crate) left_running: bool,
    pub(crate) settings: Settings,
    /// Webhooks and pending jobs hold addresses with these ports, so a start takes them again if they are free.
    pub(crate) emulator_port: Option<u16>,
    pub(crate) simulator_port: Option<u16>,
}

/// The settings of a stack; a command that attaches to it takes them as its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) release: bool,
    pub(crate) scale: f64,
    pub(crate) concurrency: usize,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// The version that may attach to a stack that it started: the emulator's scripts and packages belong to it.
pub(crate) fn version() -> String {
    let mut hash = Sha256::new();
    hash.update(include_bytes!("../../../emulator/start.py"));
    hash.update(include_bytes!("../../../emulator/count.py"));
    hash.update(include_bytes!("../../../emulator/lifecycle.py"));
    hash.update(include_bytes!("../../../emulator/schedules.py"));
    hash.update(include_bytes!("../../../emulator/requirements.txt"));
    format!("{}+{}", env!("CARGO_PKG_VERSION"), &hex::encode(hash.finalize())[..12])
}

impl Record {
    /// The record in the folder; an empty one where there is none, or half of one.
    pub(crate) fn read(instance: &Instance) -> Self {
        files::read_json(&instance.running()).unwrap_or_default()
    }

    pub(crate) fn write(&self, instance: &Instance) -> anyhow::Result<()> {
        files::write_json(&instance.running(), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_half_a_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        assert_eq!(Record::read(&instance), Record::default());
        let record = Record { version: version(), left_running: true, emulator_port: Some(7), ..Record::default() };
        record.write(&instance).unwrap();
        assert_eq!(Record::read(&instance), record);
        std::fs::write(instance.running(), "{\"version\":").unwrap();
        assert_eq!(Record::read(&instance), Record::default());
    }
}
