//! Answers the task token of a waiting step with its result or its failure.

use std::sync::Arc;

use fresco_ledger::records::{CachedResult, Millis, ResultSource, Waiter};
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
        ledger.delete_waiter_if(key, &waiter.step_id, &waiter.token).await?;
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
        ledger.delete_waiter_if(key, &waiter.step_id, &waiter.token).await?;
        Ok(())
    }

    /// Lets the state machine call a step again when a pause is over. The step keeps its waiter, and the pause costs none of
    /// its retries.
    pub(crate) async fn retry_at(
        &self,
        key: &ContentKey,
        waiter: &Waiter,
        not_before: Millis,
        reason: &Failure,
    ) -> Result<(), Failure> {
        let seconds = pause_seconds(not_before - self.platform.clock().now(), key);
        self.platform.callbacks().retry_in(&waiter.token, seconds, reason).await?;
        Ok(())
    }

    /// Answers a token with success. Results do not travel through the state machine, so the output is empty.
    pub(crate) async fn answer_done(&self, token: &str) -> Result<(), Failure> {
        self.platform.callbacks().succeed(token, "{}").await?;
        Ok(())
    }
}

/// The seconds to wait for a pause to be over: whole, at least one, and up to a quarter more by the key, so that steps which
/// were refused together do not come back together.
fn pause_seconds(pause: Millis, key: &ContentKey) -> u32 {
    let pause = u64::try_from(pause).unwrap_or(0);
    let spread = u64::from(key.as_str().bytes().last().unwrap_or_default() % 16);
    let seconds = (pause + pause * spread / 64).div_ceil(1_000);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_whole_seconds_and_never_shorter_than_asked_for() {
        for n in 0..64u8 {
            let key = ContentKey::digest(&[n]);
            assert_eq!(pause_seconds(-5_000, &key), 1);
            for pause in [1, 999, 2_000, 45_500, 300_000] {
                let seconds = i64::from(pause_seconds(pause, &key));
                assert!((pause..=pause * 5 / 4 + 1_000).contains(&(seconds * 1_000)), "{pause}: {seconds}");
            }
        }
        let of = |n: u8| pause_seconds(300_000, &ContentKey::digest(&[n]));
        assert!((0..64).map(of).collect::<std::collections::BTreeSet<_>>().len() > 8, "they are spread");
    }
}
