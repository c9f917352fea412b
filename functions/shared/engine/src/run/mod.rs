//! The end of a run: its manifest, its export, and its stop.

pub(crate) mod close;
pub(crate) mod export;
pub(crate) mod stop;
