//! From what a way in asks for to a run that is recorded and started.

pub(crate) mod input_media;
pub(crate) mod request;
pub(crate) mod start;
pub(crate) mod uploads;
