//! Reads an entry, decides a change, and commits it on the condition that the entry has not changed. Every change of an
//! entry that is not a claim goes this way.

use std::sync::Arc;

use fresco_ledger::contention::Contention;
use fresco_ledger::records::{AttemptRecord, Entry};
use fresco_ledger::traits::{Change, Clock, CommitError, Entries, StoreError};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};

use crate::platform::Platform;

/// Reads entries and attempts, and commits changes of them.
pub(crate) struct Commits<P> {
    pub(crate) platform: Arc<P>,
}

impl<P: Platform> Commits<P> {
    /// Reads an entry. One that cannot be read is repaired: its attempts are kept as far as they can be read, its
    /// result becomes a miss.
    pub(crate) async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, Failure> {
        let ledger = self.platform.ledger();
        match ledger.entry(key).await {
            Err(error) if error.is_unreadable() => {
                tracing::error!(entry.key = %key, error.name = %error.0.name, error.message = error.0.message, "entry not readable; repaired");
                ledger.repair(key, self.platform.clock().now()).await?;
                Ok(ledger.entry(key).await?)
            }
            read => Ok(read?),
        }
    }

    /// Reads an attempt. One that cannot be read counts as missing, and its entry is repaired so that it stops waiting
    /// for it.
    pub(crate) async fn attempt(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<AttemptRecord>, Failure> {
        let ledger = self.platform.ledger();
        match ledger.attempt(key, attempt).await {
            Err(error) if error.is_unreadable() => {
                tracing::error!(entry.key = %key, entry.attempt = %attempt, error.name = %error.0.name, error.message = error.0.message, "attempt not readable");
                ledger.repair(key, self.platform.clock().now()).await?;
                Ok(None)
            }
            read => Ok(read?),
        }
    }

    /// Commits the change that `decide` makes of the entry, or nothing where it gives `None`. Returns the entry as it
    /// is afterwards, and whether this call changed it.
    pub(crate) async fn commit(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        decide: impl Fn(&Entry, &AttemptRecord) -> Option<Change> + Send + Sync,
    ) -> Result<Committed, Failure> {
        let ledger = self.platform.ledger();
        let mut contention = Contention::new(self.platform.clock());
        loop {
            let entry = self.entry(key).await?;
            let row = self.attempt(key, attempt).await?;
            let (Some(entry), Some(row)) = (entry, row) else { return Ok(Committed::Gone) };
            let Some(mut change) = decide(&entry, &row) else { return Ok(Committed::Unchanged) };
            loop {
                match ledger.commit(&change).await {
                    Ok(()) => {
                        let mut entry = change.entry;
                        entry.rev += 1;
                        return Ok(Committed::Changed(Box::new(entry)));
                    }
                    Err(CommitError::Conflict | CommitError::Moved) => break,
                    // The run's record has expired and the attempt outlives it: there is no budget left to settle with.
                    Err(CommitError::RunMissing) if change.budget.is_some() => change.budget = None,
                    Err(CommitError::JobTaken) => return Ok(Committed::JobTaken),
                    Err(CommitError::Unclear(failure)) => return Err(failure),
                    Err(other) => return Err(StoreError::ledger(other.to_string()).0),
                }
            }
            if !contention.pause().await {
                return Err(StoreError::ledger("the entry kept changing").0);
            }
        }
    }

    /// Commits a change that concerns no attempt; see [`Commits::commit`].
    pub(crate) async fn commit_entry(
        &self,
        key: &ContentKey,
        decide: impl Fn(&Entry) -> Option<Change> + Send + Sync,
    ) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let mut contention = Contention::new(self.platform.clock());
        loop {
            let Some(entry) = self.entry(key).await? else { return Ok(()) };
            let Some(change) = decide(&entry) else { return Ok(()) };
            match ledger.commit(&change).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict | CommitError::Moved) => {}
                Err(CommitError::Unclear(failure)) => return Err(failure),
                Err(other) => return Err(StoreError::ledger(other.to_string()).0),
            }
            if !contention.pause().await {
                return Err(StoreError::ledger("the entry kept changing").0);
            }
        }
    }
}

/// The result of a commit.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The entry changed; this is its new state.
    Changed(Box<Entry>),
    Unchanged,
    /// The job belongs to another attempt.
    JobTaken,
    /// The entry or the attempt does not exist.
    Gone,
}
