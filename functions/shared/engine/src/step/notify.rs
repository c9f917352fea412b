//! Telling waiters what was decided. It may be done by whoever decided, by collect, or by sweep, and more than once: a
//! step's result is pinned before its token is answered, and the row goes when the token is answered or gone.

use std::sync::Arc;

use fresco_ledger::records::{ResultSource, Waiter};
use fresco_ledger::traits::{Clock, CommitError, Entries, Waiters};
use fresco_ledger::transition::{Message, expire, recipients, told};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;
use futures::StreamExt;

use crate::commit::Commits;
use crate::failpoint::{Failpoint, failpoint};
use crate::planning::cached_results::CachedResults;
use crate::platform::Platform;
use crate::run::answer::Answers;

/// How many waiters are told at a time.
const AT_ONCE: usize = 16;
/// How often telling begins anew because the entry changed meanwhile.
const ROUNDS: usize = 8;

/// Notifies the waiters of entries.
pub(crate) struct Notifier<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) cached: Arc<CachedResults<P>>,
    pub(crate) answers: Arc<Answers<P>>,
}

impl<P: Platform> Notifier<P> {
    /// Tells every waiter what stands in the entry, then notes that they were told.
    pub(crate) async fn notify(&self, key: &ContentKey) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        for _ in 0..ROUNDS {
            let Some(entry) = self.commits.entry(key).await? else { return Ok(()) };
            if !entry.notify_pending {
                return Ok(());
            }
            if let Some(ready) = &entry.result
                && !self.cached.still_holds(ready).await?
            {
                // It stood there before what is to be told, and nobody is to have it any more.
                let attempt = ready.attempt;
                self.commits.commit_entry(key, |entry| expire(entry, attempt)).await?;
                continue;
            }
            let waiters = ledger.waiters(key).await?;
            let messages = recipients(&entry, &waiters);
            // One that cannot be told must not keep the others waiting.
            let told_all: Vec<Result<(), Failure>> = futures::stream::iter(messages)
                .map(|(waiter, message)| async move { self.deliver(key, &waiter, message).await })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            told_all.into_iter().collect::<Result<(), Failure>>()?;
            failpoint(Failpoint::NotifyDelivered);
            let Some(change) = told(&entry, self.platform.clock().now()) else { return Ok(()) };
            match ledger.commit(&change).await {
                Ok(()) => return Ok(()),
                // Another decision came in between: it has to be told too.
                Err(CommitError::Conflict) => {}
                // Sweep tells again what is still marked notify_pending.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn deliver(&self, key: &ContentKey, waiter: &Waiter, message: Message) -> Result<(), Failure> {
        match message {
            Message::Succeed(ready) => self.answers.succeed(key, waiter, &ready, ResultSource::Joined).await,
            Message::Fail(failure) => self.answers.fail(key, waiter, &failure).await,
        }
    }
}
