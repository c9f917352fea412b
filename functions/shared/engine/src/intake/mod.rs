//! Takes in requests: reads them, stores their media, and starts their runs.

pub(crate) mod beside;
pub(crate) mod input_media;
pub(crate) mod object_keys;
pub(crate) mod request;
pub(crate) mod start;
pub(crate) mod uploads;

use std::sync::Arc;

use crate::quota::Quota;

/// Reads requests, stores their media, and starts their runs.
pub struct Intake<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) quota: Arc<Quota<P>>,
}
