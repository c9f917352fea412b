//! Locks on files, which the kernel releases when their holder ends, however it ends. A lock keeps commands apart, and shows
//! whether a supervised process group lives.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::progress::Progress;

/// The message of a command that waits for another one.
pub(crate) const BUSY: &str = "another fresco command is using this stack; waiting for it";
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// A killed process releases its files at once.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A held lock; released when dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Waits for the lock, and says so when it has to wait.
    pub(crate) fn take(path: &Path, waiting: &str, progress: &Progress) -> anyhow::Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.step(waiting);
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display()))?,
        }
        Ok(Self(file))
    }

    /// Takes a free lock; for a process that inherits the file and so holds the lock for its lifetime.
    pub(crate) fn take_free(path: &Path) -> anyhow::Result<Self> {
        let file = open(path)?;
        file.try_lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self(file))
    }

    pub(crate) fn into_file(self) -> File {
        self.0
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let opened = File::options().read(true).append(true).create(true).open(path);
    opened.with_context(|| format!("cannot open the lock {}", path.display()))
}

/// A process group that holds the lock on a file for as long as a process of it lives. The file holds the id of its leader:
/// while the lock is held, neither that id nor the group's belongs to another process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a>(pub(crate) &'a Path);

impl Group<'_> {
    /// Whether a process of the group lives.
    pub(crate) fn lives(&self) -> bool {
        // A shared lock: two commands that look at the same time do not take each other for the group.
        File::open(self.0).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The id of the leader of the group, if it lives.
    pub(crate) fn leader(&self) -> Option<Pid> {
        let id = fs::read_to_string(self.0).ok()?.trim().parse().ok().filter(|&id: &i32| id > 1)?;
        self.lives().then(|| Pid::from_raw(id)).flatten()
    }

    /// Ends the group: terminates its leader, waits for `patience`, then kills all of it. `false` if it lives on.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        if let Some(leader) = self.leader() {
            // It may have ended meanwhile.
            let _ = kill_process(leader, Signal::TERM);
        }
        if !self.gone_within(patience)
            && let Some(leader) = self.leader()
        {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        self.gone_within(GONE_WITHIN)
    }

    fn gone_within(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.lives() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(CHECK_EVERY);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_second_waits_says_so_and_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/lock");
        let first = Lock::take(&path, "wait", &Progress::silent()).unwrap();
        let (said, heard) = mpsc::channel();
        let second = thread::spawn(move || {
            let progress = Progress::new(move |message| drop(said.send(message.to_string())));
            Lock::take(&path, "wait", &progress).map(drop)
        });
        assert_eq!(heard.recv().unwrap(), "wait");
        drop(first);
        second.join().unwrap().unwrap();
    }

    /// A shell that leads a group, holds the lock as its standard input, and runs the script.
    fn group(path: &Path, script: &str) -> Child {
        let lock = Lock::take_free(path).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(lock.into_file());
        let leader = command.spawn().unwrap();
        fs::write(path, leader.id().to_string()).unwrap();
        leader
    }

    #[test]
    fn a_group_lives_as_long_as_its_lock_is_held_and_ends_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!Group(&path).lives() && Group(&path).end(Duration::ZERO), "nothing was started");
        // The member of the group does not end with its leader, and still holds the lock.
        let mut leader = group(&path, "sleep 60 <&0 & wait");
        assert!(Group(&path).lives() && Group(&path).leader().is_some());
        assert!(Lock::take_free(&path).is_err());
        assert!(Group(&path).end(Duration::from_millis(200)));
        leader.wait().unwrap();
        assert!(!Group(&path).lives() && Group(&path).leader().is_none());
        assert!(Lock::take_free(&path).is_ok());
    }

    #[test]
    fn a_group_that_ignores_the_request_to_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut leader = group(&path, "trap '' TERM; sleep 60 <&0");
        thread::sleep(Duration::from_millis(100));
        assert!(Group(&path).end(Duration::from_millis(100)));
        leader.wait().unwrap();
    }
}
