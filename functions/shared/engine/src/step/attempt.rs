//! Records the news of an attempt: its job, its failure, its report.

use std::sync::Arc;

use fresco_ledger::traits::{Clock, Entries, Invoker};
use fresco_ledger::transition::{AttemptFailure, fail, forget_unfetched, record_submission, reopen};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_providers::JobReport;

use crate::commit::{Commits, Committed};
use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::step::notify::Notifier;

/// Records the news of attempts.
pub(crate) struct Attempts<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) notifier: Arc<Notifier<P>>,
}

impl<P: Platform> Attempts<P> {
    pub(crate) async fn record_submitted(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        request_id: &str,
    ) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        self.commits.commit(key, attempt, |entry, row| record_submission(entry, row, request_id, now)).await.map(drop)
    }

    /// Records a failure and notifies the waiters that it concerns.
    pub(crate) async fn record_failed(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        outcome: &AttemptFailure,
    ) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        self.commits.commit(key, attempt, |entry, row| fail(entry, row, outcome, now)).await?;
        failpoint(Failpoint::AttemptFailed);
        self.notifier.notify(key).await
    }

    /// Reopens an attempt that is paid and whose outputs were not fetched, and invokes collect.
    pub(crate) async fn reopen(&self, key: &ContentKey, attempt: Attempt) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        match self.commits.commit(key, attempt, |entry, row| reopen(entry, row, now)).await? {
            Committed::Changed(_) => Ok(self.platform.invoker().collect(key, attempt).await?),
            Committed::Gone => self.commits.commit_entry(key, |entry| forget_unfetched(entry, attempt)).await,
            Committed::Unchanged | Committed::JobTaken => Ok(()),
        }
    }

    /// Records the provider's report on the attempt and invokes collect.
    pub(crate) async fn record_done(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        report: &JobReport,
    ) -> Result<(), Failure> {
        let json =
            serde_json::to_string(report).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform.ledger().record_report(key, attempt, &json).await?;
        failpoint(Failpoint::AttemptReported);
        Ok(self.platform.invoker().collect(key, attempt).await?)
    }
}
