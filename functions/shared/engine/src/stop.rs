//! Stopping a run: nothing new is submitted, its steps are told at once, and jobs that wait in a provider's queue for nobody
//! are cancelled. What a provider works on already is paid: it goes on into the ledger.

use fresco_ledger::records::{AttemptStage, PendingAttempt, StepId, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Runs, Waiters};
use fresco_ledger::transition::mark_cancelling;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_providers::{CancelAnswer, JobState};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::{Transacted, failure};

/// How many steps are let go side by side: each asks its provider, and API Gateway waits for 30 seconds.
const AT_ONCE: usize = 16;

/// What stopping a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The run.
    pub run_id: RunId,
    /// Whether it was going on. Where not, nothing was done.
    pub was_running: bool,
    /// Steps that have their results.
    pub done: u32,
    /// Jobs that go on at a provider; their results will be kept.
    pub going_on: u32,
    /// Jobs that were still queued, for nobody else, and whose cancellation was asked for.
    pub cancelled: u32,
    /// What the run has paid so far.
    pub spent: Money,
    /// What is reserved for the jobs that go on.
    pub held: Money,
}

impl<P: Platform> Engine<P> {
    /// Stops a run. Doing it again is no error.
    pub async fn stop(&self, run: &RunId) -> Result<Stopped, Failure> {
        let ledger = self.platform.ledger();
        let was_running = ledger.stop_run(run).await.map_err(failure)?;
        crash::point(Point::StopFlagged);
        let (steps, ends) = match was_running {
            true => self.let_all_go(run).await?,
            false => (ledger.steps(run).await.map_err(failure)?, Vec::new()),
        };
        let count =
            |end: Cancelled| u32::try_from(ends.iter().filter(|found| **found == end).count()).unwrap_or(u32::MAX);
        let record = ledger.run(run).await.map_err(failure)?;
        let record = record.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this run"))?;
        let done = steps.iter().filter(|step| step.state == StepState::Done).count();
        Ok(Stopped {
            run_id: run.clone(),
            was_running,
            done: u32::try_from(done).unwrap_or(u32::MAX),
            going_on: count(Cancelled::GoesOn),
            cancelled: count(Cancelled::Asked),
            spent: record.settled,
            held: record.held,
        })
    }

    /// Lets every step go that is at work, of a run that is told to stop.
    pub(crate) async fn let_all_go(&self, run: &RunId) -> Result<(Vec<StepRecord>, Vec<Cancelled>), Failure> {
        let steps = self.platform.ledger().steps(run).await.map_err(failure)?;
        let running = steps.iter().filter(|step| step.state == StepState::Running);
        // A list of what is to be done: a stream that borrows from each would not be `Send`.
        let ends: Vec<_> = running.filter_map(|step| Some(self.let_go(run, step, step.key.as_ref()?))).collect();
        let ends: Vec<Cancelled> = stream::iter(ends).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok((steps, ends))
    }

    async fn let_go(&self, run: &RunId, step: &StepRecord, key: &ContentKey) -> Result<Cancelled, Failure> {
        self.release(run, step, key).await?;
        crash::point(Point::StopReleased);
        self.cancel_unwanted(key).await
    }

    /// A step that waits is told; it does not hear of what becomes of the job.
    async fn release(&self, run: &RunId, step: &StepRecord, key: &ContentKey) -> Result<(), Failure> {
        let step_id = StepId { run: run.clone(), step: step.plan.name.clone() };
        let waiters = self.platform.ledger().waiters(key).await.map_err(failure)?;
        let cause = Failure::new(ErrorName::RunStopped, "the run was stopped; a result that is paid is kept");
        match waiters.iter().find(|waiter| waiter.step_id == step_id) {
            Some(waiter) => self.fail(key, waiter, &cause).await,
            // Its call has not come so far, or is over: generate finds the flag.
            None => Ok(()),
        }
    }

    /// Asks for the cancellation of the attempt under the key, if nobody waits for it and the provider has not begun. The
    /// entry stays as it is until the provider says that the job has ended: a cancellation is a request, and who joins in
    /// the meantime is told to ask again.
    pub(crate) async fn cancel_unwanted(&self, key: &ContentKey) -> Result<Cancelled, Failure> {
        let ledger = self.platform.ledger();
        let entry = self.entry(key).await?;
        let Some(pending) = entry.and_then(|entry| entry.pending) else { return Ok(Cancelled::Nothing) };
        let PendingAttempt { attempt, stage: AttemptStage::Submitted, request_id: Some(request_id), .. } = &pending
        else {
            return Ok(Cancelled::GoesOn);
        };
        let Some(row) = self.attempt(key, *attempt).await? else { return Ok(Cancelled::Nothing) };
        let provider = self.platform.provider(row.request.provider);
        if !matches!(provider.check(&row.request.endpoint, request_id).await, Ok(JobState::Queued { .. })) {
            return Ok(Cancelled::GoesOn);
        }
        if !ledger.waiters(key).await.map_err(failure)?.is_empty() {
            return Ok(Cancelled::GoesOn);
        }
        let now = self.platform.clock().now();
        // Noted before it is asked for: a cancellation that nobody noted would be the end for whoever joins.
        let noted = self.transact(key, *attempt, |entry, row| mark_cancelling(entry, row.attempt, now)).await?;
        if !matches!(noted, Transacted::Changed(_)) {
            return Ok(Cancelled::GoesOn);
        }
        crash::point(Point::StopCancelling);
        match provider.cancel(&row.request.endpoint, request_id).await {
            Ok(CancelAnswer::Requested) => {
                tracing::info!(entry.key = %key, entry.attempt = %attempt, "cancellation asked for");
                Ok(Cancelled::Asked)
            }
            Ok(CancelAnswer::TooLate | CancelAnswer::Missing) => Ok(Cancelled::GoesOn),
            Err(error) => {
                // It is looked at again soon, and ends as it ends.
                tracing::warn!(entry.key = %key, error.name = %error.failure.name, error.message = error.failure.message, "not cancelled");
                Ok(Cancelled::GoesOn)
            }
        }
    }
}

/// What became of an attempt that may be wanted by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// Its cancellation was asked for.
    Asked,
    /// It goes on: somebody waits, the provider works, or it cannot be told.
    GoesOn,
    /// There is none.
    Nothing,
}
