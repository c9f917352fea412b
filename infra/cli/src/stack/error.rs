//! The error of the stack on this machine. Inside this folder errors are `anyhow`'s: no caller matches on them.

use std::fmt;
use std::path::Path;

/// Why a stack could not be built, started, deployed or ended. Its text says what happened, where, and what to do.
#[derive(Debug)]
pub struct Error(anyhow::Error);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With all causes: an SDK's error alone is "service error".
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(anyhow::Error::new(error).context("the command was interrupted; try again"))
    }
}

/// The last lines of a text, indented, for an error message.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = all.len().saturating_sub(lines);
    all[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// The last lines of a file; empty where it cannot be read.
pub(crate) fn tail_of(path: &Path, lines: usize) -> String {
    std::fs::read(path).map(|bytes| tail(&String::from_utf8_lossy(&bytes), lines)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_indented() {
        assert_eq!(tail("a\n\nb\nc\n", 2), "  b\n  c");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn the_text_holds_every_cause() {
        let cause = Err::<(), _>(std::io::Error::other("the disk is full"));
        let error = Error::from(cause.context("cannot write x").unwrap_err());
        assert_eq!(error.to_string(), "cannot write x: the disk is full");
    }
}
