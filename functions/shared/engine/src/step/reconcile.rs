//! Reconciles the attempt under way with its provider, for a nudge or for the sweep. The provider is asked once; an
//! ended job is handed over to collect, and a job of unknown fate is looked up.

use std::sync::Arc;

use fresco_ledger::records::{AttemptRecord, AttemptStage, Entry, PendingAttempt, Waiter};
use fresco_ledger::traits::{Clock, Entries, Invoker, Waiters};
use fresco_ledger::transition::{
    AttemptFailure, LookupResult, mark_unknown, may_fetch, record_lookup, record_submission, record_unknown_job,
    watch_unknown_job,
};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::plan::QUEUE_SECONDS;
use fresco_pipeline::time::DAY;
use fresco_providers::JobState;

use crate::commit::{Commits, Committed};
use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::run::Runs;
use crate::settings::Settings;
use crate::step::attempt::Attempts;
use crate::step::notify::Notifier;

/// The largest clock skew between the provider and the stack.
const CLOCK_SKEW_MS: i64 = 120_000;
/// The time after a claim from which a job whose end cannot be read is given up, in milliseconds.
const LONGEST_UNREAD: i64 = DAY;
/// The time after which a queued job fails its waiters, in milliseconds.
const QUEUE_BOUND_MS: i64 = QUEUE_SECONDS as i64 * 1_000;

/// The time in which a step waits for outputs that cannot be stored, in milliseconds, where its timeout is shorter.
const FETCH_BOUND_MS: i64 = 600_000;

/// Reconciles attempts under way.
pub(crate) struct Reconciler<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) attempts: Arc<Attempts<P>>,
    pub(crate) runs: Arc<Runs<P>>,
    pub(crate) notifier: Arc<Notifier<P>>,
}

impl<P: Platform> Reconciler<P> {
    /// Reconciles the pending attempt of an entry. With a waiter, it also enforces the deadlines of that step; without
    /// one, for the sweep, it cancels a queued job that no step waits for.
    pub(crate) async fn reconcile(&self, entry: &Entry, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let Some(pending) = &entry.pending else { return Ok(()) };
        let key = &entry.key;
        let ledger = self.platform.ledger();
        let Some(row) = self.commits.attempt(key, pending.attempt).await? else {
            return Err(Failure::new(ErrorName::Internal, "the pending attempt has no row"));
        };
        if ledger.report(key, pending.attempt).await?.is_some() {
            return self.collect_again(&row, waiter).await;
        }
        let now = self.platform.clock().now();
        match pending.stage {
            AttemptStage::Submitting if now < pending.lease_until => Ok(()),
            AttemptStage::Submitting => {
                let attempt = pending.attempt;
                self.commits.commit(key, attempt, |entry, _| mark_unknown(entry, attempt, now)).await?;
                failpoint(Failpoint::ReconcileUnknown);
                self.find(key, &row, waiter).await
            }
            AttemptStage::Unknown => self.find(key, &row, waiter).await,
            AttemptStage::Submitted => self.check(key, pending, &row, waiter).await,
        }
    }

    /// Records that the outcome of a submission is unknown to its submitter. Where the provider answers at once there is no job
    /// to look for: the attempt is lost, and asked for again where that may cost little.
    pub(crate) async fn record_reply_lost(&self, key: &ContentKey, attempt: Attempt) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        self.commits.commit(key, attempt, |entry, _| mark_unknown(entry, attempt, now)).await?;
        match self.commits.attempt(key, attempt).await? {
            Some(row) if row.request.provider.answers_at_once() => {
                self.not_found(key, &row, LookupResult::ReplyLost).await
            }
            _ => Ok(()),
        }
    }

    async fn check(
        &self,
        key: &ContentKey,
        pending: &PendingAttempt,
        row: &AttemptRecord,
        waiter: Option<&Waiter>,
    ) -> Result<(), Failure> {
        let Some(request_id) = pending.request_id.as_deref().or(row.request_id.as_deref()) else {
            return Err(Failure::new(ErrorName::Internal, "a submitted attempt has no request id"));
        };
        let provider = self.platform.provider(row.request.provider);
        let state = match provider.check(&row.request.endpoint, request_id).await {
            Ok(state) => state,
            Err(error) => {
                // An error says nothing about the job: the next nudge or sweep asks again.
                tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "provider could not be asked");
                if self.platform.clock().now() - row.claimed_at > LONGEST_UNREAD {
                    let cause = Failure::new(
                        ErrorName::ProviderFailed,
                        format!("the provider could not say for a day how the job ended: {}", error.failure),
                    );
                    return self.give_up(key, row, cause).await;
                }
                return self.keep_last_deadline(row, waiter);
            }
        };
        match state {
            JobState::Ended(report) => self.attempts.record_done(key, pending.attempt, &report).await,
            JobState::Missing => {
                let now = self.platform.clock().now();
                let slip = self
                    .commits
                    .commit(key, pending.attempt, |entry, row| record_unknown_job(entry, row.attempt, now))
                    .await?;
                if matches!(slip, Committed::Changed(_)) {
                    return Ok(());
                }
                let cause = Failure::new(ErrorName::ProviderFailed, "the provider does not know the job any more");
                self.give_up(key, row, cause).await
            }
            JobState::Queued { .. } if waiter.is_none() => self.runs.cancel_queued(row, request_id).await.map(drop),
            JobState::Queued { .. } => self.keep_deadlines(key, row, waiter, false).await,
            JobState::Running => self.keep_deadlines(key, row, waiter, true).await,
        }
    }

    /// Gives up a job that was accepted, so it may have been billed. It may be there all the same: the sweep asks for it for
    /// another day.
    async fn give_up(&self, key: &ContentKey, row: &AttemptRecord, cause: Failure) -> Result<(), Failure> {
        let outcome = AttemptFailure { failure: cause, retry_after: None, billed: row.hold.amount };
        self.attempts.record_failed(key, row.attempt, &outcome).await?;
        let now = self.platform.clock().now();
        let watch = |entry: &Entry, row: &AttemptRecord| watch_unknown_job(entry, row, now);
        self.commits.commit(key, row.attempt, watch).await.map(drop)
    }

    /// Enforces the deadline of a waiter. It fails only that waiter: the attempt continues, since it is paid.
    async fn keep_deadlines(
        &self,
        key: &ContentKey,
        row: &AttemptRecord,
        waiter: Option<&Waiter>,
        running: bool,
    ) -> Result<(), Failure> {
        let Some(waiter) = waiter else { return Ok(()) };
        let now = self.platform.clock().now();
        let exceeded = match waiter.running_since {
            Some(since) => (now - since > waiter.timeout_ms)
                .then(|| format!("running for more than {} s", waiter.timeout_ms / 1_000)),
            None if running => {
                self.platform.ledger().record_running(key, &waiter.step_id, now).await?;
                None
            }
            None => (now - waiter.since > QUEUE_BOUND_MS).then(|| "queued for more than an hour".to_owned()),
        };
        match exceeded {
            Some(how) => Err(Failure::new(
                ErrorName::StepTimedOut,
                format!("{} was {how}; its result will be kept", row.request.model),
            )),
            None => Ok(()),
        }
    }

    /// Invokes collect again for a reported job: its outputs are not stored yet. Before the pause after a failed fetch is
    /// over nothing is fetched. With a waiter, it also enforces the deadline of that step.
    async fn collect_again(&self, row: &AttemptRecord, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        if may_fetch(row, now) {
            self.platform.invoker().collect(&row.key, row.attempt).await?;
        }
        let (Some(waiter), Some(fetching)) = (waiter, &row.fetching) else { return Ok(()) };
        let began = waiter.running_since.unwrap_or(waiter.since);
        let waited = now - waiter.since;
        let fetched = now - fetching.since.max(waiter.since);
        let exceeded = now - began > waiter.timeout_ms && fetched > FETCH_BOUND_MS;
        if !exceeded && waited <= QUEUE_BOUND_MS + waiter.timeout_ms {
            return Ok(());
        }
        let (model, cause) = (&row.request.model, &fetching.failure);
        Err(Failure::new(
            ErrorName::StepTimedOut,
            format!(
                "{model} is done, and its output cannot be stored yet ({cause}); its result is kept, and stored later"
            ),
        ))
    }

    /// Enforces the longest possible deadline, queued and running, where the provider does not answer: one error must
    /// not fail a step.
    fn keep_last_deadline(&self, row: &AttemptRecord, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let Some(waiter) = waiter else { return Ok(()) };
        let longest = QUEUE_BOUND_MS + waiter.timeout_ms;
        if self.platform.clock().now() - waiter.since <= longest {
            return Ok(());
        }
        Err(Failure::new(
            ErrorName::StepTimedOut,
            format!(
                "{} has not ended after {} s, as far as the provider can be asked; its result will be kept",
                row.request.model,
                longest / 1_000
            ),
        ))
    }

    /// Looks up a job of unknown fate in the provider's list, and adopts it.
    async fn find(&self, key: &ContentKey, row: &AttemptRecord, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let provider = self.platform.provider(row.request.provider);
        let attempt = row.attempt;
        let mut look_up = LookupResult::Impossible;
        if provider.can_find() {
            let found = match provider.find(&row.request, row.claimed_at - CLOCK_SKEW_MS).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "provider could not be searched");
                    return self.keep_last_deadline(row, waiter);
                }
            };
            for job in found {
                let owner = self.platform.ledger().job(row.request.provider, &job.request_id).await?;
                if owner.is_some_and(|owner| owner != (key.clone(), attempt)) {
                    continue;
                }
                let now = self.platform.clock().now();
                // Only the attempt under way adopts a job: one that was given up while the list was read would take the
                // job of its successor, which has the same request.
                let adopt = |entry: &Entry, row: &AttemptRecord| {
                    entry.pending.as_ref().filter(|pending| pending.attempt == attempt)?;
                    record_submission(entry, row, &job.request_id, now)
                };
                match self.commits.commit(key, attempt, adopt).await? {
                    Committed::JobTaken => {}
                    Committed::Changed(_) => {
                        failpoint(Failpoint::ReconcileAdopted);
                        tracing::info!(entry.key = %key, entry.attempt = %attempt, provider.request_id = job.request_id, "job adopted");
                        return Ok(());
                    }
                    Committed::Unchanged | Committed::Gone => return Ok(()),
                }
            }
            look_up = LookupResult::Empty;
        }
        self.not_found(key, row, look_up).await
    }

    /// Records that the job was not found, which may end the attempt as lost.
    async fn not_found(&self, key: &ContentKey, row: &AttemptRecord, look_up: LookupResult) -> Result<(), Failure> {
        let (now, attempt, provider) = (self.platform.clock().now(), row.attempt, row.request.provider);
        let can_find = self.platform.provider(provider).can_find();
        let policy = self.settings.unknown_policy(provider, can_find, row.hold.amount);
        let outcome =
            self.commits.commit(key, attempt, |entry, row| record_lookup(entry, row, look_up, policy, now)).await?;
        if matches!(&outcome, Committed::Changed(entry) if entry.notify_pending) {
            tracing::warn!(entry.key = %key, entry.attempt = %attempt, "attempt lost");
            failpoint(Failpoint::ReconcileLost);
            self.notifier.notify(key).await?;
        }
        Ok(())
    }
}
