//! Results that may be handed out: their objects exist, and live long enough or are renewed.

use std::sync::Arc;

use fresco_api_types::MIN_CLEAN_AGE;
use fresco_ledger::records::{CachedResult, Millis};
use fresco_ledger::traits::{Clock, Objects};
use fresco_ledger::transition::renewed;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;

use crate::commit::Commits;
use crate::failpoint::{Failpoint, failpoint};
use crate::planning::freshness::{Freshness, freshness};
use crate::platform::Platform;
use crate::settings::Settings;

/// Checks and renews the results that stand in entries.
pub(crate) struct CachedResults<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) commits: Arc<Commits<P>>,
}

impl<P: Platform> CachedResults<P> {
    /// Returns the result if it can be handed out for `needed` milliseconds, renewed where it expires sooner. `None`
    /// where it is gone or about to expire.
    pub(crate) async fn fits(
        &self,
        key: &ContentKey,
        ready: &CachedResult,
        needed: Millis,
    ) -> Result<Option<CachedResult>, Failure> {
        match self.exists(ready).await? {
            Some(ready) => self.durable(key, ready, needed).await,
            None => Ok(None),
        }
    }

    /// Returns a result whose objects exist as one that lives for `needed` milliseconds.
    pub(crate) async fn durable(
        &self,
        key: &ContentKey,
        mut ready: CachedResult,
        needed: Millis,
    ) -> Result<Option<CachedResult>, Failure> {
        let now = self.platform.clock().now();
        let enough = match freshness(self.settings.object_life(), ready.created_at, now, needed) {
            Freshness::Fresh => return Ok(Some(ready)),
            Freshness::Expired => return Ok(None),
            Freshness::Expiring { enough } => enough,
        };
        match self.renew(key, &ready, now).await {
            Ok(true) => {
                ready.created_at = now;
                Ok(Some(ready))
            }
            Ok(false) => Ok(None),
            Err(cause) if enough => {
                tracing::warn!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "result not renewed; it lives long enough");
                Ok(Some(ready))
            }
            Err(cause) => Err(cause),
        }
    }

    /// Returns whether the result of an entry can still be handed out. One that was stored within the last hour is not
    /// checked.
    pub(crate) async fn still_holds(&self, ready: &CachedResult) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        if now - ready.created_at < MIN_CLEAN_AGE {
            return Ok(true);
        }
        let exists = self.exists(ready).await?;
        Ok(exists.is_some_and(|ready| {
            freshness(self.settings.object_life(), ready.created_at, now, 0) != Freshness::Expired
        }))
    }

    /// Copies a result's objects onto themselves, then moves the entry: after a crash between the two the entry takes
    /// them for older than they are. Returns whether all of them existed.
    async fn renew(&self, key: &ContentKey, ready: &CachedResult, now: Millis) -> Result<bool, Failure> {
        for output in &ready.outputs {
            if !self.platform.objects().renew(&output.key, &output.content_type).await? {
                return Ok(false);
            }
        }
        failpoint(Failpoint::ResultRenewed);
        self.commits.commit_entry(key, |entry| renewed(entry, ready.attempt, now)).await?;
        tracing::info!(entry.key = %key, entry.attempt = %ready.attempt, "result renewed");
        Ok(true)
    }

    /// Returns the result if all its objects exist with the right length. The age that S3 gives wins where the entry
    /// says that the object is younger: the clock of its writer may have been off.
    pub(crate) async fn exists(&self, ready: &CachedResult) -> Result<Option<CachedResult>, Failure> {
        let mut ready = ready.clone();
        for output in &ready.outputs {
            match self.platform.objects().head(&output.key).await? {
                Some(head) if head.bytes == output.bytes => ready.created_at = ready.created_at.min(head.modified_at),
                _ => return Ok(None),
            }
        }
        Ok(Some(ready))
    }
}
