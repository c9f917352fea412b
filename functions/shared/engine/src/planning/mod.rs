//! Which steps of a run have a cached result, and which are left to do.

pub(crate) mod cache_lookup;
pub(crate) mod freshness;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod step_diff;
