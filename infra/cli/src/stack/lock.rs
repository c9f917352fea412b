//! Locks between commands: a file that the kernel unlocks when its holder ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::error::Error;
use super::progress::Progress;

/// A held lock; let go of when dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Waits for the lock, and says so when it has to wait.
    pub(crate) fn take(path: &Path, waiting: &str, progress: &Progress) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::file("cannot make", folder))?;
        }
        let file =
            File::options().create(true).append(true).open(path).map_err(Error::file("cannot open the lock", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.step(waiting);
                file.lock().map_err(Error::file("cannot lock", path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::file("cannot lock", path)(source)),
        }
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_second_waits_says_so_and_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/lock");
        let first = Lock::take(&path, "wait", &Progress::silent()).unwrap();
        let (said, heard) = mpsc::channel();
        let second = thread::spawn(move || {
            let progress = Progress::new(move |notice| drop(said.send(notice.to_string())));
            Lock::take(&path, "wait", &progress).map(drop)
        });
        assert_eq!(heard.recv().unwrap(), "wait");
        drop(first);
        second.join().unwrap().unwrap();
    }
}
