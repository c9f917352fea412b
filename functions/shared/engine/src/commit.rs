//! Read, decide, commit, and again if something else was quicker. Every change of an entry that is not a claim goes this
//! way.

use fresco_ledger::records::{AttemptRecord, Entry};
use fresco_ledger::traits::{Change, Clock, CommitError, Entries, StoreError};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};

use crate::Engine;
use crate::platform::Platform;

/// How often a change is decided anew before the ledger counts as not answering. Each time somebody else's change went
/// through, so the bound is reached only in a storm.
const ROUNDS: usize = 16;

impl<P: Platform> Engine<P> {
    /// The entry as of now. One that cannot be read is reported and mended: what can be read of its attempts is kept, its
    /// result is a miss.
    pub(crate) async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, Failure> {
        let ledger = self.platform.ledger();
        match ledger.entry(key).await {
            Err(error) if error.is_unreadable() => {
                tracing::error!(entry.key = %key, error.name = %error.0.name, error.message = error.0.message, "entry not readable; mended");
                ledger.repair(key, self.platform.clock().now()).await?;
                Ok(ledger.entry(key).await?)
            }
            read => Ok(read?),
        }
    }

    /// An attempt. One that cannot be read is reported, and is none: its entry stops waiting for it.
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

    /// Commits what `decide` makes of the entry as it is. `decide` gives `None` where nothing is to be done. The entry as
    /// it is afterwards, and whether it was this call that changed it.
    pub(crate) async fn transact(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        decide: impl Fn(&Entry, &AttemptRecord) -> Option<Change> + Send + Sync,
    ) -> Result<Transacted, Failure> {
        let ledger = self.platform.ledger();
        for _ in 0..ROUNDS {
            let entry = self.entry(key).await?;
            let row = self.attempt(key, attempt).await?;
            let (Some(entry), Some(row)) = (entry, row) else { return Ok(Transacted::Gone) };
            let Some(mut change) = decide(&entry, &row) else { return Ok(Transacted::Unchanged) };
            loop {
                match ledger.commit(&change).await {
                    Ok(()) => {
                        let mut entry = change.entry;
                        entry.rev += 1;
                        return Ok(Transacted::Changed(Box::new(entry)));
                    }
                    Err(CommitError::Conflict | CommitError::Moved) => break,
                    // The run's record has expired; the attempt outlives it, and there is no budget left to keep.
                    Err(CommitError::RunMissing) if change.budget.is_some() => change.budget = None,
                    Err(CommitError::JobTaken) => return Ok(Transacted::JobTaken),
                    Err(CommitError::Unclear(failure)) => return Err(failure),
                    Err(other) => return Err(StoreError::ledger(other.to_string()).0),
                }
            }
        }
        Err(StoreError::ledger("the entry kept changing").0)
    }

    /// As [`Engine::transact`], for changes that concern no attempt.
    pub(crate) async fn transact_entry(
        &self,
        key: &ContentKey,
        decide: impl Fn(&Entry) -> Option<Change> + Send + Sync,
    ) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        for _ in 0..ROUNDS {
            let Some(entry) = self.entry(key).await? else { return Ok(()) };
            let Some(change) = decide(&entry) else { return Ok(()) };
            match ledger.commit(&change).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict | CommitError::Moved) => {}
                Err(CommitError::Unclear(failure)) => return Err(failure),
                Err(other) => return Err(StoreError::ledger(other.to_string()).0),
            }
        }
        Err(StoreError::ledger("the entry kept changing").0)
    }
}

/// What a transaction came to.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// It changed the entry, which is now this.
    Changed(Box<Entry>),
    /// There was nothing to do.
    Unchanged,
    /// The job that it would register belongs to another attempt.
    JobTaken,
    /// There is no such entry or attempt.
    Gone,
}
