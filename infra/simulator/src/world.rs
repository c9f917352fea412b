//! What all routes share: settings, counters, the gate, the requests, the identity, and the tasks that end with it. It
//! holds no policy of a provider.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};

use crate::calls::Calls;
use crate::clock::Chance;
use crate::counters::Counters;
use crate::fal::journal::Journal;
use crate::fal::media::Gallery;
use crate::fal::requests::Requests;
use crate::faults::{Fault, Faults, Hit};
use crate::gate::Gate;
use crate::identity::{Identity, StateError};
use crate::keep::{Keep, Kept};
use crate::records::{RequestRecord, in_order};

/// What happens to the webhooks of requests that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookMode {
    /// Each is delivered.
    #[default]
    Normal,
    /// None is.
    Lost,
    /// Each is delivered two times.
    Twice,
    /// Each waits until they are released.
    Held,
}

/// What can be changed while the simulator runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Typical durations are multiplied by this.
    pub scale: f64,
    /// So many requests are in progress at most.
    pub concurrency: usize,
    /// What happens to webhooks.
    pub webhook_mode: WebhookMode,
}

/// A change of [`Settings`]; what is absent stays.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// The new scale: finite and not negative. Requests already accepted keep theirs.
    pub scale: Option<f64>,
    /// The new limit. Requests already in progress stay so.
    pub concurrency: Option<usize>,
    /// The new mode. Webhooks already held stay so.
    pub webhook_mode: Option<WebhookMode>,
}

/// A scale that is negative or no number.
#[derive(Debug, thiserror::Error)]
#[error("scale {0} is not a finite number of at least 0")]
pub struct BadScale(
    /// The scale.
    pub f64,
);

/// Refuses what cannot be multiplied with a duration.
pub(crate) fn check_scale(scale: f64) -> Result<(), BadScale> {
    if (0.0..=1e6).contains(&scale) { Ok(()) } else { Err(BadScale(scale)) }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) port: u16,
    pub(crate) fal_key: String,
    pub(crate) gemini_key: String,
    pub(crate) identity: Identity,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    pub(crate) gate: Gate,
    pub(crate) requests: Requests,
    pub(crate) calls: Calls,
    pub(crate) journal: Journal,
    pub(crate) gallery: Gallery,
    pub(crate) keep: Keep,
    /// Turns to fetch an input.
    pub(crate) fetches: Semaphore,
    pub(crate) client: reqwest::Client,
    pub(crate) live: Mutex<Live>,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) held: Mutex<Vec<String>>,
    /// Webhooks that wait until another one of their endpoint has been delivered: endpoint and request.
    pub(crate) reordered: Mutex<Vec<(&'static str, String)>>,
    /// Told when a delivery of a webhook was answered.
    pub(crate) delivery: Notify,
    pub(crate) stopped: watch::Sender<bool>,
}

/// The settings that are not the gate's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) scale: f64,
    pub(crate) webhook_mode: WebhookMode,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// The address that all paths are beneath.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a task that ends with the simulator.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.stopped.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = task => {}
            }
        });
    }

    /// Waits; the end of the simulator ends it.
    pub(crate) async fn pause(&self, duration: Duration) {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = tokio::time::sleep(duration) => {}
        }
    }

    /// Asks whether a fault strikes here, and counts it. `pick` gives the fault if it is one of the asking stage's.
    pub(crate) fn strike<T>(
        &self,
        endpoint: &str,
        prompt: Option<&str>,
        pick: impl Fn(&Fault) -> Option<T>,
    ) -> Option<Hit<T>> {
        let hit = self.faults.strike(endpoint, prompt, pick)?;
        self.count(|counters| *counters.by_fault.entry(hit.name.to_owned()).or_default() += 1);
        Some(hit)
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.counters));
    }

    /// The counters with their gauges.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = lock(&self.counters).clone();
        counters.queued = self.gate.waiting() as u64;
        counters.in_progress = self.gate.running() as u64;
        counters.max_in_progress = self.gate.max_running() as u64;
        counters
    }

    /// Sets the counters to nothing; requests stay.
    pub(crate) fn reset(&self) {
        *lock(&self.counters) = Counters::default();
        self.gate.forget_max();
    }

    /// All requests and calls in the order of submission.
    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        let mut records = self.requests.records();
        records.extend(self.calls.records());
        in_order(records)
    }

    /// The copies of inputs; `None` if one is there no more. May read files: not for an async thread.
    pub(crate) fn copies(&self, inputs: &[Kept]) -> Option<Vec<Bytes>> {
        inputs.iter().map(|input| self.keep.get(&input.copy)).collect()
    }

    pub(crate) fn scale(&self) -> f64 {
        lock(&self.live).scale
    }

    pub(crate) fn webhook_mode(&self) -> WebhookMode {
        lock(&self.live).webhook_mode
    }

    pub(crate) fn settings(&self) -> Settings {
        let live = *lock(&self.live);
        Settings { scale: live.scale, concurrency: self.gate.limit(), webhook_mode: live.webhook_mode }
    }

    pub(crate) fn change(&self, change: SettingsChange) -> Result<Settings, BadScale> {
        if let Some(scale) = change.scale {
            check_scale(scale)?;
            lock(&self.live).scale = scale;
        }
        if let Some(mode) = change.webhook_mode {
            lock(&self.live).webhook_mode = mode;
        }
        if let Some(concurrency) = change.concurrency {
            self.gate.set_limit(concurrency);
        }
        Ok(self.settings())
    }

    /// Keeps back the webhook of a request.
    pub(crate) fn hold(&self, id: String) {
        lock(&self.held).push(id);
    }

    pub(crate) fn take_held(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.held))
    }

    /// The requests whose webhooks wait for another one; with an endpoint only those of it.
    pub(crate) fn take_reordered(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let mut waiting = lock(&self.reordered);
        let (taken, kept) = std::mem::take(&mut *waiting).into_iter().partition(|(endpoint, id)| wanted(endpoint, id));
        *waiting = kept;
        taken.into_iter().map(|(_, id): (_, String)| id).collect()
    }

    /// Writes the state file, if there is one.
    pub(crate) fn save(&self) -> Result<(), StateError> {
        self.identity.save(&lock(&self.counters))
    }
}
