//! Maintains the stack: the sweep of the ledger, and the removal of old outputs.

pub(crate) mod prune;
mod storage_report;
pub(crate) mod sweep;

use std::sync::Arc;

use crate::batch::Batches;
use crate::commit::Commits;
use crate::quota::Quota;
use crate::step::notify::Notifier;
use crate::step::reconcile::Reconciler;

/// Sweeps the ledger and prunes the bucket.
pub struct Upkeep<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) quota: Arc<Quota<P>>,
    pub(crate) notifier: Arc<Notifier<P>>,
    pub(crate) reconciler: Arc<Reconciler<P>>,
    pub(crate) batches: Arc<Batches<P>>,
}
