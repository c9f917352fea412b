//! Ends a stack that was left running, and removes its state.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use super::error::Error;
use super::layout::Instance;
use super::lock::{Group, Lock};
use super::progress::Progress;
use super::start::BUSY;
use super::{emulator, simulator};

/// Ends the stack of the instance in that folder; `true` if it ran. Its state stays. This waits for a command that has the stack
/// for itself.
pub fn stop(folder: &Path, progress: &Progress) -> Result<bool, Error> {
    if !folder.exists() {
        return Ok(false);
    }
    let instance = Instance::at(folder);
    let _lock = Lock::take(&instance.lock(), BUSY, progress)?;
    Ok(end_processes(&instance, progress)?)
}

/// As [`stop`], and removes the folder with all its state: results stored there are generated again.
pub fn purge(folder: &Path, progress: &Progress) -> Result<bool, Error> {
    if !folder.exists() {
        return Ok(false);
    }
    let instance = Instance::at(folder);
    let _lock = Lock::take(&instance.lock(), BUSY, progress)?;
    let ended = end_processes(&instance, progress)?;
    progress.step(format!("removing {}", folder.display()));
    remove(&instance).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(ended)
}

fn remove(instance: &Instance) -> std::io::Result<()> {
    // The lock file is removed last: a command that waits for the lock then creates a folder of its own.
    for entry in fs::read_dir(instance.folder())? {
        let path = entry?.path();
        if path == instance.lock() {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    fs::remove_dir_all(instance.folder())
}

/// Ends the processes of the instance that live; `true` if one did.
pub(crate) fn end_processes(instance: &Instance, progress: &Progress) -> anyhow::Result<bool> {
    let processes = [
        ("simulator", instance.simulator_lock(), simulator::PATIENCE),
        ("emulator", instance.emulator_lock(), emulator::PATIENCE),
    ];
    let lives = processes.iter().any(|(_, lock, _)| Group(lock).lives());
    if lives {
        progress.step("ending the stack that was left running");
    }
    for (name, lock, patience) in &processes {
        ensure!(
            Group(lock).end(*patience),
            "the {name} does not end; end the process that holds {} (its id is in the file), then try again",
            lock.display()
        );
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_stack_stop_ends_nothing_and_purge_removes_the_state() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("local");
        assert!(!stop(&folder, &Progress::silent()).unwrap());
        Instance::open(&folder).unwrap();
        assert!(!stop(&folder, &Progress::silent()).unwrap());
        assert!(folder.join("state").is_dir());
        assert!(!purge(&folder, &Progress::silent()).unwrap());
        assert!(!folder.exists());
    }
}
