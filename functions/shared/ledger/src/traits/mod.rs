//! What the functions can do, one trait a capability. Each has an in-memory twin (`memory`) and a real implementation
//! (`dynamo`, `aws`), and both pass the same contract suite. Methods take what they need and return what they saw; what may
//! follow from it is decided in `transition`.

mod batches;
mod lifecycle;
mod objects;
mod schedules;
mod storage;

use std::future::Future;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::money::Money;

pub use batches::{Batches, ChunkEnd};
pub use lifecycle::{ExpiryRule, Lifecycle};
pub use objects::{ConditionalGet, ListedObject, ObjectHead, Objects, Put, PutLink, Upload};
pub use schedules::{Firing, FiringOutcome, Firings, Scheduler, Timer};
pub use storage::{Pass, Usage, UsageCounter};

use crate::records::{
    AttemptRecord, CachedResult, Entry, Millis, ResultSource, RunRecord, RunStatus, StepId, StepRecord, Waiter,
};

/// A read or an idempotent write that did not work. It may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub Failure);

impl StoreError {
    /// The ledger did not answer.
    pub fn ledger(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::LedgerUnavailable, message))
    }

    /// The storage did not answer.
    pub fn storage(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::StorageUnavailable, message))
    }

    /// A row that this version cannot read: damaged, or written by another version.
    pub fn unreadable(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::LedgerUnreadable, message))
    }

    /// Whether it is a row that cannot be read. Trying again does not help; see [`Entries::mend`].
    pub fn is_unreadable(&self) -> bool {
        self.0.name == ErrorName::LedgerUnreadable
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        error.0
    }
}

/// A change of an entry that was not committed, or of which it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The entry has been written since it was read (or another transaction is under way). Read again and decide again.
    #[error("the entry changed since it was read")]
    Conflict,
    /// The job belongs to another attempt.
    #[error("the job belongs to another attempt")]
    JobTaken,
    /// Less is left of the run's budget than the hold needs.
    #[error("the budget does not cover the hold")]
    OverBudget,
    /// The run is stopped, or has ended.
    #[error("the run is stopped")]
    RunStopped,
    /// The run's record is gone.
    #[error("the run's record is gone")]
    RunMissing,
    /// The waiter's row is gone, or another call for the same step has joined an attempt. Ask again from the beginning.
    #[error("another call for the same step was quicker")]
    Moved,
    /// It may have been committed or not: read again.
    #[error("the reply was lost: {0}")]
    Unclear(Failure),
}

/// What a commit does to a run's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetChange {
    /// Reserve: the run has to be running, not stopped, and have so much left.
    Hold {
        /// The run.
        run: RunId,
        /// How much.
        amount: Money,
    },
    /// End a hold: `held` leaves what is held, `spent` joins what is settled, the difference is given back. Either may be
    /// negative (a correction).
    Settle {
        /// The run.
        run: RunId,
        /// What leaves what is held.
        held: Money,
        /// What joins what is settled.
        spent: Money,
    },
}

impl BudgetChange {
    /// Whose budget.
    pub fn run(&self) -> &RunId {
        match self {
            BudgetChange::Hold { run, .. } | BudgetChange::Settle { run, .. } => run,
        }
    }
}

/// One transaction: all of it or nothing, and only if the entry is still at the revision it was read at.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The entry as it shall be. Its `rev` is the one it was read at; the commit stores `rev + 1`.
    pub entry: Entry,
    /// An attempt as it shall be (created or overwritten; its stored provider report stays).
    pub attempt: Option<AttemptRecord>,
    /// A job to register for (the entry's key, this attempt). Registering it again for the same attempt is no error;
    /// for another it is [`CommitError::JobTaken`].
    pub job: Option<JobOf>,
    /// What happens to a run's budget.
    pub budget: Option<BudgetChange>,
    /// A waiter of the entry that joins an attempt.
    pub joined: Option<Joining>,
}

impl Change {
    /// A change of the entry alone.
    pub fn of(entry: Entry) -> Self {
        Change { entry, attempt: None, job: None, budget: None, joined: None }
    }
}

/// A waiter joins the attempt that it claims. Its row has to be there as it was when this was decided: if another call for
/// the same step has joined meanwhile, the step shares that attempt's fate and must not claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// Whose row.
    pub step_id: StepId,
    /// What the row has to say.
    pub from: Attempt,
    /// What it says then.
    pub to: Attempt,
}

/// A provider's job and the attempt it belongs to. `J#provider#request_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOf {
    /// Who runs it.
    pub provider: ProviderName,
    /// The provider's id.
    pub request_id: String,
    /// The attempt.
    pub attempt: Attempt,
}

/// Entries that were looked for together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundEntries {
    /// Those that are there, in any order.
    pub entries: Vec<Entry>,
    /// Those that are there and cannot be read, and why.
    pub unreadable: Vec<(ContentKey, Failure)>,
}

/// Entries, attempts and jobs.
pub trait Entries: Send + Sync {
    /// The entry as of now (strongly consistent). One that cannot be read is an error: see [`Entries::mend`].
    fn entry(&self, key: &ContentKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;
    /// Those of the entries that exist, in any order; any number of keys, repeated ones once (strongly consistent).
    fn entries(&self, keys: &[ContentKey]) -> impl Future<Output = Result<FoundEntries, StoreError>> + Send;
    /// Makes an entry usable again that cannot be read, or whose pending attempt cannot: what can be read of it and of its
    /// attempts is kept ([`crate::transition::repaired`]), and the row as it was is put aside, for who wants to look. An entry
    /// that is well is left alone.
    fn repair(&self, key: &ContentKey, now: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// An attempt.
    fn attempt(
        &self,
        key: &ContentKey,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Option<AttemptRecord>, StoreError>> + Send;
    /// Commits a change.
    fn commit(&self, change: &Change) -> impl Future<Output = Result<(), CommitError>> + Send;
    /// Records the provider's report (JSON) on an attempt that exists; the first one stays.
    fn record_report(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        report: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// The recorded report.
    fn report(
        &self,
        key: &ContentKey,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
    /// Whose job this is.
    fn job(
        &self,
        provider: ProviderName,
        request_id: &str,
    ) -> impl Future<Output = Result<Option<(ContentKey, Attempt)>, StoreError>> + Send;
    /// Keys of entries that are due, the longest due first. An index: it may lag behind.
    fn entries_to_check(
        &self,
        now: Millis,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ContentKey>, StoreError>> + Send;
}

/// What a step says when it begins or goes on waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Who.
    pub step_id: StepId,
    /// The token of this try.
    pub token: String,
    /// See [`Waiter::base`]; only the first one given counts.
    pub base: Attempt,
    /// Now.
    pub now: Millis,
    /// The step's timeout.
    pub timeout_ms: Millis,
}

/// Waiters of entries.
pub trait Waiters: Send + Sync {
    /// Writes or refreshes the row: the token is overwritten; `joined`, `base`, `since` and `running_since` stay as they were.
    fn wait(&self, key: &ContentKey, wait: &Wait) -> impl Future<Output = Result<Waiter, StoreError>> + Send;
    /// Notes the attempt that it joined, if the row is there.
    fn join(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Notes that the provider was seen running, if the row is there and nothing is noted.
    fn record_running(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        now: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Every waiter of the entry (strongly consistent).
    fn waiters(&self, key: &ContentKey) -> impl Future<Output = Result<Vec<Waiter>, StoreError>> + Send;
    /// Removes the row, whatever its token: the run has ended, and nobody hears under it.
    fn leave(&self, key: &ContentKey, step_id: &StepId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Removes the row if it still has this token; whether it did.
    fn unwait(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        token: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// A run's place in the list of all: they stand there by when they were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    /// When it was written.
    pub created_at: Millis,
    /// Its id.
    pub run: RunId,
}

/// Runs and their steps.
pub trait Runs: Send + Sync {
    /// Writes a new run and lists it. `Ok(false)`: there is one with this id; it is left as it is.
    fn create_run(&self, run: &RunRecord) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// A run.
    fn run(&self, id: &RunId) -> impl Future<Output = Result<Option<RunRecord>, StoreError>> + Send;
    /// Every run that has not ended and was written within the last ninety days, in any order (strongly consistent).
    fn open_runs(&self, now: Millis) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;
    /// The run of a pipeline of this name that was planned last.
    fn last_planned(&self, pipeline: &str) -> impl Future<Output = Result<Option<RunId>, StoreError>> + Send;
    /// So many runs, newest first, behind this place in the list; from the newest on where it is `None`.
    fn list_runs(
        &self,
        limit: u32,
        behind: Option<&ListPlace>,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;
    /// Writes the steps (those that are there already stay as they are: plan may be called twice), their number and the bound,
    /// and notes the run as the last one of the pipeline of this name.
    fn plan_run(
        &self,
        id: &RunId,
        pipeline: &str,
        steps: &[StepRecord],
        bound_at: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// A step.
    fn step(&self, step_id: &StepId) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Every step of a run, in the document's order.
    fn steps(&self, run: &RunId) -> impl Future<Output = Result<Vec<StepRecord>, StoreError>> + Send;
    /// Counts a call, notes the first, moves `waiting` to `running`; the row as it then is.
    fn start_step(
        &self,
        step_id: &StepId,
        now: Millis,
    ) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Notes the step's content key, if the step is there.
    fn record_key(&self, step_id: &StepId, key: &ContentKey) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Notes where the result will come from, unless the step is decided; `Generated` is never overwritten.
    fn record_source(
        &self,
        step_id: &StepId,
        source: ResultSource,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Pins the step's result and marks it done; one that is pinned stays. A step that had failed becomes done: the result
    /// counts, whenever it comes. `source` is used where none was noted. The row as it then is.
    fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Marks the step failed, unless it is done; the first failure stays.
    fn fail_step(
        &self,
        step_id: &StepId,
        failure: &Failure,
        now: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Sets the stop flag; whether the run was there and running.
    fn stop_run(&self, id: &RunId) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Closes the run; whether it was running. `unannounced` says that its end has still to be told.
    fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        failure: Option<&Failure>,
        unannounced: bool,
        now: Millis,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// What became of a message to a task token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The state machine has it.
    Delivered,
    /// Nobody waits under this token any more (`TaskTimedOut`, `TaskDoesNotExist`, `InvalidToken`).
    Expired,
}

/// Task tokens of the state machine.
pub trait TaskCallbacks: Send + Sync {
    /// Ends the task well. `output` is JSON.
    fn succeed(&self, token: &str, output: &str) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
    /// Ends the task with a stable error name and its message.
    fn fail(&self, token: &str, failure: &Failure) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
}

/// Executions of the state machine.
pub trait Executions: Send + Sync {
    /// Starts the execution of a run. One that is there already is the one that was asked for.
    fn start(&self, run: &RunId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Starts the execution of a batch, in this generation; likewise.
    fn start_batch(&self, batch: &RunId, generation: u32) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Whether that execution goes on.
    fn batch_is_running(&self, batch: &RunId, generation: u32)
    -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Ends that execution; whether it went on.
    fn stop_batch_execution(
        &self,
        batch: &RunId,
        generation: u32,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Telling the world what happened.
pub trait EventPublisher: Send + Sync {
    /// Puts an event on the account's bus: `source: fresco`, this kind, this detail (JSON).
    fn publish(&self, kind: &str, detail: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The stack's own secret, with which it signs links of its own.
pub trait SigningKeys: Send + Sync {
    /// The secret; `fresh` where there was none before. It is never logged.
    fn signing_key(&self, fresh: &str) -> impl Future<Output = Result<String, StoreError>> + Send;
}

/// Handing work over to functions that run by themselves.
pub trait Invoker: Send + Sync {
    /// Starts collect for it; returns as soon as that is accepted.
    fn collect(&self, key: &ContentKey, attempt: Attempt) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Starts the closing of a batch, if it is still in this generation; returns as soon as that is accepted.
    fn finalize_batch(&self, batch: &RunId, generation: u32) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
}
