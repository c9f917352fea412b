//! Cancels jobs that are queued at a provider and that no live step waits for, however the runs ended that wanted them.

use fresco_ledger::records::{AttemptRecord, AttemptStage, PendingAttempt, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Runs as _, Waiters};
use fresco_ledger::transition::mark_cancelling;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_providers::{CancelAnswer, JobState};
use futures::StreamExt;

use crate::commit::Committed;
use crate::deadline::within;
use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::run::Runs;

/// Jobs that are cancelled concurrently; each calls its provider.
const AT_ONCE: usize = 16;
/// The longest that the cancellations of one run may take, in milliseconds. The sweep cancels the rest.
const BOUND: i64 = 60_000;

impl<P: Platform> Runs<P> {
    /// Cancels the queued jobs of a run that has ended, whose waiters are gone. What fails is left to the sweep.
    pub(crate) async fn cancel_abandoned(&self, steps: &[StepRecord]) {
        let keys: Vec<ContentKey> = steps
            .iter()
            .filter(|step| step.calls > 0 && step.state != StepState::Done)
            .filter_map(|step| step.key.clone())
            .collect();
        let cancelled = async {
            let mut ends = futures::stream::iter(keys)
                .map(|key| async move { (self.cancel_unwanted(&key).await, key) })
                .buffer_unordered(AT_ONCE);
            while let Some((end, key)) = ends.next().await {
                if let Err(cause) = end {
                    tracing::warn!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "not cancelled");
                }
            }
            Ok(())
        };
        if within(self.platform.clock(), BOUND, cancelled).await.is_err() {
            tracing::warn!("not every job of the run was looked at; the sweep cancels the rest");
        }
    }

    /// Requests the cancellation of the attempt under the key, if it is queued and no step waits for it.
    pub(crate) async fn cancel_unwanted(&self, key: &ContentKey) -> Result<Cancelled, Failure> {
        let entry = self.commits.entry(key).await?;
        let Some(pending) = entry.and_then(|entry| entry.pending) else { return Ok(Cancelled::Nothing) };
        let PendingAttempt { attempt, stage: AttemptStage::Submitted, request_id: Some(request_id), .. } = &pending
        else {
            return Ok(Cancelled::GoesOn);
        };
        let Some(row) = self.commits.attempt(key, *attempt).await? else { return Ok(Cancelled::Nothing) };
        let provider = self.platform.provider(row.request.provider);
        match provider.check(&row.request.endpoint, request_id).await {
            Ok(JobState::Queued { .. }) => self.cancel_queued(&row, request_id).await,
            _ => Ok(Cancelled::GoesOn),
        }
    }

    /// Requests the cancellation of a queued attempt that no step waits for. The entry stays pending until the provider
    /// says that the job has ended: a cancellation is a request, and a step that joins in the meantime has to retry.
    pub(crate) async fn cancel_queued(&self, row: &AttemptRecord, request_id: &str) -> Result<Cancelled, Failure> {
        let (key, attempt): (&ContentKey, Attempt) = (&row.key, row.attempt);
        if self.is_awaited(key).await? {
            return Ok(Cancelled::GoesOn);
        }
        let now = self.platform.clock().now();
        // Recorded before it is requested: the end of a cancelled job that is not recorded as such would fail a step
        // that has joined.
        let noted = self.commits.commit(key, attempt, |entry, row| mark_cancelling(entry, row.attempt, now)).await?;
        if !matches!(noted, Committed::Changed(_)) {
            return Ok(Cancelled::GoesOn);
        }
        failpoint(Failpoint::StopCancelling);
        match self.platform.provider(row.request.provider).cancel(&row.request.endpoint, request_id).await {
            Ok(CancelAnswer::Requested) => {
                tracing::info!(entry.key = %key, entry.attempt = %attempt, "cancellation asked for");
                Ok(Cancelled::Asked)
            }
            Ok(CancelAnswer::TooLate | CancelAnswer::Missing) => Ok(Cancelled::GoesOn),
            Err(error) => {
                // The attempt is checked again soon.
                tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "not cancelled");
                Ok(Cancelled::GoesOn)
            }
        }
    }

    /// Whether a step of a run that has not ended waits for the entry. A waiter of a run that has ended is removed: its
    /// step was called while the run was closed.
    async fn is_awaited(&self, key: &ContentKey) -> Result<bool, Failure> {
        let ledger = self.platform.ledger();
        for waiter in ledger.waiters(key).await? {
            if ledger.run(&waiter.step_id.run).await?.is_some_and(|run: RunRecord| !run.status.is_final()) {
                return Ok(true);
            }
            ledger.delete_waiter_if(key, &waiter.step_id, &waiter.token).await?;
        }
        Ok(false)
    }
}

/// The result of a cancellation request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// The cancellation was requested.
    Asked,
    /// The job continues: a step waits for it, or it is not queued, or its state is unknown.
    GoesOn,
    /// There is no attempt under way.
    Nothing,
}
