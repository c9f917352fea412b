//! The services outside the table, in memory: the bucket, task tokens, executions, timers, events and invocations. Every
//! operation completes in its first poll. Tests read what was delivered, published and invoked.

mod clock;
mod objects;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};

pub use clock::ManualClock;
pub use objects::FakeUpload;

use crate::records::Millis;
use crate::store::MemoryLedger;
use crate::traits::{
    Batches, Clock, Delivery, EventPublisher, Executions, Invoker, Scheduler, StoreError, TaskCallbacks, Timer,
};

/// The message to a token: the output of a success, or the failure.
pub type CallbackResult = Result<String, Failure>;

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    pub bytes: Bytes,
    pub content_type: String,
    pub modified_at: Millis,
}

/// The services in memory. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct FakeServices {
    state: Arc<Mutex<State>>,
    clock: ManualClock,
    ledger: MemoryLedger,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, StoredObject>,
    /// Copies in other buckets, by bucket and key.
    exported: BTreeMap<String, StoredObject>,
    /// Runs whose execution was started.
    started: BTreeSet<RunId>,
    timers: BTreeMap<String, Timer>,
    /// Events by type and detail.
    published: Vec<(String, String)>,
    /// Whether a token still waits for its answer.
    tokens: HashMap<String, bool>,
    notifications: Vec<(String, CallbackResult)>,
    /// Requests of tasks to be called again, by token, with the seconds to wait.
    retries: Vec<(String, u32)>,
    invocations: VecDeque<(ContentKey, Attempt)>,
    finalized: VecDeque<(RunId, u32)>,
    closed: VecDeque<RunId>,
}

impl FakeServices {
    /// Services whose objects are dated by this clock, and whose batch executions run as long as the ledger's batches.
    pub fn new(clock: ManualClock, ledger: MemoryLedger) -> Self {
        FakeServices { state: Arc::default(), clock, ledger }
    }

    /// Opens a token: the next message to it is delivered. A token that was never opened is expired.
    pub fn open_token(&self, token: impl Into<String>) {
        self.lock().tokens.insert(token.into(), true);
    }

    /// Expires a token, as the end of its execution or a timeout of its task does.
    pub fn close_token(&self, token: &str) {
        if let Some(open) = self.lock().tokens.get_mut(token) {
            *open = false;
        }
    }

    /// Whether a token waits for its answer.
    pub fn is_open(&self, token: &str) -> bool {
        self.lock().tokens.get(token).copied().unwrap_or(false)
    }

    /// The delivered messages by token, in order.
    pub fn notifications(&self) -> Vec<(String, CallbackResult)> {
        self.lock().notifications.clone()
    }

    /// The requests of tasks to be called again in so many seconds, by token, in order.
    pub fn retries(&self) -> Vec<(String, u32)> {
        self.lock().retries.clone()
    }

    /// Takes the invocations of collect, in order.
    pub fn take_invocations(&self) -> Vec<(ContentKey, Attempt)> {
        self.lock().invocations.drain(..).collect()
    }

    /// Takes the first invocation of collect.
    pub fn next_invocation(&self) -> Option<(ContentKey, Attempt)> {
        self.lock().invocations.pop_front()
    }

    /// Every object, by key.
    pub fn all_objects(&self) -> BTreeMap<String, StoredObject> {
        self.lock().objects.clone()
    }

    /// Writes an object, replacing any other.
    pub fn put_object(&self, key: impl Into<String>, bytes: impl Into<Bytes>, content_type: impl Into<String>) {
        let object = StoredObject { bytes: bytes.into(), content_type: content_type.into(), modified_at: self.now() };
        self.lock().objects.insert(key.into(), object);
    }

    /// Deletes an object, as the lifecycle of the bucket does.
    pub fn delete_object(&self, key: &str) -> Option<StoredObject> {
        self.lock().objects.remove(key)
    }

    /// The copies in other buckets, by bucket and key.
    pub fn all_exported(&self) -> BTreeMap<String, StoredObject> {
        self.lock().exported.clone()
    }

    /// Every timer, by name.
    pub fn all_timers(&self) -> Vec<Timer> {
        self.lock().timers.values().cloned().collect()
    }

    /// Takes the runs whose closing was invoked, in order.
    pub fn take_closed(&self) -> Vec<RunId> {
        self.lock().closed.drain(..).collect()
    }

    /// The published events by type and detail, in order.
    pub fn published(&self) -> Vec<(String, String)> {
        self.lock().published.clone()
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The state. A test that panicked while it held the lock has failed already; the others continue.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeServices {
    fn deliver(&self, token: &str, message: CallbackResult) -> Delivery {
        let mut state = self.lock();
        match state.tokens.get_mut(token) {
            Some(open) if *open => *open = false,
            _ => return Delivery::Expired,
        }
        state.notifications.push((token.to_owned(), message));
        Delivery::Delivered
    }
}

impl TaskCallbacks for FakeServices {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        Ok(self.deliver(token, Ok(output.to_owned())))
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Delivery, StoreError> {
        Ok(self.deliver(token, Err(failure.clone())))
    }

    async fn retry_in(&self, token: &str, seconds: u32, reason: &Failure) -> Result<Delivery, StoreError> {
        let delivery = self.deliver(token, Err(reason.clone()));
        if delivery == Delivery::Delivered {
            self.lock().retries.push((token.to_owned(), seconds));
        }
        Ok(delivery)
    }
}

impl Invoker for FakeServices {
    async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), StoreError> {
        self.lock().invocations.push_back((key.clone(), attempt));
        Ok(())
    }

    async fn close_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.lock().closed.push_back(run.clone());
        Ok(())
    }

    async fn finalize_batch(&self, batch: &RunId, generation: u32) -> Result<(), StoreError> {
        self.lock().finalized.push_back((batch.clone(), generation));
        Ok(())
    }
}

impl Executions for FakeServices {
    async fn start_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.lock().started.insert(run.clone());
        Ok(())
    }

    async fn start_batch(&self, batch: &RunId, _generation: u32) -> Result<(), StoreError> {
        self.start_run(batch).await
    }

    async fn batch_is_running(&self, batch: &RunId, _generation: u32) -> Result<bool, StoreError> {
        Ok(self.ledger.batch(batch).await?.is_some_and(|batch| !batch.status.is_final()))
    }

    async fn stop_batch_execution(&self, batch: &RunId, generation: u32) -> Result<bool, StoreError> {
        self.batch_is_running(batch, generation).await
    }
}

impl EventPublisher for FakeServices {
    async fn publish(&self, kind: &str, detail: &str) -> Result<(), StoreError> {
        self.lock().published.push((kind.to_owned(), detail.to_owned()));
        Ok(())
    }
}

impl Scheduler for FakeServices {
    async fn put_timer(&self, timer: &Timer) -> Result<(), StoreError> {
        self.lock().timers.insert(timer.name.clone(), timer.clone());
        Ok(())
    }

    async fn delete_timer(&self, name: &str) -> Result<(), StoreError> {
        self.lock().timers.remove(name);
        Ok(())
    }
}
