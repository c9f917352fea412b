//! The rows of the ledger, as values. What may happen to them is in `transition`; how they are stored is in `dynamo` and
//! `memory`. Times are milliseconds since the Unix epoch.

use fresco_pipeline::document::Export;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName, TokenHash};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::PlannedStep;
use fresco_pipeline::request::GenerationRequest;
use serde::{Deserialize, Serialize};

pub use fresco_pipeline::status::{ResultSource, RunStatus, StepState};
pub use fresco_pipeline::time::Millis;

/// The step of a run that waits for an entry, or asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepId {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepName,
}

/// A result that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedResult {
    /// The attempt that made it.
    pub attempt: Attempt,
    /// What it made, in order.
    pub outputs: Vec<Media>,
    /// When its upload began: objects expire by it.
    pub created_at: Millis,
    /// What it cost.
    pub cost: Money,
    /// From submission to completion, in milliseconds.
    pub took_ms: Millis,
}

/// How far a pending attempt is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStage {
    /// Claimed; the POST may be on its way.
    Submitting,
    /// The provider has it, and we have its id.
    Submitted,
    /// It may be at the provider. To be found out, never guessed.
    Unknown,
}

/// The attempt under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingAttempt {
    /// Its number.
    pub attempt: Attempt,
    /// How far it is.
    pub stage: AttemptStage,
    /// The hash of its token; tells a claimant whose reply was lost that the claim is its own.
    pub token_hash: TokenHash,
    /// Until when its submitter may be between claim and record.
    pub lease_until: Millis,
    /// The provider's id of the job.
    pub request_id: Option<String>,
    /// Who claimed it; a retryable failure is told to it alone.
    pub leader: StepId,
    /// How often the provider's list was searched in vain; once it is submitted, how often the provider did not know it.
    pub lookups: u32,
    /// How often sweep looked at it since it was submitted; spaces out the looks.
    pub checks: u32,
    /// When sweep looks at it next.
    pub next_check_at: Millis,
    /// We have asked the provider to cancel it, since nobody waited. If it ends cancelled, whoever waits now asks again.
    #[serde(default)]
    pub cancelling: bool,
}

/// An attempt that is not pending and whose end has been reported: its success is still to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCompletion {
    /// Which attempt.
    pub attempt: Attempt,
    /// When sweep looks at it next.
    pub next_check_at: Millis,
}

/// Why the latest attempt gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which attempt.
    pub attempt: Attempt,
    /// What happened.
    pub failure: Failure,
    /// Whether another attempt may be claimed by whoever shared this one.
    pub retryable: bool,
    /// Not before this.
    pub not_before: Millis,
    /// Who had claimed it.
    pub leader: StepId,
}

/// `E`: one content key. A result and a pending attempt can be there together (refresh).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The content key.
    pub key: ContentKey,
    /// How often it was written; every write is conditional on it. 0: not stored yet.
    pub rev: u64,
    /// The result.
    pub result: Option<CachedResult>,
    /// The attempt under way.
    pub pending: Option<PendingAttempt>,
    /// Why the latest attempt failed.
    pub failure: Option<Failed>,
    /// An attempt that had been given up and has ended after all.
    pub late_completion: Option<LateCompletion>,
    /// The highest attempt number given out.
    pub last_attempt: Attempt,
    /// Retryable failures in a row.
    pub tries: u32,
    /// Attempts given up as lost in a row.
    pub lost: u32,
    /// A decision has been written and not yet told to every waiter.
    pub notify_pending: bool,
    /// When sweep has to look at it.
    pub next_check_at: Option<Millis>,
}

impl Entry {
    /// An entry about which nothing is known.
    pub fn new(key: ContentKey) -> Self {
        Entry {
            key,
            rev: 0,
            result: None,
            pending: None,
            failure: None,
            late_completion: None,
            last_attempt: Attempt::NONE,
            tries: 0,
            lost: 0,
            notify_pending: false,
            next_check_at: None,
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Not decided.
    Open,
    /// Its success is the entry's result, or was.
    Won,
    /// It succeeded when a result of this or a later attempt was already there: paid twice, kept out, reported.
    Duplicate,
    /// It failed.
    Failed,
    /// Nobody knows, and nobody will ask any more. A success that still arrives is taken.
    Lost,
}

/// What became of the money reserved for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Reserved.
    Held,
    /// Spent: so many micro-dollars.
    Settled(Money),
    /// Given back.
    Released,
}

/// Money reserved for an attempt before it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose budget.
    pub run: RunId,
    /// How much, at the upper-bound price.
    pub amount: Money,
    /// What became of it.
    pub state: HoldState,
}

/// `A#n`: one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The content key.
    pub key: ContentKey,
    /// Its number.
    pub attempt: Attempt,
    /// The hash of the token in its webhook URL.
    pub token_hash: TokenHash,
    /// What became of it.
    pub state: AttemptState,
    /// The provider's id of the job.
    pub request_id: Option<String>,
    /// The request. It stands here so that sweep can ask for the job long after the run is gone.
    pub request: GenerationRequest,
    /// When it was claimed.
    pub claimed_at: Millis,
    /// When its submitter is surely dead (start + function timeout + 5 minutes).
    pub submitter_dead_at: Millis,
    /// The money.
    pub hold: Hold,
    /// How often fetching its outputs failed.
    pub fetches: u32,
}

/// `W#run#step`: a step that waits for an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who waits.
    pub step_id: StepId,
    /// The task token of the latest try; a nudge overwrites it.
    pub token: String,
    /// The attempt it joined or claimed; 0 before.
    pub joined: Attempt,
    /// What a result's attempt has to exceed to be wanted (refresh); 0 otherwise.
    pub base: Attempt,
    /// When it began to wait.
    pub since: Millis,
    /// When the provider was first seen running the job; the timeout counts from here.
    pub running_since: Option<Millis>,
    /// The step's timeout in milliseconds.
    pub timeout_ms: Millis,
}

/// A chunk of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkOf {
    /// The batch.
    pub batch: RunId,
    /// Its number in that, from 0.
    pub number: u32,
}

/// `R#run`: one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The pipeline's name.
    pub name: String,
    /// Where it is.
    pub status: RunStatus,
    /// Nothing new may be submitted.
    pub stop: bool,
    /// Whether the first failure ends the run.
    pub fail_fast: bool,
    /// What is left of its budget.
    pub remaining: Money,
    /// Reserved.
    pub held: Money,
    /// Spent.
    pub settled: Money,
    /// When it was written.
    pub created_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// When it has ended at the latest; set by plan.
    pub bound_at: Option<Millis>,
    /// How many steps it has; 0 before plan.
    pub steps: u32,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
    /// Where its outputs are copied to when it ends, as the document says.
    pub export: Option<Export>,
    /// The chunk of a batch that it is.
    pub chunk: Option<ChunkOf>,
    /// What it was given of its batch's budget; `None` of a run that is no chunk, and where the batch has none.
    pub granted: Option<Money>,
    /// It ended, and that could not be announced.
    pub unannounced: bool,
}

/// A step's row: its plan, and its pinned result once there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The run.
    pub run: RunId,
    /// The plan of it.
    pub plan: PlannedStep,
    /// Its content key, once everything that it reads is there.
    pub key: Option<ContentKey>,
    /// Where it is.
    pub state: StepState,
    /// Where its result came from.
    pub source: Option<ResultSource>,
    /// The result it was given. Never changed once set, so that keys downstream cannot shift.
    pub pinned: Option<CachedResult>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When generate first saw it.
    pub started_at: Option<Millis>,
    /// When it was decided.
    pub ended_at: Option<Millis>,
    /// How often generate was called for it.
    pub calls: u32,
}
