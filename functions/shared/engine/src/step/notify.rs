//! Notifies the waiters of an entry's result or failure. Collect, generate and the sweep do so, possibly more than
//! once: a step's result is pinned before its token is answered, and the waiter is removed when the token is answered
//! or expired.

use std::sync::Arc;

use fresco_ledger::contention::Contention;
use fresco_ledger::records::{Entry, ResultSource, Waiter};
use fresco_ledger::traits::{Clock, CommitError, Entries, Waiters};
use fresco_ledger::transition::{Notification, expire, notified, recipients};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use futures::StreamExt;

use crate::commit::Commits;
use crate::failpoint::{Failpoint, failpoint};
use crate::planning::cached_results::CachedResults;
use crate::platform::Platform;
use crate::run::answer::Answers;

/// Waiters that are notified concurrently.
const AT_ONCE: usize = 16;

/// Notifies waiters.
pub(crate) struct Notifier<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) cached: Arc<CachedResults<P>>,
    pub(crate) answers: Arc<Answers<P>>,
}

impl<P: Platform> Notifier<P> {
    /// Notifies every waiter of the entry, then records that they are notified.
    pub(crate) async fn notify(&self, key: &ContentKey) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let mut contention = Contention::new(self.platform.clock());
        loop {
            let Some(entry) = self.commits.entry(key).await? else { return Ok(()) };
            if !entry.notify_pending {
                return Ok(());
            }
            if let Some(attempt) = self.expired(&entry).await? {
                // It is older than the decision, and may not be handed out any more.
                self.commits.commit_entry(key, |entry| expire(entry, attempt)).await?;
                continue;
            }
            let waiters = ledger.waiters(key).await?;
            let messages = recipients(&entry, &waiters);
            // A waiter that cannot be notified must not hold up the others.
            let delivered: Vec<Result<(), Failure>> = futures::stream::iter(messages)
                .map(|(waiter, message)| async move { self.deliver(key, &waiter, message).await })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            delivered.into_iter().collect::<Result<(), Failure>>()?;
            failpoint(Failpoint::NotifyDelivered);
            let Some(change) = notified(&entry, self.platform.clock().now()) else { return Ok(()) };
            match ledger.commit(&change).await {
                Ok(()) => return Ok(()),
                // Another decision was committed in between: its waiters have to be notified too. The sweep notifies
                // again while the entry is marked `notify_pending`.
                Err(CommitError::Conflict) if contention.pause().await => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Returns the attempt of a result whose objects are gone or about to go.
    async fn expired(&self, entry: &Entry) -> Result<Option<Attempt>, Failure> {
        for ready in entry.results() {
            if !self.cached.still_holds(ready).await? {
                return Ok(Some(ready.attempt));
            }
        }
        Ok(None)
    }

    async fn deliver(&self, key: &ContentKey, waiter: &Waiter, message: Notification) -> Result<(), Failure> {
        match message {
            Notification::Succeed(ready) => self.answers.succeed(key, waiter, &ready, ResultSource::Joined).await,
            Notification::Fail(failure) => self.answers.fail(key, waiter, &failure).await,
            Notification::RetryAt(at, reason) => self.answers.retry_at(key, waiter, at, &reason).await,
        }
    }
}
