//! Telling waiters what was decided. It may be done by whoever decided, by collect, or by sweep, and more than once: a
//! step's result is pinned before its token is answered, and the row goes when the token is answered or gone.

use fresco_ledger::records::{CachedResult, ResultSource, Waiter};
use fresco_ledger::traits::{Clock, Entries, Runs, TaskCallbacks, Waiters};
use fresco_ledger::transition::{Notification, expire, notified, recipients};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;
use futures::StreamExt;

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::failure;

/// How many waiters are told at a time.
const AT_ONCE: usize = 16;
/// How often telling begins anew because the entry changed meanwhile.
const ROUNDS: usize = 8;

impl<P: Platform> Engine<P> {
    /// Tells every waiter what stands in the entry, then notes that they were told.
    pub async fn tell(&self, key: &ContentKey) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        for _ in 0..ROUNDS {
            let Some(entry) = self.entry(key).await? else { return Ok(()) };
            if !entry.notify_pending {
                return Ok(());
            }
            if let Some(ready) = &entry.result
                && !self.still_holds(ready).await?
            {
                // It stood there before what is to be told, and nobody is to have it any more.
                let attempt = ready.attempt;
                self.transact_entry(key, |entry| expire(entry, attempt)).await?;
                continue;
            }
            let waiters = ledger.waiters(key).await.map_err(failure)?;
            let messages = recipients(&entry, &waiters);
            // One that cannot be told must not keep the others waiting.
            let told_all: Vec<Result<(), Failure>> = futures::stream::iter(messages)
                .map(|(waiter, message)| async move { self.deliver(key, &waiter, message).await })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            told_all.into_iter().collect::<Result<(), Failure>>()?;
            crash::point(Point::TellDelivered);
            let Some(change) = notified(&entry, self.platform.clock().now()) else { return Ok(()) };
            match ledger.commit(&change).await {
                Ok(()) => return Ok(()),
                // Another decision came in between: it has to be told too.
                Err(fresco_ledger::traits::CommitError::Conflict) => {}
                // Sweep tells again what is still marked notify_pending.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn deliver(&self, key: &ContentKey, waiter: &Waiter, message: Notification) -> Result<(), Failure> {
        match message {
            Notification::Succeed(ready) => self.succeed(key, waiter, &ready, ResultSource::Joined).await,
            Notification::Fail(failure) => self.fail(key, waiter, &failure).await,
        }
    }

    /// Gives a step its result: pinned first, then its token is answered, then it no longer waits.
    pub(crate) async fn succeed(
        &self,
        key: &ContentKey,
        waiter: &Waiter,
        ready: &CachedResult,
        source: ResultSource,
    ) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        ledger.pin(&waiter.step_id, ready, source, self.platform.clock().now()).await.map_err(failure)?;
        crash::point(Point::TellPinned);
        self.answer_done(&waiter.token).await?;
        crash::point(Point::TellAnswered);
        ledger.delete_waiter_if(key, &waiter.step_id, &waiter.token).await.map_err(failure)?;
        Ok(())
    }

    /// Tells a step that it failed. A retryable failure leaves the step undecided, since the state machine asks again, and
    /// leaves its row: the step may have claimed an attempt since the row was read, and has to ask again with what it joined
    /// and from which attempt on it wants a result. Otherwise it would pay for another refresh.
    pub(crate) async fn fail(&self, key: &ContentKey, waiter: &Waiter, cause: &Failure) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        if cause.name.is_retryable() {
            self.platform.callbacks().fail(&waiter.token, cause).await.map_err(failure)?;
            return Ok(());
        }
        ledger.fail_step(&waiter.step_id, cause, self.platform.clock().now()).await.map_err(failure)?;
        crash::point(Point::TellMarked);
        self.platform.callbacks().fail(&waiter.token, cause).await.map_err(failure)?;
        crash::point(Point::TellRefused);
        ledger.delete_waiter_if(key, &waiter.step_id, &waiter.token).await.map_err(failure)?;
        Ok(())
    }

    /// Answers a token with success. Results do not travel through the state machine, so there is nothing to say.
    pub(crate) async fn answer_done(&self, token: &str) -> Result<(), Failure> {
        self.platform.callbacks().succeed(token, "{}").await.map_err(failure)?;
        Ok(())
    }
}
