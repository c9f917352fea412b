//! Ending a stack that was left running, and removing what it kept.

use std::fs;
use std::path::Path;

use super::error::Error;
use super::layout::Instance;
use super::lock::Lock;
use super::progress::Progress;
use super::start::BUSY;
use super::state_file::Running;

/// Ends what runs of the instance in that folder; `true` if something did. Its state stays. Where a command uses the stack
/// for itself, this waits for it.
pub fn stop(folder: &Path, progress: &Progress) -> Result<bool, Error> {
    if !folder.exists() {
        return Ok(false);
    }
    let instance = Instance::at(folder);
    let _lock = Lock::take(&instance.lock(), BUSY, progress)?;
    end(&instance, progress)
}

/// As [`stop`], and removes the folder with all its state: results stored there are generated again.
pub fn purge(folder: &Path, progress: &Progress) -> Result<bool, Error> {
    if !folder.exists() {
        return Ok(false);
    }
    let instance = Instance::at(folder);
    let _lock = Lock::take(&instance.lock(), BUSY, progress)?;
    let ended = end(&instance, progress)?;
    progress.step(format!("removing {}", folder.display()));
    // The lock file goes last: a command that waits for the lock then makes a folder of its own.
    for entry in fs::read_dir(folder).map_err(Error::file("cannot read", folder))? {
        let path = entry.map_err(Error::file("cannot read", folder))?.path();
        if path == instance.lock() {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::file("cannot remove", &path))?;
    }
    fs::remove_dir_all(folder).map_err(Error::file("cannot remove", folder))?;
    Ok(ended)
}

fn end(instance: &Instance, progress: &Progress) -> Result<bool, Error> {
    match Running::read(instance) {
        Some(running) => running.end(instance, progress),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_runs_nothing_ends_and_purge_removes_all() {
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
