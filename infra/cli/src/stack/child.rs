//! A process that this command started. It ends with the command unless it is left running.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::error::tail_of;
use super::lock::Group;

const CHECK_EVERY: Duration = Duration::from_millis(20);
const TAIL: usize = 20;

/// A started process, the lock that its group holds, and its log. Dropping it ends the group.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    name: &'static str,
    child: Child,
    lock: PathBuf,
    log: PathBuf,
    patience: Duration,
    left_running: bool,
}

impl ChildProcess {
    /// Starts it with its output in the log. `patience` is the time it has to end by itself.
    pub(crate) fn spawn(
        name: &'static str,
        mut command: Command,
        lock: PathBuf,
        log: PathBuf,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        command.stdout(output).stderr(errors);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        let child =
            child.with_context(|| format!("`{program}` cannot be started; remove .fresco/venv and try again"))?;
        // `command` is dropped here: a lock that it passed to the child must not be held by this process, too.
        Ok(Self { name, child, lock, log, patience, left_running: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `ready` gives something; an error if the process ends first or the time is over.
    pub(crate) fn await_ready<T>(
        &mut self,
        bound: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + bound;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return self.not_ready(&status.to_string());
            }
            if let Some(answer) = ready() {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return self.not_ready(&format!("no answer within {} s", bound.as_secs()));
            }
            thread::sleep(CHECK_EVERY);
        }
    }

    fn not_ready<T>(&self, reason: &str) -> anyhow::Result<T> {
        let (name, log, tail) = (self.name, self.log.display(), tail_of(&self.log, TAIL));
        bail!("{name} did not start ({reason}); its log is {log}, and ends with:\n{tail}")
    }

    /// Lets it outlive this command.
    pub(crate) fn leave_running(&mut self) {
        if let Some(stdin) = &mut self.child.stdin {
            // The emulator ends with its stdin unless it has read this word. A broken pipe means that it has ended.
            drop(stdin.write_all(b"keep\n"));
        }
        self.left_running = true;
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.left_running {
            return;
        }
        Group(&self.lock).end(self.patience);
        // It may not have come so far as to lock the file. Then it has started nothing either.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A pipe that the process reads to its end, which is the end of this command.
pub(crate) fn ends_with_this_command() -> Stdio {
    Stdio::piped()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn spawn(folder: &Path, script: &str) -> ChildProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(ends_with_this_command());
        let (lock, log) = (folder.join("lock"), folder.join("log"));
        ChildProcess::spawn("the process", command, lock, log, Duration::ZERO).unwrap()
    }

    #[test]
    fn one_that_ends_before_it_is_ready_is_named_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = spawn(folder.path(), "echo no such port; exit 4");
        let error = child.await_ready(Duration::from_secs(20), || None::<()>).unwrap_err().to_string();
        for part in ["the process did not start", "4", "no such port", "log"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn one_that_never_answers_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = spawn(folder.path(), "sleep 60");
        let error = child.await_ready(Duration::ZERO, || None::<()>).unwrap_err().to_string();
        assert!(error.contains("no answer within 0 s"), "{error}");
    }
}
