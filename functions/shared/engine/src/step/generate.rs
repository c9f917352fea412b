//! Generates a step: it finds the result, joins the attempt under way, or claims an attempt and submits it; then it
//! returns, and nothing runs while the provider works. It answers its task token itself, with the result or with a
//! failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fresco_ledger::contention::Contention;
use fresco_ledger::records::{Entry, Millis, ResultSource, StepId, StepRecord, StepState, Waiter};
use fresco_ledger::traits::{
    Batches as _, BudgetChange, Change, Clock, CommitError, Entries, Runs as _, StoreError, TaskCallbacks, Wait,
    Waiters,
};
use fresco_ledger::transition::{AcquireRequest, Acquisition, AttemptFailure, acquire, expire};
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepRef, TokenHash};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{NUDGES, PlannedStep, QUEUE_SECONDS};
use fresco_pipeline::request::{GenerationRequest, KeyedRequest};
use fresco_providers::{Accepted, InputData, Submission, SubmitError};
use serde::{Deserialize, Serialize};

use crate::commit::Commits;
use crate::failpoint::{Failpoint, failpoint};
use crate::planning::cached_results::CachedResults;
use crate::planning::freshness::needed_life;
use crate::platform::Platform;
use crate::quota::Quota;
use crate::run::Runs;
use crate::run::answer::Answers;
use crate::settings::{CALL_MARGIN, Settings};
use crate::step::attempt::Attempts;
use crate::step::inputs::StepInputs;
use crate::step::reconcile::Reconciler;

/// Readings of the entry without a pause before the next: to join an attempt takes two.
const ROUNDS_AT_ONCE: u32 = 4;
/// The milliseconds after its timeout from which the process of a function is surely dead.
const SURELY_DEAD: Millis = 300_000;
/// The least time that is left for a call, in milliseconds.
const SHORTEST_DEADLINE: u64 = 5_000;
/// The longest that a step waits for its provider to accept and start its job, in milliseconds.
const LONGEST_QUEUE: Millis = QUEUE_SECONDS as Millis * 1_000;

/// The input of a Generate task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateCall {
    pub run_id: RunId,
    pub step: StepRef,
    /// Of this try.
    pub token: String,
    /// The check intervals of the step that have passed.
    #[serde(default)]
    pub nudges: u32,
}

impl GenerateCall {
    fn step_id(&self) -> StepId {
        StepId { run: self.run_id.clone(), step: self.step.clone() }
    }
}

/// Generates steps: by a cached result, by joining an attempt, or by a new one.
pub struct Steps<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) cached: Arc<CachedResults<P>>,
    pub(crate) quota: Arc<Quota<P>>,
    pub(crate) inputs: StepInputs<P>,
    pub(crate) answers: Arc<Answers<P>>,
    pub(crate) attempts: Arc<Attempts<P>>,
    pub(crate) reconciler: Arc<Reconciler<P>>,
    pub(crate) runs: Arc<Runs<P>>,
}

impl<P: Platform> Steps<P> {
    /// Generates the step and answers its token, unless the step waits. An error is one that could not be answered.
    pub async fn generate(&self, call: &GenerateCall) -> Result<(), Failure> {
        let Err(cause) = self.ensure(call).await else { return Ok(()) };
        log_failure(call, &cause);
        if !cause.name.is_retryable() {
            self.platform.ledger().fail_step(&call.step_id(), &cause, self.platform.clock().now()).await?;
            failpoint(Failpoint::GenerateFailed);
        }
        self.platform.callbacks().fail(&call.token, &cause).await?;
        Ok(())
    }

    /// Generates the step. The token of a step that fails with an error is not answered yet.
    async fn ensure(&self, call: &GenerateCall) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let step_id = call.step_id();
        let row = ledger.start_step(&step_id, self.platform.clock().now()).await?;
        failpoint(Failpoint::GenerateStarted);
        let Some(row) = row else {
            return Err(Failure::new(ErrorName::RunNotFound, "there is no record of this run and step"));
        };
        if let Some(decided) = self.answer_decided(call, &row).await {
            return decided;
        }
        let run = ledger.run(&call.run_id).await?;
        let Some(run) = run.filter(|run| !run.stop && !run.status.is_final()) else {
            return Err(Failure::new(ErrorName::RunStopped, "the run is stopped; nothing was submitted for this step"));
        };
        let run_left = run.bound_at.map_or(0, |bound_at| bound_at - self.platform.clock().now());
        let keyed = self.inputs.resolve(&step_id, &row).await?;
        let key = &keyed.key;
        let waiter = self.register_waiter(call, &row.plan, key).await?;
        failpoint(Failpoint::GenerateWaiting);
        if row.calls > 1 && waiter.joined == Attempt::NONE {
            // A new waiter of a step that was called before: a notifier of an earlier call may have removed the old
            // waiter since the step was read, and with it the fact that the step shares a failure. It marked the step
            // itself before that.
            let again = ledger.step(&step_id).await?;
            if let Some(row) = again
                && let Some(decided) = self.answer_decided(call, &row).await
            {
                ledger.delete_waiter_if(key, &step_id, &call.token).await?;
                return decided;
            }
        }
        let outcome = match call.nudges > NUDGES {
            // The deadlines of the ledger end every wait before; this bounds it even if they cannot be read.
            true => Err(timed_out(&keyed, "checked too often")),
            false => self.decide(&keyed, waiter.clone(), needed_life(&self.settings, run_left)).await,
        };
        match outcome {
            // The step is marked first, and its waiter is removed last: a call that ends in between must not leave a
            // step that is undecided and has forgotten which failure it shares.
            Err(cause) if !cause.name.is_retryable() => {
                log_failure(call, &cause);
                self.answers.fail(key, &waiter, &cause).await?;
                if cause.name == ErrorName::StepTimedOut {
                    self.runs.cancel_unwanted(key).await?;
                }
                Ok(())
            }
            // The step is retried and keeps its waiter, which says what it joined and from which attempt on it wants a
            // result: without it the retry would pay for another refresh, or again for an attempt whose fate it shares.
            outcome => outcome,
        }
    }

    /// Answers a step that is decided; `None` where it is undecided.
    async fn answer_decided(&self, call: &GenerateCall, row: &StepRecord) -> Option<Result<(), Failure>> {
        if row.pinned.is_some() {
            return Some(self.answers.answer_done(&call.token).await);
        }
        let failed = row.failure.as_ref().filter(|_| row.state == StepState::Failed)?;
        Some(Err(failed.clone()))
    }

    /// Registers the step as a waiter before the entry is read: either that read sees a decision, or the decision sees
    /// the waiter.
    async fn register_waiter(
        &self,
        call: &GenerateCall,
        plan: &PlannedStep,
        key: &ContentKey,
    ) -> Result<Waiter, Failure> {
        let ledger = self.platform.ledger();
        let base = match plan.cache {
            CachePolicy::Use | CachePolicy::Off => Attempt::NONE,
            // Only a later attempt counts. A nudge finds the waiter and keeps its base.
            CachePolicy::Refresh => self.commits.entry(key).await?.map_or(Attempt::NONE, |entry| entry.last_attempt),
        };
        let wait = Wait {
            step_id: call.step_id(),
            token: call.token.clone(),
            base,
            now: self.platform.clock().now(),
            timeout_ms: i64::from(plan.timeout) * 1_000,
        };
        Ok(ledger.put_waiter(key, &wait).await?)
    }

    /// Decides what to do by the state of the entry. A hit has to live for `needed` milliseconds.
    async fn decide(&self, keyed: &KeyedRequest, mut waiter: Waiter, needed: Millis) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let token = self.platform.new_token()?;
        let token_hash = TokenHash::of(&token);
        let mut fresh = None;
        let mut media = None;
        let (mut contention, mut rounds) = (Contention::new(self.platform.clock()), 0);
        loop {
            rounds += 1;
            if rounds > ROUNDS_AT_ONCE && !contention.pause().await {
                return Err(StoreError::ledger("the entry kept changing").0);
            }
            let now = self.platform.clock().now();
            let entry = self.commits.entry(&keyed.key).await?.unwrap_or_else(|| Entry::new(keyed.key.clone()));
            let wanted = entry.result_for(&waiter);
            let fits = match wanted {
                Some(ready) => self.cached.fits(&keyed.key, ready, needed).await?,
                None => None,
            };
            if let (Some(ready), None) = (wanted, &fits) {
                let attempt = ready.attempt;
                self.commits.commit_entry(&keyed.key, |entry| expire(entry, attempt)).await?;
                failpoint(Failpoint::GenerateExpired);
                continue;
            }
            let lease_until = now + self.lease(&keyed.request, waiter.timeout_ms);
            let asked = AcquireRequest {
                waiter: &waiter,
                usable: fits.is_some(),
                request: &keyed.request,
                price: keyed.price,
                token_hash: &token_hash,
                lease_until,
                submitter_dead_at: lease_until + SURELY_DEAD,
                now,
            };
            match acquire(&entry, &asked) {
                Acquisition::Hit(ready) => {
                    // Renewed, if it was about to expire.
                    let ready = fits.unwrap_or(ready);
                    return self.answers.succeed(&keyed.key, &waiter, &ready, ResultSource::Hit).await;
                }
                Acquisition::SharedFailure(cause) => return Err(cause),
                Acquisition::RetryLater(_) if now - waiter.since > LONGEST_QUEUE + waiter.timeout_ms => {
                    return Err(timed_out(keyed, "waiting for its provider for too long"));
                }
                Acquisition::RetryLater(last) => {
                    return self.answers.retry_at(&keyed.key, &waiter, last.not_before, &last.failure).await;
                }
                Acquisition::Recollect(attempt) => self.attempts.reopen(&keyed.key, attempt).await?,
                // A step that has only just joined need not ask the provider, unless the check of the attempt is
                // overdue: then its other waiters may be gone.
                Acquisition::Join(attempt) if fresh == Some(attempt) && !overdue(&entry, now) => return Ok(()),
                Acquisition::Join(attempt) if waiter.joined == attempt => {
                    return self.reconciler.reconcile(&entry, Some(&waiter)).await;
                }
                Acquisition::Join(attempt) => {
                    let own = entry.pending.as_ref().is_some_and(|pending| pending.leader == waiter.step_id);
                    let source = if own { ResultSource::Generated } else { ResultSource::Joined };
                    ledger.record_source(&waiter.step_id, source).await?;
                    failpoint(Failpoint::GenerateSourceNoted);
                    ledger.record_join(&keyed.key, &waiter.step_id, attempt).await?;
                    failpoint(Failpoint::GenerateJoined);
                    // Read once more: a failure that was decided before `joined` was written did not notify this step.
                    (waiter.joined, waiter.running_since) = (attempt, None);
                    fresh = Some(attempt);
                }
                Acquisition::Claim(change) => {
                    let attempt = change.entry.last_attempt;
                    self.quota.require_room().await?;
                    // What can fail is done before the claim: after it only the outcome of the attempt may fail the
                    // step.
                    let inputs = match media.take() {
                        Some(inputs) => inputs,
                        None => self.inputs.submitted_media(&keyed.request).await?,
                    };
                    match self.claim(keyed, &change, &token_hash).await? {
                        true => {
                            return self.submit(keyed, inputs, &waiter.step_id, attempt, (&token, lease_until)).await;
                        }
                        false => media = Some(inputs),
                    }
                    rounds = ROUNDS_AT_ONCE;
                }
            }
        }
    }

    /// The time in which a submission may be between claim and record, in milliseconds: that of the function, or of the call
    /// that is the whole work.
    fn lease(&self, request: &GenerationRequest, timeout: Millis) -> Millis {
        match request.provider.answers_at_once() {
            true => self.settings.call_deadline(timeout) + CALL_MARGIN,
            false => self.settings.function_timeout,
        }
    }

    /// What is left of a lease for the call. It ends before the lease does, so that no answer comes after it.
    fn deadline(&self, lease_until: Millis) -> Duration {
        let left = lease_until - CALL_MARGIN - self.platform.clock().now();
        Duration::from_millis(u64::try_from(left).unwrap_or(0).max(SHORTEST_DEADLINE))
    }

    /// Commits a claim. Returns false where the entry changed since it was read.
    async fn claim(&self, keyed: &KeyedRequest, change: &Change, token_hash: &TokenHash) -> Result<bool, Failure> {
        match self.platform.ledger().commit(change).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::OverBudget) => {
                let run = change.budget.as_ref().map(BudgetChange::run);
                match run {
                    Some(run) if self.top_up(run, keyed.price).await? => Ok(false),
                    _ => {
                        let message = format!("{} are needed and the run's budget does not cover them", keyed.price);
                        Err(Failure::new(ErrorName::BudgetExceeded, message))
                    }
                }
            }
            Err(CommitError::RunStopped | CommitError::RunMissing) => {
                let message = "the run was stopped; nothing was submitted for this step";
                Err(Failure::new(ErrorName::RunStopped, message))
            }
            Err(CommitError::Moved) => {
                let message = "another call for this step was quicker; it asks again";
                Err(Failure::new(ErrorName::StepAgain, message))
            }
            Err(CommitError::JobTaken) => Err(StoreError::ledger("a claim registers no job").0),
            Err(CommitError::Unclear(cause)) => {
                // The claim may have been committed: its token identifies it.
                let entry = self.commits.entry(&keyed.key).await?;
                let pending = entry.and_then(|entry| entry.pending);
                if pending.is_some_and(|pending| pending.token_hash == *token_hash) { Ok(true) } else { Err(cause) }
            }
        }
    }

    /// Takes out of the batch's budget what the run of a chunk lacks for this price: its grant is an estimate. Returns
    /// whether the run may have enough now.
    async fn top_up(&self, run: &RunId, price: Money) -> Result<bool, Failure> {
        let ledger = self.platform.ledger();
        let Some(record) = ledger.run(run).await? else { return Ok(false) };
        let (Some(chunk), Some(_)) = (&record.chunk, record.granted) else { return Ok(false) };
        let lacking = price - record.remaining;
        Ok(lacking <= Money::ZERO || ledger.top_up(&chunk.batch, run, lacking).await?)
    }

    /// Submits the attempt that was just claimed: one POST, and whatever comes of it is recorded. From here on no error
    /// of this function may fail the step: the attempt is live, and nudge and sweep reconcile it.
    async fn submit(
        &self,
        keyed: &KeyedRequest,
        media: BTreeMap<String, InputData>,
        step_id: &StepId,
        attempt: Attempt,
        (token, lease_until): (&str, Millis),
    ) -> Result<(), Failure> {
        failpoint(Failpoint::GenerateClaimed);
        let provider = self.platform.provider(keyed.request.provider);
        let submission = Submission {
            request: keyed.request.clone(),
            media,
            webhook_url: self.settings.webhook_url(keyed.request.provider, &keyed.key, attempt, token),
            deadline: self.deadline(lease_until),
        };
        let answer = provider.submit(&submission).await;
        failpoint(Failpoint::GeneratePosted);
        // A refused attempt has no result: the step may still get the one of another step.
        let refused = matches!(&answer, Err(SubmitError::Rejected { .. }));
        let recorded = match answer {
            Ok(Accepted::Queued { request_id }) => {
                self.attempts.record_submitted(&keyed.key, attempt, &request_id).await
            }
            Ok(Accepted::Done(report)) => self.attempts.record_done(&keyed.key, attempt, &report).await,
            Err(SubmitError::Rejected { failure: cause, retry_after, billed }) => {
                let hint = retry_after.map(|pause| i64::try_from(pause.as_millis()).unwrap_or(Millis::MAX));
                let outcome = AttemptFailure {
                    failure: cause,
                    retry_after: hint,
                    billed: if billed { keyed.price } else { Money::ZERO },
                };
                self.attempts.record_failed(&keyed.key, attempt, &outcome).await
            }
            Err(SubmitError::Unknown { message }) => {
                tracing::warn!(entry.key = %keyed.key, entry.attempt = %attempt, error.message = message, "submission outcome unknown");
                self.reconciler.record_reply_lost(&keyed.key, attempt).await
            }
        };
        failpoint(Failpoint::GenerateRecorded);
        if let Err(cause) = recorded {
            tracing::warn!(entry.key = %keyed.key, entry.attempt = %attempt, error.name = %cause.name, error.message = cause.message, "attempt not recorded");
            return Ok(());
        }
        if !refused && let Err(error) = self.platform.ledger().record_source(step_id, ResultSource::Generated).await {
            tracing::warn!(run.id = %step_id.run, step.name = %step_id.step, error.message = %error, "source not noted");
        }
        Ok(())
    }
}

fn timed_out(keyed: &KeyedRequest, how: &str) -> Failure {
    let message = format!("{} was {how}; its result will be kept", keyed.request.model);
    Failure::new(ErrorName::StepTimedOut, message)
}

/// Returns whether the attempt under way should have been checked by now.
fn overdue(entry: &Entry, now: Millis) -> bool {
    entry.pending.as_ref().is_some_and(|pending| pending.next_check_at <= now)
}

fn log_failure(call: &GenerateCall, cause: &Failure) {
    tracing::info!(run.id = %call.run_id, step.name = %call.step, error.name = %cause.name, error.message = cause.message, "step failed");
}
