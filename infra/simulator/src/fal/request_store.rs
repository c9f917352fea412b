//! The requests of the account. One lock guards them all, and an end is written once: of a cancel, a timeout and the work
//! itself the first one counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;

use super::endpoint::Endpoint;
use super::output::{Output, Plan};
use super::platform_error::PlatformError;
use crate::clock::now_ms;
use crate::concurrency::{Concurrency, Ticket};
use crate::faults::Fault;
use crate::request_record::{RequestRecord, Sequence, Status, WebhookRecord};

/// The number of requests that are remembered; beyond it the oldest completed ones are dropped.
const REMEMBERED: usize = 20_000;

/// The part of a request that never changes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) input: Value,
    /// Its output, or the body of the refusal.
    pub(crate) plan: Result<Plan, Value>,
    pub(crate) webhook: Option<String>,
    /// Whether the history stores input and output (`X-Fal-Store-IO`).
    pub(crate) keeps_payloads: bool,
    pub(crate) ticket: u64,
    pub(crate) sent_ms: i64,
    /// The fault of its work.
    pub(crate) fault: Option<Fault>,
    /// Notified when the request is cancelled.
    pub(crate) cancelled: Notify,
}

/// A request in its present state.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) job: Arc<Job>,
    pub(crate) started_ms: Option<i64>,
    pub(crate) end: Option<End>,
    pub(crate) webhook: WebhookRecord,
    /// The names of the faults that applied to it.
    pub(crate) faults: Vec<&'static str>,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at_ms: i64,
    pub(crate) reason: EndReason,
}

/// The way a request ended.
#[derive(Clone, Debug)]
pub(crate) enum EndReason {
    Output(Arc<Output>),
    /// The application refused or failed, with this status and body.
    ModelError {
        status: u16,
        body: Value,
        is_retryable: bool,
    },
    PlatformError(PlatformError),
}

impl EndReason {
    /// The refusal of an input by the application, which is not billed.
    pub(crate) fn refusal(body: Value) -> Self {
        Self::ModelError { status: 422, body, is_retryable: false }
    }

    /// The HTTP status of the result.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Output(_) => 200,
            Self::ModelError { status, .. } => *status,
            Self::PlatformError(error) => error.status(),
        }
    }
}

impl Job {
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.input.get("prompt").and_then(Value::as_str)
    }
}

impl Request {
    pub(crate) fn status(&self) -> Status {
        match (&self.end, self.started_ms) {
            (Some(_), _) => Status::Completed,
            (None, Some(_)) => Status::InProgress,
            (None, None) => Status::InQueue,
        }
    }

    /// Seconds from start to end.
    pub(crate) fn inference_seconds(&self) -> Option<f64> {
        Some((self.end.as_ref()?.at_ms - self.started_ms?) as f64 / 1000.0)
    }

    /// Its output, if it has one.
    pub(crate) fn output(&self) -> Option<&Arc<Output>> {
        match &self.end.as_ref()?.reason {
            EndReason::Output(output) => Some(output),
            EndReason::ModelError { .. } | EndReason::PlatformError(_) => None,
        }
    }

    /// The platform error that ended it, if one did.
    pub(crate) fn platform_error(&self) -> Option<PlatformError> {
        match &self.end.as_ref()?.reason {
            EndReason::PlatformError(error) => Some(*error),
            EndReason::Output(_) | EndReason::ModelError { .. } => None,
        }
    }

    /// The HTTP status of its result, once it has ended.
    pub(crate) fn status_code(&self) -> Option<u16> {
        self.end.as_ref().map(|end| end.reason.status())
    }

    pub(crate) fn record(&self) -> RequestRecord {
        let job = &self.job;
        RequestRecord {
            request_id: job.id.clone(),
            endpoint: job.endpoint.id.to_owned(),
            prompt: job.prompt().map(str::to_owned),
            inputs: job.endpoint.media_inputs(&job.input).len(),
            submitted_ms: job.sent_ms,
            started_ms: self.started_ms,
            ended_ms: self.end.as_ref().map(|end| end.at_ms),
            status: self.status(),
            status_code: self.status_code(),
            error_type: self.platform_error().map(|error| error.error_type().to_owned()),
            billable_units: self.output().map(|output| output.billable_units),
            token: job.webhook.as_deref().and_then(last_segment),
            webhook_url: job.webhook.clone(),
            webhook: self.webhook.clone(),
            faults: self.faults.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// The last segment of the path of an address.
fn last_segment(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok()?;
    Some(url.path_segments()?.next_back()?.to_owned())
}

/// All requests.
#[derive(Debug)]
pub(crate) struct RequestStore(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    sequence: Sequence,
    by_id: HashMap<String, u64>,
    by_sequence: BTreeMap<u64, Request>,
}

impl Inner {
    fn get_mut(&mut self, id: &str) -> Option<&mut Request> {
        let sequence = self.by_id.get(id)?;
        self.by_sequence.get_mut(sequence)
    }

    fn drop_oldest(&mut self) {
        while self.by_sequence.len() > REMEMBERED {
            let oldest = self.by_sequence.iter().find(|(_, request)| request.end.is_some());
            let Some((sequence, id)) = oldest.map(|(sequence, request)| (*sequence, request.job.id.clone())) else {
                return;
            };
            self.by_sequence.remove(&sequence);
            self.by_id.remove(&id);
        }
    }
}

impl RequestStore {
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self(Mutex::new(Inner { sequence, by_id: HashMap::new(), by_sequence: BTreeMap::new() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request and takes its place in the line at once, so that the records have the order of the line. `make` gets
    /// the sequence number, which is higher than all before, and the ticket's.
    pub(crate) fn add(&self, concurrency: &Concurrency, make: impl FnOnce(u64, u64) -> Job) -> (Arc<Job>, Ticket) {
        let mut inner = self.inner();
        let sequence = inner.sequence.next();
        let ticket = concurrency.enqueue();
        let job = Arc::new(make(sequence, ticket.number()));
        let request = Request {
            job: job.clone(),
            started_ms: None,
            end: None,
            webhook: WebhookRecord::default(),
            faults: Vec::new(),
        };
        inner.by_id.insert(job.id.clone(), sequence);
        inner.by_sequence.insert(sequence, request);
        inner.drop_oldest();
        (job, ticket)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Request> {
        self.inner().get_mut(id).cloned()
    }

    /// Marks the start of work; `false` if the request has already ended.
    pub(crate) fn start(&self, id: &str) -> bool {
        match self.inner().get_mut(id) {
            Some(request) if request.end.is_none() => {
                request.started_ms = Some(now_ms());
                true
            }
            _ => false,
        }
    }

    /// Marks the end; gives the request if this call ended it.
    pub(crate) fn end(&self, id: &str, reason: EndReason) -> Option<Request> {
        let mut inner = self.inner();
        let request = inner.get_mut(id)?;
        if request.end.is_some() {
            return None;
        }
        request.end = Some(End { at_ms: now_ms(), reason });
        Some(request.clone())
    }

    /// Records a delivery attempt of the webhook and the status of its answer, if there was one.
    pub(crate) fn delivered(&self, id: &str, status: Option<u16>) {
        if let Some(request) = self.inner().get_mut(id) {
            request.webhook.deliveries += 1;
            request.webhook.acked |= status.is_some_and(|status| (200..300).contains(&status));
            request.webhook.last_status = status.or(request.webhook.last_status);
        }
    }

    /// Records the status of the answer to a forged webhook.
    pub(crate) fn forged(&self, id: &str, status: u16) {
        if let Some(request) = self.inner().get_mut(id) {
            request.webhook.forged.push(status);
        }
    }

    /// Records that a fault applied to a request.
    pub(crate) fn add_fault(&self, id: &str, fault: &Fault) {
        if let Some(request) = self.inner().get_mut(id)
            && !request.faults.contains(&fault.name())
        {
            request.faults.push(fault.name());
        }
    }

    /// The requests that satisfy a condition, the newest first.
    pub(crate) fn newest(&self, before: Option<u64>, keep: impl Fn(&Request) -> bool, limit: usize) -> Vec<Request> {
        let inner = self.inner();
        let range = inner.by_sequence.range(..before.unwrap_or(u64::MAX)).rev();
        range.map(|(_, request)| request).filter(|request| keep(request)).take(limit).cloned().collect()
    }

    /// All requests with their sequence numbers.
    pub(crate) fn records(&self) -> Vec<(u64, RequestRecord)> {
        self.inner().by_sequence.iter().map(|(sequence, request)| (*sequence, request.record())).collect()
    }
}
