//! From what a way in asks for to a run that is recorded and started.

pub(crate) mod input_media;
pub(crate) mod object_keys;
pub(crate) mod request;
pub(crate) mod start;
pub(crate) mod uploads;

use std::sync::Arc;

use crate::quota::Quota;

/// Reads what is asked for, stores its media, and starts its run.
pub struct Intake<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) quota: Arc<Quota<P>>,
}
