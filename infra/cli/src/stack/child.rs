//! A process that this command started, and that ends with it unless it is kept.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Error, tail_of};
use super::process::Identity;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const TAIL: usize = 20;

/// A started child with its log. Dropping it ends the child and its group.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    what: &'static str,
    child: Child,
    identity: Identity,
    log: PathBuf,
    patience: Duration,
    kept: bool,
}

impl ChildProcess {
    /// Starts it with its output in the log. `patience` is what it gets to end by itself.
    pub(crate) fn spawn(
        what: &'static str,
        command: &mut Command,
        log: &Path,
        patience: Duration,
    ) -> Result<Self, Error> {
        let output = File::create(log).map_err(Error::file("cannot write", log))?;
        let errors = output.try_clone().map_err(Error::file("cannot write", log))?;
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(|source| Error::NoCommand {
            command: command.get_program().to_string_lossy().into_owned(),
            source,
            hint: "remove the .fresco folder and try again".to_owned(),
        })?;
        let Some(identity) = Identity::of(child.id()) else {
            let reason = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(Error::NotReady { what, reason, log: log.to_owned(), tail: tail_of(log, TAIL) });
        };
        Ok(Self { what, child, identity, log: log.to_owned(), patience, kept: false })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Polls until `ready` gives something; an error when the child ends first or the time is over.
    pub(crate) fn await_ready<T>(&mut self, bound: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let deadline = Instant::now() + bound;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.not_ready(status.to_string()));
            }
            if let Some(answer) = ready() {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(format!("no answer within {} s", bound.as_secs())));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn not_ready(&self, reason: String) -> Error {
        Error::NotReady { what: self.what, reason, log: self.log.clone(), tail: tail_of(&self.log, TAIL) }
    }

    /// Lets it outlive this command.
    pub(crate) fn keep(&mut self) {
        if let Some(stdin) = &mut self.child.stdin {
            // The emulator ends with its stdin unless it read this word. A broken pipe means that it has ended.
            drop(stdin.write_all(b"keep\n"));
        }
        self.kept = true;
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.kept {
            return;
        }
        // A child that has ended stays a zombie until it is waited for, so its group cannot be another's yet.
        self.identity.end(self.patience);
        drop(self.child.wait());
        self.identity.end_orphans();
    }
}
