//! Answers the task token of a waiting step with its result or its failure.

use std::sync::Arc;

use fresco_ledger::records::{CachedResult, ResultSource, Waiter};
use fresco_ledger::traits::{Clock, Runs as _, TaskCallbacks, Waiters};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;

use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;

/// Answers waiting steps.
pub(crate) struct Answers<P> {
    pub(crate) platform: Arc<P>,
}

impl<P: Platform> Answers<P> {
    /// Gives a step its result: the result is pinned, the token is answered, and the waiter is removed, in this order.
    pub(crate) async fn succeed(
        &self,
        key: &ContentKey,
        waiter: &Waiter,
        ready: &CachedResult,
        source: ResultSource,
    ) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        ledger.pin(&waiter.step_id, ready, source, self.platform.clock().now()).await?;
        failpoint(Failpoint::AnswerPinned);
        self.answer_done(&waiter.token).await?;
        failpoint(Failpoint::AnswerSucceeded);
        ledger.unwait(key, &waiter.step_id, &waiter.token).await?;
        Ok(())
    }

    /// Fails a waiting step. A retryable failure leaves the step undecided, since the state machine retries it, and
    /// keeps its waiter: the step may have claimed an attempt since the waiter was read, and the retry needs to know
    /// which attempt it joined and from which attempt on it wants a result. Otherwise it would pay for another refresh.
    pub(crate) async fn fail(&self, key: &ContentKey, waiter: &Waiter, cause: &Failure) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        if cause.name.is_retryable() {
            self.platform.callbacks().fail(&waiter.token, cause).await?;
            return Ok(());
        }
        ledger.fail_step(&waiter.step_id, cause, self.platform.clock().now()).await?;
        failpoint(Failpoint::AnswerMarked);
        self.platform.callbacks().fail(&waiter.token, cause).await?;
        failpoint(Failpoint::AnswerFailed);
        ledger.unwait(key, &waiter.step_id, &waiter.token).await?;
        Ok(())
    }

    /// Answers a token with success. Results do not travel through the state machine, so the output is empty.
    pub(crate) async fn answer_done(&self, token: &str) -> Result<(), Failure> {
        self.platform.callbacks().succeed(token, "{}").await?;
        Ok(())
    }
}
