//! Events that start runs and batches: objects in the inbox, requests of EventBridge, and schedules.

pub(crate) mod inbox;
pub(crate) mod schedules;
