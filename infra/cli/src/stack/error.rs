//! What can go wrong with a stack on this machine. Each message says what happened, where, and what mends it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a stack could not be built, started, deployed or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No project around the given folder.
    #[error("no Fresco project at {}: neither it nor a folder above it holds infra/template.yaml; run the command inside the project", start.display())]
    NoProject {
        /// Where the search began.
        start: PathBuf,
    },
    /// A file or folder could not be used.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried, such as `cannot write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A command could not be started at all.
    #[error("`{command}` could not be started ({source}); {hint}")]
    NoCommand {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
        /// What is needed.
        hint: String,
    },
    /// A command ended badly.
    #[error("`{command}` failed ({status}); {hint}. It said last:\n{tail}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What is needed.
        hint: String,
        /// The last lines of what it said.
        tail: String,
    },
    /// No Python.
    #[error(
        "Python 3.10 or later is needed for the local stack, and none was found (tried {tried}); install it (Debian, Ubuntu: \
         `apt-get install python3 python3-venv`; macOS: `brew install python`), or name one in FRESCO_PYTHON"
    )]
    NoPython {
        /// The names that were tried.
        tried: String,
    },
    /// Python is too old.
    #[error(
        "{python} is Python {found}, and the local stack needs 3.10 or later; install one, or name one in FRESCO_PYTHON"
    )]
    OldPython {
        /// The interpreter.
        python: String,
        /// Its version.
        found: String,
    },
    /// Python cannot make virtual environments.
    #[error(
        "{python} has no `venv` module, which the local stack needs; install it (Debian, Ubuntu: `apt-get install python3-venv`). It said:\n{tail}"
    )]
    NoVenv {
        /// The interpreter.
        python: String,
        /// What it said.
        tail: String,
    },
    /// The asked port is in use.
    #[error("port {port} is taken; end what listens on 127.0.0.1:{port}, or leave the port open to take a free one")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A started process did not become ready.
    #[error("{what} did not start ({reason}); its log is {}. It said last:\n{tail}", log.display())]
    NotReady {
        /// Which process.
        what: &'static str,
        /// Why it counts as not started.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A recorded process does not end.
    #[error("the {what} of {} (process {pid}) does not end; end it by hand, then try again", instance.display())]
    DoesNotEnd {
        /// Which process.
        what: &'static str,
        /// Its id.
        pid: u32,
        /// The stack's folder.
        instance: PathBuf,
    },
    /// The state folder is of another format.
    #[error(
        "the state in {} has format {found}, and this version of Fresco reads format {expected}; \
         `cargo fresco down --purge` removes it (results stored there are generated again)",
        instance.display()
    )]
    StateFormat {
        /// The stack's folder.
        instance: PathBuf,
        /// What was found.
        found: String,
        /// What is read.
        expected: u32,
    },
    /// A running stack is of another version.
    #[error("the stack that is up in {} was started by another version of Fresco ({found}); `cargo fresco down` ends it, then try again", instance.display())]
    OtherVersion {
        /// The stack's folder.
        instance: PathBuf,
        /// The version that started it.
        found: String,
    },
    /// A running stack has other parameters.
    #[error(
        "the stack that is up in {} has other parameters: {differences}; `cargo fresco down` ends it (what it holds stays), \
         then `cargo fresco up --set …` starts it with these",
        instance.display()
    )]
    OtherParameters {
        /// The stack's folder.
        instance: PathBuf,
        /// Each in words.
        differences: String,
    },
    /// The build gave no binary of that name.
    #[error("the build made no binary `{name}`; its package or [[bin]] entry is missing from the workspace")]
    NoBinary {
        /// The binary.
        name: String,
    },
    /// A zip could not be written.
    #[error("cannot pack {}: {reason}", path.display())]
    Zip {
        /// The zip file.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The template cannot be packaged.
    #[error("{} line {line}: {problem}", template.display())]
    Template {
        /// The template.
        template: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The template has a lifecycle that cannot be carried out here.
    #[error("the template's lifecycle of {bucket} cannot be carried out: {problem}")]
    Lifecycle {
        /// The bucket's name in it.
        bucket: String,
        /// What is wrong.
        problem: String,
    },
    /// CloudFormation did not complete.
    #[error("the deployment of stack {stack} ended as {status}:\n{reasons}")]
    Deploy {
        /// The stack.
        stack: String,
        /// Its status.
        status: String,
        /// The failed resources with their reasons.
        reasons: String,
    },
    /// A thread of the start ended before its work did.
    #[error("the start was interrupted; try again")]
    Interrupted,
    /// An AWS call failed.
    #[error("{action} failed: {message}")]
    Aws {
        /// What was tried.
        action: String,
        /// What the service or the connection said.
        message: String,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }

    pub(crate) fn aws<E>(action: impl Into<String>) -> impl FnOnce(E) -> Error
    where
        E: std::error::Error + 'static,
    {
        let action = action.into();
        move |error| Error::Aws { action, message: chain(&error) }
    }
}

/// An error with its causes: an SDK error alone says "service error" and nothing else.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let kept: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = kept.len().saturating_sub(lines);
    kept[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// The last lines of a file; nothing where it cannot be read.
pub(crate) fn tail_of(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes), lines),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_indented() {
        assert_eq!(tail("a\n\nb\nc\n", 2), "  b\n  c");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn an_old_state_names_what_removes_it() {
        let error = Error::StateFormat { instance: "x".into(), found: "0".into(), expected: 1 };
        assert!(error.to_string().contains("cargo fresco down --purge"));
    }
}
