//! The capabilities of the functions, one trait each. The traits of records are implemented by the store over any table,
//! those of services by `aws` and by `services::fake`; every implementation passes the same contract suite.

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
pub use objects::{ConditionalGet, ListedObject, ObjectHead, Objects, PresignedPut, Put, Upload};
pub use schedules::{Firing, FiringOutcome, Firings, Scheduler, Timer};
pub use storage::{Pass, Usage, UsageCounter};

use crate::records::{
    AttemptRecord, CachedResult, Entry, Millis, ResultSource, RunRecord, RunStatus, StepId, StepRecord, Waiter,
};

/// A read or an idempotent write that failed. It may be retried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub Failure);

impl StoreError {
    /// The ledger is not available.
    pub fn ledger(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::LedgerUnavailable, message))
    }

    /// The storage is not available.
    pub fn storage(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::StorageUnavailable, message))
    }

    /// A record that is damaged.
    pub fn unreadable(message: impl Into<String>) -> Self {
        StoreError(Failure::new(ErrorName::LedgerUnreadable, message))
    }

    /// Whether a record cannot be read. A retry does not help; see [`Entries::repair`].
    pub fn is_unreadable(&self) -> bool {
        self.0.name == ErrorName::LedgerUnreadable
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        error.0
    }
}

/// A change of an entry that was not committed, or whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The entry was written since it was read, or another transaction is in progress. Read and decide again.
    #[error("the entry changed since it was read")]
    Conflict,
    /// The job belongs to another attempt.
    #[error("the job belongs to another attempt")]
    JobTaken,
    /// The rest of the run's budget is less than the hold.
    #[error("the budget does not cover the hold")]
    OverBudget,
    /// The run is stopped, or has ended.
    #[error("the run is stopped")]
    RunStopped,
    /// The run's record is gone.
    #[error("the run's record is gone")]
    RunMissing,
    /// The waiter is gone, or another call for the same step joined an attempt. Start over.
    #[error("another call for the same step was quicker")]
    Moved,
    /// It may have been committed. Read again.
    #[error("the reply was lost: {0}")]
    Unclear(Failure),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        CommitError::Unclear(error.0)
    }
}

/// The effect of a commit on a run's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetChange {
    /// Reserves money: the run has to be running, not stopped, and have the amount left.
    Hold { run: RunId, amount: Money },
    /// Ends a hold: `held` is taken from the held amount, `spent` is added to the settled amount, and the difference goes
    /// back to the budget. Either may be negative (a correction). Where the batch of the run has counted its end, what was
    /// spent and what goes back are added to the batch.
    Settle { run: RunId, held: Money, spent: Money },
}

impl BudgetChange {
    /// The run of the budget.
    pub fn run(&self) -> &RunId {
        match self {
            BudgetChange::Hold { run, .. } | BudgetChange::Settle { run, .. } => run,
        }
    }
}

/// One transaction: all or nothing, and only if the entry is still at the revision it was read at.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The new entry. Its `rev` is the one it was read at; the commit stores `rev + 1`.
    pub entry: Entry,
    /// The new attempt, created or overwritten; its recorded report stays.
    pub attempt: Option<AttemptRecord>,
    /// A job to register for this attempt of the entry. Registration is idempotent; a job of another attempt is
    /// [`CommitError::JobTaken`].
    pub job: Option<JobOwner>,
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

/// A waiter joins the attempt that it claims. Its record has to be as it was read: if another call for the same step joined
/// an attempt meanwhile, the step shares that attempt's result and must not claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    pub step_id: StepId,
    /// The attempt that the record has to name.
    pub from: Attempt,
    pub to: Attempt,
}

/// A provider's job and the attempt it belongs to. `J#provider#request_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOwner {
    pub provider: ProviderName,
    /// The provider's id of the job.
    pub request_id: String,
    pub attempt: Attempt,
}

/// The result of a batch read of entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundEntries {
    /// In any order.
    pub entries: Vec<Entry>,
    /// The keys of entries that cannot be read, each with the reason.
    pub unreadable: Vec<(ContentKey, Failure)>,
}

/// Entries, attempts and jobs.
pub trait Entries: Send + Sync {
    /// Reads an entry, strongly consistent. An unreadable entry is an error; see [`Entries::repair`].
    fn entry(&self, key: &ContentKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;
    /// Reads the entries that exist, strongly consistent; any number of keys, duplicates once.
    fn entries(&self, keys: &[ContentKey]) -> impl Future<Output = Result<FoundEntries, StoreError>> + Send;
    /// Repairs an entry that cannot be read, or whose pending attempt cannot: the readable parts of it and of its attempts
    /// are kept ([`crate::transition::repair`]), and a copy of the item as it was is put aside. A sound entry stays as it is.
    fn repair(&self, key: &ContentKey, now: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Reads an attempt.
    fn attempt(
        &self,
        key: &ContentKey,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Option<AttemptRecord>, StoreError>> + Send;
    /// Commits a change.
    fn commit(&self, change: &Change) -> impl Future<Output = Result<(), CommitError>> + Send;
    /// Records the provider's report (JSON) on an attempt that exists; the first report stays.
    fn record_report(
        &self,
        key: &ContentKey,
        attempt: Attempt,
        report: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Reads the recorded report.
    fn report(
        &self,
        key: &ContentKey,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
    /// Finds the attempt that a job belongs to.
    fn job(
        &self,
        provider: ProviderName,
        request_id: &str,
    ) -> impl Future<Output = Result<Option<(ContentKey, Attempt)>, StoreError>> + Send;
    /// Lists the keys of entries whose check is due, the longest due first. The index may lag.
    fn entries_to_check(
        &self,
        now: Millis,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ContentKey>, StoreError>> + Send;
}

/// A step's request to wait for an entry, or to keep waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub step_id: StepId,
    /// The task token of this call.
    pub token: String,
    /// See [`Waiter::base`]; only the first call's value counts.
    pub base: Attempt,
    pub now: Millis,
    pub timeout_ms: Millis,
}

/// Waiters of entries.
pub trait Waiters: Send + Sync {
    /// Creates or refreshes a waiter: the token is overwritten; `joined`, `base`, `since` and `running_since` stay.
    fn put_waiter(&self, key: &ContentKey, wait: &Wait) -> impl Future<Output = Result<Waiter, StoreError>> + Send;
    /// Records another attempt that it joined, if the waiter exists. Its job has not been seen running: `running_since` is
    /// removed.
    fn record_join(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Records when the provider was first seen running the job, if the waiter exists and has no such time.
    fn record_running(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        now: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Reads every waiter of an entry, strongly consistent.
    fn waiters(&self, key: &ContentKey) -> impl Future<Output = Result<Vec<Waiter>, StoreError>> + Send;
    /// Deletes a waiter of any token, since its run has ended.
    fn delete_waiter(&self, key: &ContentKey, step_id: &StepId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Deletes a waiter if it still has this token; true if it did.
    fn delete_waiter_if(
        &self,
        key: &ContentKey,
        step_id: &StepId,
        token: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// A position in a list of runs or batches, which is ordered by creation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    pub created_at: Millis,
    pub run: RunId,
}

/// Runs and their steps.
pub trait Runs: Send + Sync {
    /// Creates a run and lists it; false if a run of this id exists, which stays as it is.
    fn create_run(&self, run: &RunRecord) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Reads a run.
    fn run(&self, id: &RunId) -> impl Future<Output = Result<Option<RunRecord>, StoreError>> + Send;
    /// Reads every run of the last ninety days that has not ended, in any order, strongly consistent.
    fn open_runs(&self, now: Millis) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;
    /// Finds the run of a pipeline of this name that was planned last.
    fn last_planned(&self, pipeline: &str) -> impl Future<Output = Result<Option<RunId>, StoreError>> + Send;
    /// Lists at most `limit` runs, newest first, after this position, or from the newest.
    fn list_runs(
        &self,
        limit: u32,
        after: Option<&ListPosition>,
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
    /// Reads a step.
    fn step(&self, step_id: &StepId) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Reads every step of a run, in the document's order.
    fn steps(&self, run: &RunId) -> impl Future<Output = Result<Vec<StepRecord>, StoreError>> + Send;
    /// Counts a call of generate, records the time of the first, and moves `waiting` to `running`; the step as it is then.
    fn start_step(
        &self,
        step_id: &StepId,
        now: Millis,
    ) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Records the step's content key, if the step exists.
    fn record_key(&self, step_id: &StepId, key: &ContentKey) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Records the source of the result, unless the step is decided; `Generated` is never overwritten.
    fn record_source(
        &self,
        step_id: &StepId,
        source: ResultSource,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Pins the step's result and marks the step done; a pinned result stays. A failed step becomes done, too. `source` is
    /// used where none was recorded. The step as it is then.
    fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> impl Future<Output = Result<Option<StepRecord>, StoreError>> + Send;
    /// Marks the step failed, unless it is decided; the first failure stays.
    fn fail_step(
        &self,
        step_id: &StepId,
        failure: &Failure,
        now: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Lists runs whose check is due, the longest due first: past their bound, never planned, or ended and not published. The
    /// index may lag.
    fn runs_to_check(&self, now: Millis, limit: u32) -> impl Future<Output = Result<Vec<RunId>, StoreError>> + Send;
    /// Records when the run is checked next; false if it has ended and its end is published.
    fn schedule_run_check(&self, id: &RunId, due: Millis) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Records that the end of a run is published for which that was pending.
    fn record_published(&self, id: &RunId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Sets the stop flag; true if the run exists and was running.
    fn stop_run(&self, id: &RunId) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Closes the run; true if it was running. `publish_pending` marks that its end is still to be published.
    fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        failure: Option<&Failure>,
        publish_pending: bool,
        now: Millis,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The outcome of a message to a task token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The state machine accepted it.
    Delivered,
    /// The task no longer waits (`TaskTimedOut`, `TaskDoesNotExist`, `InvalidToken`).
    Expired,
}

/// The error with which a task asks to be called again later. Its cause begins with the seconds to wait.
pub const NOT_YET: &str = "Step.NotYet";

/// Callbacks to waiting tasks of the state machine, by task token.
pub trait TaskCallbacks: Send + Sync {
    /// Completes the task. `output` is JSON.
    fn succeed(&self, token: &str, output: &str) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
    /// Fails the task with a stable error name and its message.
    fn fail(&self, token: &str, failure: &Failure) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
    /// Asks the state machine to call the task again in so many seconds, for this reason. It costs none of its retries.
    fn retry_in(
        &self,
        token: &str,
        seconds: u32,
        reason: &Failure,
    ) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
}

/// Executions of the state machines.
pub trait Executions: Send + Sync {
    /// Starts the execution of a run; idempotent.
    fn start_run(&self, run: &RunId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Starts the execution of a generation of a batch; idempotent.
    fn start_batch(&self, batch: &RunId, generation: u32) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Whether that execution is running.
    fn batch_is_running(&self, batch: &RunId, generation: u32)
    -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Stops that execution; true if it was running.
    fn stop_batch_execution(
        &self,
        batch: &RunId,
        generation: u32,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The account's event bus.
pub trait EventPublisher: Send + Sync {
    /// Publishes an event: `source: fresco`, this detail type, this detail (JSON).
    fn publish(&self, kind: &str, detail: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The key that the stack signs its own links with.
pub trait SigningKeys: Send + Sync {
    /// Reads the key, or stores `fresh` as the key where there is none. It is never logged.
    fn signing_key(&self, fresh: &str) -> impl Future<Output = Result<String, StoreError>> + Send;
}

/// Asynchronous invocations of other functions.
pub trait Invoker: Send + Sync {
    /// Invokes collect for an attempt; returns when the invocation is accepted.
    fn collect(&self, key: &ContentKey, attempt: Attempt) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Invokes the closing of a run that is past its bound; returns when the invocation is accepted.
    fn close_run(&self, run: &RunId) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Invokes the closing of a batch of this generation; returns when the invocation is accepted.
    fn finalize_batch(&self, batch: &RunId, generation: u32) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
    /// Waits for a random part of so many milliseconds.
    fn pause(&self, at_most: Millis) -> impl Future<Output = ()> + Send;
    /// Ends after so many milliseconds.
    fn deadline(&self, after: Millis) -> impl Future<Output = ()> + Send;
}
