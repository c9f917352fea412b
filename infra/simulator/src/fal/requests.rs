//! The requests of the account: what was asked, how far it is, how it ended. One lock guards them all, and an end is
//! written once: whoever comes second (a cancel, a timeout, the work itself) finds it settled.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;

use super::endpoints::Endpoint;
use super::infrastructure::Infrastructure;
use super::inputs;
use super::output::{Output, Plan};
use crate::clock::now_ms;
use crate::faults::WorkFault;
use crate::gate::{Gate, Ticket};
use crate::records::{RequestRecord, Sequence, Status, WebhookRecord};

/// So many requests are remembered; beyond it the oldest that have ended are forgotten.
const REMEMBERED: usize = 20_000;

/// What never changes about a request.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) input: Value,
    /// What it will make, or the body of the refusal.
    pub(crate) plan: Result<Plan, Value>,
    pub(crate) webhook: Option<String>,
    /// Whether the history keeps input and output (`X-Fal-Store-IO`).
    pub(crate) keeps_payloads: bool,
    pub(crate) ticket: u64,
    pub(crate) sent_ms: i64,
    /// What goes wrong with its work.
    pub(crate) fault: Option<WorkFault>,
    /// Told when the request is cancelled.
    pub(crate) cancelled: Notify,
}

/// A request as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) job: Arc<Job>,
    pub(crate) started_ms: Option<i64>,
    pub(crate) end: Option<End>,
    pub(crate) webhook: WebhookRecord,
    /// The names of the faults that struck it.
    pub(crate) faults: Vec<&'static str>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at_ms: i64,
    pub(crate) outcome: Outcome,
}

/// What a request came to.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The output.
    Made(Arc<Output>),
    /// The application refused or failed: its status and body.
    Refused { status: u16, body: Value, retryable: bool },
    /// The platform ended it.
    Ended(Infrastructure),
}

impl Outcome {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Made(_) => 200,
            Self::Refused { status, .. } => *status,
            Self::Ended(reason) => reason.status(),
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

    /// What it made, if it ended well.
    pub(crate) fn output(&self) -> Option<&Arc<Output>> {
        match &self.end.as_ref()?.outcome {
            Outcome::Made(output) => Some(output),
            Outcome::Refused { .. } | Outcome::Ended(_) => None,
        }
    }

    pub(crate) fn record(&self) -> RequestRecord {
        let job = &self.job;
        RequestRecord {
            request_id: job.id.clone(),
            endpoint: job.endpoint.id.to_owned(),
            prompt: job.prompt().map(str::to_owned),
            inputs: inputs::wanted(job.endpoint.fields, &job.input).len(),
            submitted_ms: job.sent_ms,
            started_ms: self.started_ms,
            ended_ms: self.end.as_ref().map(|end| end.at_ms),
            status: self.status(),
            status_code: self.end.as_ref().map(|end| end.outcome.status()),
            error_type: match self.end.as_ref().map(|end| &end.outcome) {
                Some(Outcome::Ended(reason)) => Some(reason.error_type().to_owned()),
                _ => None,
            },
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
pub(crate) struct Requests(Mutex<Inner>);

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

    fn forget_oldest(&mut self) {
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

impl Requests {
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self(Mutex::new(Inner { sequence, by_id: HashMap::new(), by_sequence: BTreeMap::new() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request, and takes its place in the line: both at once, so that the records have the order of the line. `make` is
    /// given the sequence number, which is higher than all before, and the ticket's.
    pub(crate) fn add(&self, gate: &Gate, make: impl FnOnce(u64, u64) -> Job) -> (Arc<Job>, Ticket) {
        let mut inner = self.inner();
        let sequence = inner.sequence.next();
        let ticket = gate.line_up();
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
        inner.forget_oldest();
        (job, ticket)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Request> {
        self.inner().get_mut(id).cloned()
    }

    /// Marks the begin of work; `false` if the request has already ended.
    pub(crate) fn start(&self, id: &str) -> bool {
        match self.inner().get_mut(id) {
            Some(request) if request.end.is_none() => {
                request.started_ms = Some(now_ms());
                true
            }
            _ => false,
        }
    }

    /// Marks the end; gives the request if this call was the one that ended it.
    pub(crate) fn end(&self, id: &str, outcome: Outcome) -> Option<Request> {
        let mut inner = self.inner();
        let request = inner.get_mut(id)?;
        if request.end.is_some() {
            return None;
        }
        request.end = Some(End { at_ms: now_ms(), outcome });
        Some(request.clone())
    }

    /// Notes a delivery of the webhook and its answer, if there was one.
    pub(crate) fn delivered(&self, id: &str, status: Option<u16>) {
        if let Some(request) = self.inner().get_mut(id) {
            request.webhook.deliveries += 1;
            request.webhook.acked |= status.is_some_and(|status| (200..300).contains(&status));
            request.webhook.last_status = status.or(request.webhook.last_status);
        }
    }

    /// Notes the answer to a forged webhook.
    pub(crate) fn forged(&self, id: &str, status: u16) {
        if let Some(request) = self.inner().get_mut(id) {
            request.webhook.forged.push(status);
        }
    }

    /// Notes that a fault strikes a request.
    pub(crate) fn struck(&self, id: &str, fault: &'static str) {
        if let Some(request) = self.inner().get_mut(id)
            && !request.faults.contains(&fault)
        {
            request.faults.push(fault);
        }
    }

    /// Requests that satisfy a condition, the newest first.
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
