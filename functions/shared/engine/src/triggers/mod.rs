//! Starts runs and batches for events: objects in the inbox, requests on the event bus, and schedules.

pub(crate) mod inbox;
mod rejected;
pub(crate) mod schedules;
mod waiting;

use std::sync::Arc;

use crate::batch::Batches;
use crate::intake::Intake;
use crate::settings::Settings;

/// Starts runs and batches for events, and keeps timers in step with the documents of schedules.
pub struct Triggers<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) intake: Arc<Intake<P>>,
    pub(crate) batches: Arc<Batches<P>>,
}
