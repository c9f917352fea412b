//! Looks up the steps of a run in the cache, and lists those that are left to do.

pub(crate) mod cache_lookup;
pub(crate) mod cached_results;
pub(crate) mod freshness;
pub(crate) mod outputs;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod step_diff;
pub(crate) mod work_list;

use std::sync::Arc;

use cached_results::CachedResults;

use crate::quota::Quota;
use crate::run::Runs;
use crate::run::export::Exporter;
use crate::settings::Settings;

/// Plans runs, and previews plans.
pub struct Planner<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) cached: Arc<CachedResults<P>>,
    pub(crate) quota: Arc<Quota<P>>,
    pub(crate) exporter: Arc<Exporter<P>>,
    pub(crate) runs: Arc<Runs<P>>,
}
