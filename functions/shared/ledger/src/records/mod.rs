//! The records of the ledger. Their serde forms are the attributes of their items; fields that the item's key stands for are
//! not written. Times are milliseconds since the Unix epoch.

mod batch;
pub(crate) mod json;

use fresco_pipeline::document::Export;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepRef, TokenHash};
use fresco_pipeline::media::{Media, Shortfall};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::PlannedStep;
use fresco_pipeline::request::GenerationRequest;
use serde::{Deserialize, Serialize};

pub use batch::{BatchCounts, BatchPlan, BatchRecord, BatchStatus};
pub use fresco_pipeline::status::{ResultSource, RunStatus, StepState};
pub use fresco_pipeline::time::Millis;

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepId {
    pub run: RunId,
    pub step: StepRef,
}

/// The result of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedResult {
    /// The attempt that generated it.
    pub attempt: Attempt,
    /// In order.
    pub outputs: Vec<Media>,
    /// The start of its upload: objects expire by it.
    pub created_at: Millis,
    pub cost: Money,
    /// From submission to completion, in milliseconds.
    pub took_ms: Millis,
    /// What it lacks of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
}

impl CachedResult {
    /// Whether a step that has not waited for it may use it.
    pub fn is_whole(&self) -> bool {
        !self.shortfall.as_ref().is_some_and(Shortfall::is_asked_again)
    }

    /// Whether it counts for a waiter. A result that is not whole counts only for those that waited for its attempt: what is
    /// good of it is used, and a later request asks again.
    pub fn counts_for(&self, waiter: &Waiter) -> bool {
        let waited = waiter.joined > Attempt::NONE && waiter.joined <= self.attempt;
        self.attempt > waiter.base && (self.is_whole() || waited)
    }
}

/// The known progress of a pending attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStage {
    /// Claimed; the POST may be in flight.
    Submitting,
    /// The provider accepted it, and its id is recorded.
    Submitted,
    /// The provider may have accepted it. To be reconciled, never guessed.
    Unknown,
}

/// The pending attempt of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingAttempt {
    pub attempt: Attempt,
    pub stage: AttemptStage,
    /// The hash of its token; a claimant whose reply was lost recognizes its own claim by it.
    pub token_hash: TokenHash,
    /// The end of the time in which its submitter may be between claim and record.
    pub lease_until: Millis,
    /// The provider's id of the job.
    pub request_id: Option<String>,
    /// The step that claimed it; the only step that a retryable failure is sent to.
    pub leader: StepId,
    /// Empty look-ups in the provider's list.
    pub lookups: u32,
    /// Checks by sweep since it was submitted; they are spaced out by it.
    pub checks: u32,
    /// The provider's answers that it does not know the job.
    #[serde(default)]
    pub unknown: Option<UnknownJob>,
    /// The time of sweep's next check.
    pub next_check_at: Millis,
    /// A cancellation was requested, since no step waited. If it ends cancelled, the steps that wait now retry.
    #[serde(default)]
    pub cancelling: bool,
}

/// The answers of a provider that it does not know a job which it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownJob {
    /// The time of the first of them.
    pub since: Millis,
    /// The time of the last one that counted.
    pub counted_at: Millis,
    /// The number of those that counted.
    pub count: u32,
}

/// An attempt that is no longer pending and may have a result all the same: its end was reported, or its provider did not
/// know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCompletion {
    pub attempt: Attempt,
    /// The time of sweep's next check.
    pub next_check_at: Millis,
    /// The end of the checks, where no end was reported.
    #[serde(default)]
    pub until: Option<Millis>,
}

/// The failure of the latest attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    pub attempt: Attempt,
    pub failure: Failure,
    /// Whether the steps that shared this attempt may claim another.
    pub retryable: bool,
    /// The earliest time of another attempt.
    pub not_before: Millis,
    /// The step that claimed it.
    pub leader: StepId,
    /// The attempt is paid and its outputs were not fetched: they are fetched once more before another is claimed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfetched: bool,
}

/// `E`: one content key. A result and a pending attempt can exist together (refresh).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(skip_serializing)]
    pub key: ContentKey,
    /// Revision; every write is conditional on it. 0: not stored yet.
    pub rev: u64,
    #[serde(default, with = "json")]
    pub result: Option<CachedResult>,
    /// The last whole result, where [`Entry::result`] lacks something: a request that has not waited for that one is answered
    /// with this.
    #[serde(default, with = "json")]
    pub whole: Option<CachedResult>,
    /// The pending attempt of an entry.
    #[serde(default, with = "json")]
    pub pending: Option<PendingAttempt>,
    #[serde(default, with = "json")]
    pub failure: Option<LastFailure>,
    /// At most one of an attempt.
    #[serde(rename = "late", default, with = "json", skip_serializing_if = "Vec::is_empty")]
    pub late_completions: Vec<LateCompletion>,
    /// The highest assigned attempt number.
    #[serde(rename = "last")]
    pub last_attempt: Attempt,
    /// Consecutive retryable failures.
    pub tries: u32,
    /// The time of the first of them.
    #[serde(default)]
    pub failing_since: Option<Millis>,
    /// Consecutive answers without a result.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub empty_answers: u32,
    /// Consecutive lost attempts.
    pub lost: u32,
    /// A decision is written, and not every waiter is notified yet.
    pub notify_pending: bool,
    /// The time of sweep's next check.
    #[serde(rename = "due")]
    pub next_check_at: Option<Millis>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Entry {
    /// An empty entry that is not stored yet.
    pub fn new(key: ContentKey) -> Self {
        Entry {
            key,
            rev: 0,
            result: None,
            whole: None,
            pending: None,
            failure: None,
            late_completions: Vec::new(),
            last_attempt: Attempt::NONE,
            tries: 0,
            failing_since: None,
            empty_answers: 0,
            lost: 0,
            notify_pending: false,
            next_check_at: None,
        }
    }

    /// Returns the results, the latest first.
    pub fn results(&self) -> impl Iterator<Item = &CachedResult> {
        self.result.iter().chain(&self.whole)
    }

    /// Returns the latest result that counts for a waiter.
    pub fn result_for(&self, waiter: &Waiter) -> Option<&CachedResult> {
        self.results().find(|ready| ready.counts_for(waiter))
    }

    /// Returns the result that a request is answered with which has not waited for any.
    pub fn whole_result(&self) -> Option<&CachedResult> {
        self.results().find(|ready| ready.is_whole())
    }
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Undecided.
    Open,
    /// Its result is the entry's, or was.
    Won,
    /// It succeeded when a result of this or a later attempt existed: paid twice, not used, reported.
    Duplicate,
    Failed,
    /// Its outcome is unknown and no longer polled for. A success that still arrives is accepted.
    Lost,
}

/// The state of the money reserved for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    Held,
    /// Spent.
    Settled(Money),
    /// Returned to the budget.
    Released,
}

/// Money reserved for an attempt before it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub run: RunId,
    /// By the upper-bound price.
    pub amount: Money,
    pub state: HoldState,
}

/// `A#n`: one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    #[serde(skip_serializing)]
    pub key: ContentKey,
    #[serde(skip_serializing)]
    pub attempt: Attempt,
    /// The hash of the token in its webhook URL.
    pub token_hash: TokenHash,
    pub state: AttemptState,
    /// The provider's id of the job.
    pub request_id: Option<String>,
    /// Stored with the attempt, so that sweep can reconcile it after the run has expired.
    #[serde(with = "json")]
    pub request: GenerationRequest,
    pub claimed_at: Millis,
    /// The time when its submitter has surely ended (start + function timeout + 5 minutes).
    pub submitter_dead_at: Millis,
    #[serde(with = "json")]
    pub hold: Hold,
    /// Absent while no fetch of its outputs has failed.
    #[serde(default, with = "json")]
    pub fetching: Option<Fetching>,
}

/// The fetches of the outputs of an attempt that has succeeded, once one has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetching {
    /// The time of the first failure.
    pub since: Millis,
    /// The time until which they are fetched again.
    pub until: Millis,
    /// Failures so far; the fetches are spaced out by it.
    pub tries: u32,
    /// The time of the next fetch. An earlier call fetches nothing.
    pub next_at: Millis,
    /// The time from which on every fetch brought something that is not the media it should be.
    pub invalid_since: Option<Millis>,
    /// The last failure.
    pub failure: Failure,
    /// Whether the attempt was given up before, and is fetched once more before another is claimed.
    pub again: bool,
}

/// `W#run#step`: a step that waits for an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    #[serde(skip_serializing)]
    pub step_id: StepId,
    /// The task token of the latest call; a nudge overwrites it.
    pub token: String,
    /// The attempt it joined or claimed; 0 before.
    pub joined: Attempt,
    /// A result counts only if its attempt exceeds this (refresh); 0 otherwise.
    pub base: Attempt,
    /// The time of its first call.
    pub since: Millis,
    /// The time when the provider was first seen running the job of the attempt it joined; the timeout counts from here.
    pub running_since: Option<Millis>,
    pub timeout_ms: Millis,
}

/// A reference to a chunk of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    pub batch: RunId,
    /// From 0.
    pub number: u32,
}

/// `R#run`: one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    #[serde(skip_serializing)]
    pub id: RunId,
    /// The pipeline's name.
    pub name: String,
    pub status: RunStatus,
    /// Nothing more may be submitted.
    pub stop: bool,
    /// Whether the first failure ends the run.
    pub fail_fast: bool,
    /// The rest of its budget.
    pub remaining: Money,
    /// Reserved for pending attempts.
    pub held: Money,
    /// Spent.
    pub settled: Money,
    pub created_at: Millis,
    pub ended_at: Option<Millis>,
    /// The latest time of its end; set by plan.
    pub bound_at: Option<Millis>,
    /// 0 before plan.
    pub steps: u32,
    /// The failure of the run as a whole.
    #[serde(default, with = "json")]
    pub failure: Option<Failure>,
    /// The destination of copies of its outputs.
    pub export: Option<Export>,
    #[serde(default, with = "json")]
    pub chunk: Option<ChunkRef>,
    /// Its grant out of the batch's budget, with what was added to it; `None` without a batch or a budget.
    pub granted: Option<Money>,
    /// Its batch has counted its end. What is settled later goes to the batch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// Its end could not be published yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_pending: bool,
}

fn is_waiting(state: &StepState) -> bool {
    *state == StepState::Waiting
}

/// `S#step`: one step of a run, with its plan and its pinned result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    #[serde(skip_serializing)]
    pub run: RunId,
    #[serde(with = "json")]
    pub plan: PlannedStep,
    /// Its content key, once all its inputs exist.
    pub key: Option<ContentKey>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "is_waiting")]
    pub state: StepState,
    pub source: Option<ResultSource>,
    /// Its result. Never changed once set, so that the keys of later steps cannot shift.
    #[serde(default, with = "json")]
    pub pinned: Option<CachedResult>,
    #[serde(default, with = "json")]
    pub failure: Option<Failure>,
    /// The time of the first call of generate.
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// Calls of generate.
    pub calls: u32,
}
