//! Closes and stops runs: answers, manifest, export.

pub(crate) mod answer;
pub(crate) mod cancel;
pub(crate) mod close;
pub(crate) mod export;
pub(crate) mod manifest;
pub(crate) mod recollect;
pub(crate) mod request;
pub(crate) mod stop;

use std::sync::Arc;

use answer::Answers;
use export::Exporter;

use crate::commit::Commits;
use crate::settings::Settings;

/// Closes and stops runs.
pub struct Runs<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) answers: Arc<Answers<P>>,
    pub(crate) exporter: Arc<Exporter<P>>,
}
