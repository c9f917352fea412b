//! Generates one step: it is submitted at most once, its result is stored, and its waiters are notified.

pub(crate) mod attempt;
pub(crate) mod collect;
pub(crate) mod generate;
pub(crate) mod ingest;
pub(crate) mod inputs;
pub(crate) mod notify;
pub(crate) mod reconcile;
pub(crate) mod sent_picture;
pub(crate) mod webhook;
