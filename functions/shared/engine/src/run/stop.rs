//! Stops a run: nothing new is submitted, its waiting steps fail at once, and jobs that are queued at a provider for no
//! other step are cancelled. A job that the provider works on is paid, and its result is stored.

use fresco_api_types::StopView;
use fresco_ledger::records::{StepId, StepRecord, StepState};
use fresco_ledger::traits::{Runs as _, Waiters};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use futures::{StreamExt, TryStreamExt, stream};

use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::run::Runs;
use crate::run::cancel::Cancelled;

/// Steps that are released concurrently: each calls its provider, and API Gateway waits for 30 seconds.
const AT_ONCE: usize = 16;

impl<P: Platform> Runs<P> {
    /// Stops a run. It is idempotent.
    pub async fn stop(&self, run: &RunId) -> Result<StopView, Failure> {
        let ledger = self.platform.ledger();
        let was_running = ledger.stop_run(run).await?;
        failpoint(Failpoint::StopFlagged);
        let (steps, ends) = match was_running {
            true => self.release_all(run).await?,
            false => (ledger.steps(run).await?, Vec::new()),
        };
        let count =
            |end: Cancelled| u32::try_from(ends.iter().filter(|found| **found == end).count()).unwrap_or(u32::MAX);
        let record = ledger.run(run).await?;
        let record = record.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this run"))?;
        let done = steps.iter().filter(|step| step.state == StepState::Done).count();
        Ok(StopView {
            id: run.to_string(),
            was_running,
            done: u32::try_from(done).unwrap_or(u32::MAX),
            going_on: count(Cancelled::GoesOn),
            cancelled: count(Cancelled::Asked),
            spent: record.settled.as_micros(),
            held: record.held.as_micros(),
        })
    }

    /// Releases every running step of a run that is stopped.
    pub(crate) async fn release_all(&self, run: &RunId) -> Result<(Vec<StepRecord>, Vec<Cancelled>), Failure> {
        let steps = self.platform.ledger().steps(run).await?;
        let running = steps.iter().filter(|step| step.state == StepState::Running);
        // Collected first: a stream that borrows from each would not be `Send`.
        let ends: Vec<_> = running.filter_map(|step| Some(self.release(run, step, step.key.as_ref()?))).collect();
        let ends: Vec<Cancelled> = stream::iter(ends).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok((steps, ends))
    }

    async fn release(&self, run: &RunId, step: &StepRecord, key: &ContentKey) -> Result<Cancelled, Failure> {
        self.fail_waiter(run, step, key).await?;
        failpoint(Failpoint::StopReleased);
        self.cancel_unwanted(key).await
    }

    /// Fails the waiter of a step, which is not notified of the end of the job any more.
    async fn fail_waiter(&self, run: &RunId, step: &StepRecord, key: &ContentKey) -> Result<(), Failure> {
        let step_id = StepId { run: run.clone(), step: step.plan.id() };
        let waiters = self.platform.ledger().waiters(key).await?;
        let cause = Failure::new(ErrorName::RunStopped, "the run was stopped; a result that is paid is kept");
        match waiters.iter().find(|waiter| waiter.step_id == step_id) {
            Some(waiter) => self.answers.fail(key, waiter, &cause).await,
            // Its generate call has not got so far, or is over: the next one finds the flag.
            None => Ok(()),
        }
    }
}
