//! How a start tells what it is doing: notices through a callback, so that the command prints them and a test drops them.

use std::fmt;
use std::sync::Arc;

/// Something worth showing while a stack starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A stage that takes noticeable time begins, or waits for something.
    Step(String),
    /// A line from within the current stage, such as a crate being compiled.
    Detail(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Step(text) | Notice::Detail(text) => f.write_str(text),
        }
    }
}

/// Where notices go.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Notice) + Send + Sync>);

impl Progress {
    /// Notices go to this function, from any thread.
    pub fn new(show: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// Notices are dropped.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn step(&self, text: impl Into<String>) {
        (self.0)(Notice::Step(text.into()));
    }

    pub(crate) fn detail(&self, text: impl Into<String>) {
        (self.0)(Notice::Detail(text.into()));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
