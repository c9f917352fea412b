//! What generate does: it ensures a step. It finds the result, joins the attempt under way, or claims and submits; then it
//! returns, and nothing runs while the provider works. It answers its task token itself, with the result or with a failure.

use fresco_ledger::records::{Entry, Millis, Request, ResultSource, StepId, StepRecord, StepState, Waiter};
use fresco_ledger::traits::{Clock, CommitError, Entries, Invoker, Runs, StoreError, TaskCallbacks, Wait, Waiters};
use fresco_ledger::transition::{
    AcquireRequest, Acquisition, AttemptFailure, acquire, expire, fail, mark_unknown, record_submission,
};
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName, TokenHash};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::ReadyStep;
use fresco_providers::{Accepted, Submission, SubmitError, SubmittedInput};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::failure;

/// How often the entry is read anew because it changed between reading and deciding.
const ROUNDS: usize = 24;
/// After the function's timeout, its process is surely gone so much later.
const SURELY_DEAD: Millis = 300_000;

/// The input of a Generate task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepName,
    /// The task token of this try.
    pub token: String,
}

impl Call {
    fn step_id(&self) -> StepId {
        StepId { run: self.run_id.clone(), step: self.step.clone() }
    }
}

impl<P: Platform> Engine<P> {
    /// Ensures the step and answers its token, unless the step now waits. An error is what could not even be told.
    pub async fn generate(&self, call: &Call) -> Result<(), Failure> {
        let Err(cause) = self.ensure(call).await else { return Ok(()) };
        log_failure(call, &cause);
        if !cause.name.is_retryable() {
            self.platform
                .ledger()
                .fail_step(&call.step_id(), &cause, self.platform.clock().now())
                .await
                .map_err(failure)?;
            crash::point(Point::GenerateFailed);
        }
        self.platform.callbacks().fail(&call.token, &cause).await.map_err(failure)?;
        Ok(())
    }

    /// The errors that it returns have not been told yet.
    async fn ensure(&self, call: &Call) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let step_id = call.step_id();
        let row = ledger.start_step(&step_id, self.platform.clock().now()).await.map_err(failure)?;
        crash::point(Point::GenerateBegun);
        let Some(row) = row else {
            return Err(Failure::new(ErrorName::RunNotFound, "there is no record of this run and step"));
        };
        if let Some(decided) = self.decided(call, &row).await {
            return decided;
        }
        let run = ledger.run(&call.run_id).await.map_err(failure)?;
        let Some(run) = run.filter(|run| !run.stop && !run.status.is_final()) else {
            return Err(Failure::new(ErrorName::RunStopped, "the run is stopped; nothing was submitted for this step"));
        };
        let run_left = run.bound_at.map_or(0, |bound_at| bound_at - self.platform.clock().now());
        let plan = self.ready(&step_id, &row).await?;
        let (key, waiter) = (&plan.key, self.wait(call, &plan).await?);
        crash::point(Point::GenerateWaiting);
        if row.calls > 1 && waiter.joined == Attempt::NONE {
            // A new row for a step that asked before: whoever told an earlier call may have removed the old one since the
            // step was read, and with it that the step shares a failure. The step itself was marked before that.
            let again = ledger.step(&step_id).await.map_err(failure)?;
            if let Some(row) = again
                && let Some(decided) = self.decided(call, &row).await
            {
                ledger.delete_waiter_if(key, &step_id, &call.token).await.map_err(failure)?;
                return decided;
            }
        }
        match self.decide(&plan, waiter.clone(), self.settings.needed(run_left)).await {
            // The step is marked first, and its row goes last: a call that ends in between must not leave a step that is
            // undecided and has forgotten which failure it shares.
            Err(cause) if !cause.name.is_retryable() => {
                log_failure(call, &cause);
                self.fail(key, &waiter, &cause).await?;
                if cause.name == ErrorName::StepTimedOut {
                    self.cancel_unwanted(key).await?;
                }
                Ok(())
            }
            // The step asks again, and has to do so with what it joined and from which attempt on it wants a result:
            // without its row it would pay for another refresh, or anew for an attempt whose fate it shares.
            outcome => outcome,
        }
    }

    /// Answers a step that is decided; `None` where it is not.
    async fn decided(&self, call: &Call, row: &StepRecord) -> Option<Result<(), Failure>> {
        if row.pinned.is_some() {
            return Some(self.answer_done(&call.token).await);
        }
        let failed = row.failure.as_ref().filter(|_| row.state == StepState::Failed)?;
        Some(Err(failed.clone()))
    }

    /// Registers as a waiter before the entry is read: so either that read sees a decision, or whoever decides sees us.
    async fn wait(&self, call: &Call, plan: &ReadyStep) -> Result<Waiter, Failure> {
        let ledger = self.platform.ledger();
        let base = match plan.cache {
            CachePolicy::Use | CachePolicy::Off => Attempt::NONE,
            // Only an attempt begun after this counts. A nudge finds the row and keeps its base.
            CachePolicy::Refresh => self.entry(&plan.key).await?.map_or(Attempt::NONE, |entry| entry.last_attempt),
        };
        let wait = Wait {
            step_id: call.step_id(),
            token: call.token.clone(),
            base,
            now: self.platform.clock().now(),
            timeout_ms: i64::from(plan.timeout) * 1_000,
        };
        ledger.put_waiter(&plan.key, &wait).await.map_err(failure)
    }

    /// `needed` is how long a hit has to live from now on.
    async fn decide(&self, plan: &ReadyStep, mut waiter: Waiter, needed: Millis) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let request = Request::from(plan);
        let token = self.platform.new_token()?;
        let token_hash = TokenHash::of(&token);
        let mut fresh = None;
        let mut media = None;
        for _ in 0..ROUNDS {
            let now = self.platform.clock().now();
            let entry = self.entry(&plan.key).await?.unwrap_or_else(|| Entry::new(plan.key.clone()));
            let wanted = entry.result.as_ref().filter(|ready| ready.attempt > waiter.base);
            let fit = match wanted {
                Some(ready) => self.fit(&plan.key, ready, needed).await?,
                None => None,
            };
            if let (Some(ready), None) = (wanted, &fit) {
                let attempt = ready.attempt;
                self.transact_entry(&plan.key, |entry| expire(entry, attempt)).await?;
                crash::point(Point::GenerateExpired);
                continue;
            }
            let lease_until = now + self.settings.function_timeout;
            let asked = AcquireRequest {
                waiter: &waiter,
                usable: fit.is_some(),
                request: &request,
                token_hash: &token_hash,
                lease_until,
                submitter_dead_at: lease_until + SURELY_DEAD,
                now,
            };
            match acquire(&entry, &asked) {
                Acquisition::Hit(ready) => {
                    // As it was written anew, if it was.
                    let ready = fit.unwrap_or(ready);
                    return self.succeed(&plan.key, &waiter, &ready, ResultSource::Hit).await;
                }
                Acquisition::SharedFailure(cause) => return Err(cause),
                Acquisition::RetryLater(last) => return Err(last.failure),
                // Who has only just joined need not ask the provider, unless its word is overdue: then whoever was there
                // before may be gone.
                Acquisition::Join(attempt) if fresh == Some(attempt) && !overdue(&entry, now) => return Ok(()),
                Acquisition::Join(attempt) if waiter.joined == attempt => {
                    return self.examine(&entry, Some(&waiter)).await;
                }
                Acquisition::Join(attempt) => {
                    let own = entry.pending.as_ref().is_some_and(|pending| pending.leader == waiter.step_id);
                    let source = if own { ResultSource::Generated } else { ResultSource::Joined };
                    ledger.record_source(&waiter.step_id, source).await.map_err(failure)?;
                    crash::point(Point::GenerateSourceNoted);
                    ledger.record_join(&plan.key, &waiter.step_id, attempt).await.map_err(failure)?;
                    crash::point(Point::GenerateJoined);
                    // Read once more: a failure decided before `joined` was written was not told to us.
                    waiter.joined = attempt;
                    fresh = Some(attempt);
                }
                Acquisition::Claim(change) => {
                    let attempt = change.entry.last_attempt;
                    self.require_room().await?;
                    // What could still fail is done before the claim: behind it nothing may fail the step but its outcome.
                    let inputs = match media.take() {
                        Some(inputs) => inputs,
                        None => self.submitted_inputs(plan).await?,
                    };
                    match ledger.commit(&change).await {
                        Ok(()) => return self.submit(plan, inputs, &waiter.step_id, attempt, &token).await,
                        Err(CommitError::Conflict) => media = Some(inputs),
                        Err(CommitError::OverBudget) => {
                            let message = format!("{} are needed and the run's budget does not cover them", plan.price);
                            return Err(Failure::new(ErrorName::BudgetExceeded, message));
                        }
                        Err(CommitError::RunStopped | CommitError::RunMissing) => {
                            return Err(Failure::new(
                                ErrorName::RunStopped,
                                "the run was stopped; nothing was submitted for this step",
                            ));
                        }
                        Err(CommitError::Moved) => {
                            let message = "another call for this step was quicker; it asks again";
                            return Err(Failure::new(ErrorName::StepAgain, message));
                        }
                        Err(CommitError::JobTaken) => return Err(StoreError::ledger("a claim registers no job").0),
                        Err(CommitError::Unclear(cause)) => {
                            // The claim may have gone through: its token tells whether it is ours.
                            let entry = self.entry(&plan.key).await?;
                            let ours =
                                entry.and_then(|entry| entry.pending).is_some_and(|p| p.token_hash == token_hash);
                            return if ours {
                                self.submit(plan, inputs, &waiter.step_id, attempt, &token).await
                            } else {
                                Err(cause)
                            };
                        }
                    }
                }
            }
        }
        Err(StoreError::ledger("the entry kept changing").0)
    }

    /// Submits the attempt that was just claimed: one POST, whatever comes of it is recorded. From here on nothing may fail
    /// the step because of us: the attempt is live, and is found out about by nudge and sweep.
    async fn submit(
        &self,
        plan: &ReadyStep,
        inputs: Vec<SubmittedInput>,
        step_id: &StepId,
        attempt: Attempt,
        token: &str,
    ) -> Result<(), Failure> {
        crash::point(Point::GenerateClaimed);
        let provider = self.platform.provider(plan.provider);
        let submission = Submission {
            endpoint: plan.endpoint.clone(),
            params: plan.params.clone(),
            inputs,
            webhook_url: self.settings.webhook_url(plan.provider, &plan.key, attempt, token),
        };
        let answer = provider.submit(&submission).await;
        crash::point(Point::GeneratePosted);
        // Of a refused attempt nothing comes: the step may yet get its result from one that another step makes.
        let refused = matches!(&answer, Err(SubmitError::Rejected { .. }));
        let recorded = match answer {
            Ok(Accepted::Queued { request_id }) => self.record_submitted(&plan.key, attempt, &request_id).await,
            Ok(Accepted::Done(report)) => self.record_done(&plan.key, attempt, &report).await,
            Err(SubmitError::Rejected { failure: cause, retry_after, billed }) => {
                let hint = retry_after.map(|pause| i64::try_from(pause.as_millis()).unwrap_or(Millis::MAX));
                let outcome = AttemptFailure {
                    failure: cause,
                    retry_after: hint,
                    billed: if billed { plan.price } else { Money::ZERO },
                };
                self.record_failed(&plan.key, attempt, &outcome).await
            }
            Err(SubmitError::Unknown { message }) => {
                tracing::warn!(entry.key = %plan.key, entry.attempt = %attempt, error.message = message, "submission outcome unknown");
                let now = self.platform.clock().now();
                self.transact(&plan.key, attempt, |entry, _| mark_unknown(entry, attempt, now)).await.map(drop)
            }
        };
        crash::point(Point::GenerateRecorded);
        if let Err(cause) = recorded {
            tracing::warn!(entry.key = %plan.key, entry.attempt = %attempt, error.name = %cause.name, error.message = cause.message, "attempt not recorded");
            return Ok(());
        }
        if !refused && let Err(error) = self.platform.ledger().record_source(step_id, ResultSource::Generated).await {
            tracing::warn!(run.id = %step_id.run, step.name = %step_id.step, error.message = %error, "source not noted");
        }
        Ok(())
    }

    pub(crate) async fn record_submitted(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        request_id: &str,
    ) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        self.transact(key, attempt, |entry, row| record_submission(entry, row, request_id, now)).await.map(drop)
    }

    /// Records a failure and tells recipients it concerns.
    pub(crate) async fn record_failed(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        outcome: &AttemptFailure,
    ) -> Result<(), Failure> {
        let now = self.platform.clock().now();
        self.transact(key, attempt, |entry, row| fail(entry, row, outcome, now)).await?;
        crash::point(Point::AttemptFailed);
        self.tell(key).await
    }

    /// Keeps the provider's report on the attempt and starts collect.
    pub(crate) async fn record_done(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        report: &fresco_providers::JobReport,
    ) -> Result<(), Failure> {
        let json =
            serde_json::to_string(report).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform.ledger().record_report(key, attempt, &json).await.map_err(failure)?;
        crash::point(Point::AttemptReported);
        self.platform.invoker().collect(key, attempt).await.map_err(failure)
    }
}

/// Whether the attempt under way should have been looked at by now.
fn overdue(entry: &Entry, now: Millis) -> bool {
    entry.pending.as_ref().is_some_and(|pending| pending.next_check_at <= now)
}

fn log_failure(call: &Call, cause: &Failure) {
    tracing::info!(run.id = %call.run_id, step.name = %call.step, error.name = %cause.name, error.message = cause.message, "step failed");
}
