//! Looking at the attempt under way: by a nudge of a step that waits for it, and by sweep. The provider is asked once; what
//! has ended is handed over to collect, what is unknown is looked for.

use fresco_ledger::records::{AttemptRecord, AttemptStage, Entry, PendingAttempt, Waiter};
use fresco_ledger::traits::{Clock, Entries, Invoker, Waiters};
use fresco_ledger::transition::{
    AttemptFailure, LookupResult, mark_unknown, postpone_check, postpone_late_completion, postpone_notification,
    record_lookup, record_submission, record_unknown_job,
};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::ContentKey;
use fresco_pipeline::plan::QUEUE_SECONDS;
use fresco_providers::{JobState, Lookup, LookupInput};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::{Transacted, failure};

/// How far the provider's clock may be from ours.
const CLOCK_SKEW_MS: i64 = 120_000;
/// How long a job may be queued before whoever waits for it gives up, in milliseconds.
const QUEUE_BOUND_MS: i64 = QUEUE_SECONDS as i64 * 1_000;
/// The most entries that one sweep looks at. What is left is due still.
const SWEEP_AT_MOST: u32 = 100;

impl<P: Platform> Engine<P> {
    /// Looks at the entry's pending attempt. With a waiter, on behalf of that step: its deadlines are kept too.
    pub(crate) async fn examine(&self, entry: &Entry, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let Some(pending) = &entry.pending else { return Ok(()) };
        let key = &entry.key;
        let ledger = self.platform.ledger();
        let Some(row) = self.attempt(key, pending.attempt).await? else {
            return Err(Failure::new(ErrorName::Internal, "the pending attempt has no row"));
        };
        if ledger.report(key, pending.attempt).await.map_err(failure)?.is_some() {
            // A webhook brought the report and collect has not finished: once more.
            return self.platform.invoker().collect(key, pending.attempt).await.map_err(failure);
        }
        let now = self.platform.clock().now();
        match pending.stage {
            AttemptStage::Submitting if now < pending.lease_until => Ok(()),
            AttemptStage::Submitting => {
                let attempt = pending.attempt;
                self.transact(key, attempt, |entry, _| mark_unknown(entry, attempt, now)).await?;
                crash::point(Point::ExamineUnknown);
                self.find(key, &row, waiter).await
            }
            AttemptStage::Unknown => self.find(key, &row, waiter).await,
            AttemptStage::Submitted => self.check(key, pending, &row, waiter).await,
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
                // It says nothing about the job: the next nudge or sweep asks again.
                tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "provider could not be asked");
                return self.keep_last_deadline(row, waiter);
            }
        };
        match state {
            JobState::Ended(report) => self.record_done(key, pending.attempt, &report).await,
            JobState::Missing => {
                let now = self.platform.clock().now();
                let slip = self
                    .transact(key, pending.attempt, |entry, row| record_unknown_job(entry, row.attempt, now))
                    .await?;
                if matches!(slip, Transacted::Changed(_)) {
                    return Ok(());
                }
                let cause = Failure::new(ErrorName::ProviderFailed, "the provider does not know the job any more");
                // It was accepted once, so it may have been billed.
                let outcome = AttemptFailure { failure: cause, retry_after: None, billed: row.hold.amount };
                self.record_failed(key, pending.attempt, &outcome).await
            }
            JobState::Queued { .. } => self.keep_deadlines(key, row, waiter, false).await,
            JobState::Running => self.keep_deadlines(key, row, waiter, true).await,
        }
    }

    /// A deadline belongs to a waiter and fails only that waiter: the attempt goes on, since it is paid.
    async fn keep_deadlines(
        &self,
        key: &ContentKey,
        row: &AttemptRecord,
        waiter: Option<&Waiter>,
        running: bool,
    ) -> Result<(), Failure> {
        let Some(waiter) = waiter else { return Ok(()) };
        let now = self.platform.clock().now();
        let late = match waiter.running_since {
            Some(since) => (now - since > waiter.timeout_ms)
                .then(|| format!("running for more than {} s", waiter.timeout_ms / 1_000)),
            None if running => {
                self.platform.ledger().record_running(key, &waiter.step_id, now).await.map_err(failure)?;
                None
            }
            None => (now - waiter.since > QUEUE_BOUND_MS).then(|| "queued for more than an hour".to_owned()),
        };
        match late {
            Some(how) => Err(Failure::new(
                ErrorName::StepTimedOut,
                format!("{} was {how}; its result will be kept", row.request.model),
            )),
            None => Ok(()),
        }
    }

    /// Where the provider does not say what became of the job, one bad answer must not end a step; but it waits no longer than
    /// it could at the most, queued and running.
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

    /// Looks for a job of unknown fate in the provider's list, and adopts it.
    async fn find(&self, key: &ContentKey, row: &AttemptRecord, waiter: Option<&Waiter>) -> Result<(), Failure> {
        let provider = self.platform.provider(row.request.provider);
        let attempt = row.attempt;
        let mut look_up = LookupResult::Impossible;
        if provider.can_find() {
            let lookup = Lookup {
                endpoint: row.request.endpoint.clone(),
                params: row.request.params.clone(),
                inputs: row
                    .request
                    .inputs
                    .iter()
                    .map(|input| LookupInput {
                        to: input.to.clone(),
                        list: input.list,
                        keys: input.media.iter().map(|media| media.key.clone()).collect(),
                    })
                    .collect(),
                not_before_ms: row.claimed_at - CLOCK_SKEW_MS,
            };
            let found = match provider.find(&lookup).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "provider could not be searched");
                    return self.keep_last_deadline(row, waiter);
                }
            };
            for job in found {
                let owner = self.platform.ledger().job(row.request.provider, &job.request_id).await.map_err(failure)?;
                if owner.is_some_and(|owner| owner != (key.clone(), attempt)) {
                    continue;
                }
                let now = self.platform.clock().now();
                // Only the attempt under way adopts: one that was given up while the list was read would take the job of
                // the attempt that followed it, which asks for the same.
                let adopt = |entry: &Entry, row: &AttemptRecord| {
                    entry.pending.as_ref().filter(|pending| pending.attempt == attempt)?;
                    record_submission(entry, row, &job.request_id, now)
                };
                match self.transact(key, attempt, adopt).await? {
                    Transacted::JobTaken => {}
                    Transacted::Changed(_) => {
                        crash::point(Point::ExamineAdopted);
                        tracing::info!(entry.key = %key, entry.attempt = %attempt, provider.request_id = job.request_id, "job adopted");
                        return Ok(());
                    }
                    Transacted::Unchanged | Transacted::Gone => return Ok(()),
                }
            }
            look_up = LookupResult::Empty;
        }
        let now = self.platform.clock().now();
        let policy = self.settings.unknown_policy(provider.can_find(), row.request.price);
        let outcome = self.transact(key, attempt, |entry, row| record_lookup(entry, row, look_up, policy, now)).await?;
        if matches!(&outcome, Transacted::Changed(entry) if entry.notify_pending) {
            tracing::warn!(entry.key = %key, entry.attempt = %attempt, "attempt lost");
            crash::point(Point::ExamineLost);
            self.tell(key).await?;
        }
        Ok(())
    }

    /// What sweep does: every entry and every batch that is due is looked at, whoever was to look at it first. How many there
    /// were.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        let ledger = self.platform.ledger();
        let due = ledger.entries_to_check(self.platform.clock().now(), SWEEP_AT_MOST).await.map_err(failure)?;
        for key in &due {
            // One entry that cannot be looked at must not keep the others waiting.
            if let Err(cause) = self.sweep_entry(key).await {
                tracing::warn!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "entry not swept");
            }
        }
        Ok(due.len() + self.sweep_batches().await?)
    }

    async fn sweep_entry(&self, key: &ContentKey) -> Result<(), Failure> {
        if let Err(cause) = self.tell(key).await {
            let now = self.platform.clock().now();
            self.transact_entry(key, |entry| postpone_notification(entry, now)).await?;
            return Err(cause);
        }
        crash::point(Point::SweepTold);
        let Some(entry) = self.entry(key).await? else { return Ok(()) };
        let now = self.platform.clock().now();
        if let Some(late) = entry.late_completion.as_ref().filter(|late| late.next_check_at <= now) {
            self.platform.invoker().collect(key, late.attempt).await.map_err(failure)?;
            crash::point(Point::SweepHandedOver);
            self.transact_entry(key, |entry| postpone_late_completion(entry, now)).await?;
        }
        let Some(pending) = entry.pending.as_ref().filter(|pending| pending.next_check_at <= now) else {
            return Ok(());
        };
        let attempt = pending.attempt;
        let outcome = self.examine(&entry, None).await;
        crash::point(Point::SweepExamined);
        // Where nothing was decided, the entry must not stay at the head of the index.
        self.transact(key, attempt, |entry, _| {
            let still = entry
                .pending
                .as_ref()
                .is_some_and(|pending| pending.attempt == attempt && pending.next_check_at <= now);
            if still { postpone_check(entry, attempt, now) } else { None }
        })
        .await?;
        outcome
    }
}
