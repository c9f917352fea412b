//! The state that all routes share: settings, counters, the concurrency limit, the requests and the identity.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::call_log::CallLog;
use crate::concurrency::Concurrency;
use crate::counters::Counters;
use crate::fal::journal::Journal;
use crate::fal::request_store::{Job, RequestStore};
use crate::faults::{Fault, FaultRules};
use crate::identity::Identity;
use crate::input_cache::{CachedInput, InputCache};
use crate::random::Random;
use crate::renderer::Renderer;
use crate::request_record::RequestRecord;
use crate::shutdown::Shutdown;

/// The treatment of webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookMode {
    #[default]
    Normal,
    /// No webhook is delivered.
    Lost,
    /// Each is delivered two times.
    Twice,
    /// Each waits for its release by a control route.
    Held,
}

/// The settings that can change while the simulator runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The factor of the typical durations.
    pub scale: f64,
    /// The number of requests in progress at most.
    pub concurrency: usize,
    pub webhook_mode: WebhookMode,
}

/// A change of [`Settings`]; absent fields stay.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Finite and not negative. Requests already accepted keep theirs.
    pub scale: Option<f64>,
    /// Requests already in progress stay so.
    pub concurrency: Option<usize>,
    /// Webhooks already held stay so.
    pub webhook_mode: Option<WebhookMode>,
}

/// The error of a scale that is negative or no number.
#[derive(Debug, thiserror::Error)]
#[error("scale {0} is not a finite number of at least 0")]
pub struct BadScale(pub f64);

/// Refuses a scale that no duration can be multiplied with.
pub(crate) fn check_scale(scale: f64) -> Result<(), BadScale> {
    if (0.0..=1e6).contains(&scale) { Ok(()) } else { Err(BadScale(scale)) }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) port: u16,
    pub(crate) fal_key: String,
    pub(crate) gemini_key: String,
    pub(crate) identity: Identity,
    pub(crate) random: Random,
    pub(crate) faults: FaultRules,
    pub(crate) concurrency: Concurrency,
    pub(crate) requests: RequestStore,
    pub(crate) calls: CallLog,
    pub(crate) journal: Journal,
    pub(crate) renderer: Renderer,
    pub(crate) input_cache: InputCache,
    pub(crate) client: reqwest::Client,
    pub(crate) scale: Mutex<f64>,
    pub(crate) webhook_mode: Mutex<WebhookMode>,
    pub(crate) counters: Mutex<Counters>,
    /// The ids of the requests whose webhooks wait for their release.
    pub(crate) held_webhooks: Mutex<Vec<String>>,
    /// Endpoints and ids of the requests whose webhooks wait for another delivery of their endpoint.
    pub(crate) reordered_webhooks: Mutex<Vec<(&'static str, String)>>,
    /// Notified when a delivery of a webhook was answered.
    pub(crate) delivery: Notify,
    pub(crate) shutdown: Shutdown,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The address of the simulator, without a slash at the end.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Gives the fault that applies to a request at a stage, and counts it. `of_stage` selects the faults of the stage.
    pub(crate) fn strike(
        &self,
        endpoint: &str,
        prompt: Option<&str>,
        of_stage: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        let fault = self.faults.strike(endpoint, prompt, of_stage)?;
        self.count(|counters| *counters.by_fault.entry(fault.name().to_owned()).or_default() += 1);
        Some(fault)
    }

    /// The same for an accepted request of fal, with whose record the fault is stored.
    pub(crate) fn strike_job(&self, job: &Job, of_stage: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let fault = self.strike(&job.endpoint.id, job.prompt(), of_stage)?;
        self.requests.add_fault(&job.id, &fault);
        Some(fault)
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.counters));
    }

    /// The counters with their gauges.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = lock(&self.counters).clone();
        counters.queued = self.concurrency.waiting() as u64;
        counters.in_progress = self.concurrency.running() as u64;
        counters.max_in_progress = self.concurrency.max_running() as u64;
        counters
    }

    /// Sets the counters to 0; requests stay.
    pub(crate) fn reset_counters(&self) {
        *lock(&self.counters) = Counters::default();
        self.concurrency.reset_max();
    }

    /// All requests and calls in the order of submission.
    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        let mut records = self.requests.records();
        records.extend(self.calls.records());
        records.sort_by_key(|(sequence, _)| *sequence);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// The copies of inputs; `None` if one no longer exists. Blocks while it reads files.
    pub(crate) fn copies(&self, inputs: &[CachedInput]) -> Option<Vec<Bytes>> {
        inputs.iter().map(|input| self.input_cache.get(&input.copy)).collect()
    }

    pub(crate) fn scale(&self) -> f64 {
        *lock(&self.scale)
    }

    pub(crate) fn settings(&self) -> Settings {
        let (scale, webhook_mode) = (self.scale(), *lock(&self.webhook_mode));
        Settings { scale, concurrency: self.concurrency.limit(), webhook_mode }
    }

    /// Changes the settings and gives the new ones.
    pub(crate) fn change(&self, change: SettingsChange) -> Result<Settings, BadScale> {
        if let Some(scale) = change.scale {
            check_scale(scale)?;
            *lock(&self.scale) = scale;
        }
        if let Some(mode) = change.webhook_mode {
            *lock(&self.webhook_mode) = mode;
        }
        if let Some(concurrency) = change.concurrency {
            self.concurrency.set_limit(concurrency);
        }
        Ok(self.settings())
    }

    /// Takes the requests out whose webhooks wait for another delivery and satisfy a condition on endpoint and id.
    pub(crate) fn take_reordered(&self, is_wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let taken = lock(&self.reordered_webhooks).extract_if(.., |(endpoint, id)| is_wanted(endpoint, id)).collect();
        let taken: Vec<(&str, String)> = taken;
        taken.into_iter().map(|(_, id)| id).collect()
    }

    /// Writes the state file, if there is one.
    pub(crate) fn save(&self) -> Result<()> {
        self.identity.save(&lock(&self.counters))
    }
}
