//! The progress of a start, through a callback: a command prints it, and a test drops it.

use std::fmt;
use std::sync::Arc;

/// A message while a stack starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressMessage {
    /// A stage that takes noticeable time begins, or waits for something.
    Step(String),
    /// A line from within the current stage, such as a crate being compiled.
    Detail(String),
}

impl fmt::Display for ProgressMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(text) | Self::Detail(text) => f.write_str(text),
        }
    }
}

/// The receiver of progress messages.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(ProgressMessage) + Send + Sync>);

impl Progress {
    /// Passes messages to this function, from any thread.
    pub fn new(show: impl Fn(ProgressMessage) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// Drops messages.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn step(&self, text: impl Into<String>) {
        (self.0)(ProgressMessage::Step(text.into()));
    }

    pub(crate) fn detail(&self, text: impl Into<String>) {
        (self.0)(ProgressMessage::Detail(text.into()));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
