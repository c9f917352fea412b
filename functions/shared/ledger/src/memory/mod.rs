//! The ledger in memory: the twin of `dynamo` and `aws` for tests, and what a deterministic scheduler wraps. Every
//! operation completes in its first poll, so that interleavings happen only where the caller puts them. Besides the
//! traits it answers what a test wants to know: every row, which tokens were told what, what was handed over.

mod batches;
mod clock;
mod entries;
mod outside;
mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};

pub use clock::ManualClock;
pub use outside::MemoryUpload;

use crate::records::{AttemptRecord, BatchRecord, Entry, Millis, RunRecord, StepId, StepRecord, Waiter};
use crate::traits::{Firing, Timer, Usage};

/// What a token was told: the output of a success, or the failure.
pub type CallbackResult = Result<String, Failure>;

/// An object and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its content.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: String,
    /// When it was written.
    pub modified_at: Millis,
}

/// The ledger in memory. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    clock: ManualClock,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<ContentKey, Entry>,
    attempts: BTreeMap<(ContentKey, Attempt), AttemptRecord>,
    reports: BTreeMap<(ContentKey, Attempt), String>,
    jobs: HashMap<(ProviderName, String), (ContentKey, Attempt)>,
    waiters: BTreeMap<(ContentKey, StepId), Waiter>,
    runs: BTreeMap<RunId, RunRecord>,
    batches: BTreeMap<RunId, BatchRecord>,
    steps: BTreeMap<StepId, StepRecord>,
    objects: BTreeMap<String, StoredObject>,
    /// What was copied into other buckets, by bucket and key.
    exported: BTreeMap<String, StoredObject>,
    usage: Usage,
    /// Runs whose execution was started.
    started: BTreeSet<RunId>,
    signing_key: Option<String>,
    /// Scheduler by name.
    timers: BTreeMap<String, Timer>,
    /// The last firings, by their schedules.
    firings: BTreeMap<String, Firing>,
    /// What was published, by kind and detail.
    published: Vec<(String, String)>,
    /// The last planned run of a pipeline, by its name.
    planned: BTreeMap<String, RunId>,
    /// Entries that cannot be read.
    damaged: BTreeSet<ContentKey>,
    /// Whether a token still waits for its answer.
    tokens: HashMap<String, bool>,
    notifications: Vec<(String, CallbackResult)>,
    invocations: VecDeque<(ContentKey, Attempt)>,
    finishing: VecDeque<(RunId, u32)>,
}

impl Memory {
    /// An empty ledger whose objects are dated by a clock of its own, which stands at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty ledger whose objects are dated by this clock.
    pub fn with_clock(clock: ManualClock) -> Self {
        Memory { state: Arc::default(), clock }
    }

    /// The clock that dates its objects.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Every entry, by key.
    pub fn all_entries(&self) -> Vec<Entry> {
        self.lock().entries.values().cloned().collect()
    }

    /// Every attempt, by key and number.
    pub fn all_attempts(&self) -> Vec<AttemptRecord> {
        self.lock().attempts.values().cloned().collect()
    }

    /// Every waiter with the key of its entry, by key, run and step.
    pub fn all_waiters(&self) -> Vec<(ContentKey, Waiter)> {
        self.lock().waiters.iter().map(|((key, _), waiter)| (key.clone(), waiter.clone())).collect()
    }

    /// Every run, by id.
    pub fn all_runs(&self) -> Vec<RunRecord> {
        self.lock().runs.values().cloned().collect()
    }

    /// Every step of every run, by run and name.
    pub fn all_steps(&self) -> Vec<StepRecord> {
        self.lock().steps.values().cloned().collect()
    }

    /// Writes a run as it is, whatever is there.
    pub fn put_run(&self, run: RunRecord) {
        self.lock().runs.insert(run.id.clone(), run);
    }

    /// Removes a run, as its expiry would. Its steps stay.
    pub fn remove_run(&self, id: &RunId) -> Option<RunRecord> {
        self.lock().runs.remove(id)
    }

    /// Makes a token valid: the next message to it is heard. TaskCallbacks that were never opened answer `Gone`.
    pub fn open_token(&self, token: impl Into<String>) {
        self.lock().tokens.insert(token.into(), true);
    }

    /// Makes a token invalid, as the end of its execution or a timeout of its task does.
    pub fn close_token(&self, token: &str) {
        if let Some(open) = self.lock().tokens.get_mut(token) {
            *open = false;
        }
    }

    /// Whether a token waits for its answer.
    pub fn is_open(&self, token: &str) -> bool {
        self.lock().tokens.get(token).copied().unwrap_or(false)
    }

    /// What was heard, in order: token and message. What went to a token that is gone is not in it.
    pub fn notifications(&self) -> Vec<(String, CallbackResult)> {
        self.lock().notifications.clone()
    }

    /// Takes what was handed over to collect, in order.
    pub fn take_invocations(&self) -> Vec<(ContentKey, Attempt)> {
        self.lock().invocations.drain(..).collect()
    }

    /// Takes the first that was handed over to collect.
    pub fn next_invocation(&self) -> Option<(ContentKey, Attempt)> {
        self.lock().invocations.pop_front()
    }

    /// Every object, by key.
    pub fn all_objects(&self) -> BTreeMap<String, StoredObject> {
        self.lock().objects.clone()
    }

    /// Writes an object, whatever is there.
    pub fn put_object(&self, key: impl Into<String>, bytes: impl Into<Bytes>, content_type: impl Into<String>) {
        let object = StoredObject { bytes: bytes.into(), content_type: content_type.into(), modified_at: self.now() };
        self.lock().objects.insert(key.into(), object);
    }

    /// Deletes an object, as the lifecycle of the bucket does.
    pub fn delete_object(&self, key: &str) -> Option<StoredObject> {
        self.lock().objects.remove(key)
    }

    /// What was copied into other buckets, by bucket and key.
    pub fn all_exported(&self) -> BTreeMap<String, StoredObject> {
        self.lock().exported.clone()
    }

    /// The timers that are set.
    pub fn all_timers(&self) -> Vec<Timer> {
        self.lock().timers.values().cloned().collect()
    }

    /// What was published, by kind and detail.
    pub fn published(&self) -> Vec<(String, String)> {
        self.lock().published.clone()
    }

    /// An entry as it is stored, whether or not it can be read.
    pub fn stored_entry(&self, key: &ContentKey) -> Option<Entry> {
        self.lock().entries.get(key).cloned()
    }

    /// Makes an entry one that cannot be read, as a damaged row is, until it is mended.
    pub fn damage_entry(&self, key: &ContentKey) {
        self.lock().damaged.insert(key.clone());
    }

    fn now(&self) -> Millis {
        crate::traits::Clock::now(&self.clock)
    }

    /// The state. A test that panicked while it held the lock has failed already; the others go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
