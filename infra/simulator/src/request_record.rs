//! Requests in the form of the control routes, and the numbering that puts the requests of all providers into one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The status of a request. These are the three statuses of fal's queue; a failure is completed, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    #[default]
    InQueue,
    InProgress,
    Completed,
}

/// One request in the form of the control routes. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RequestRecord {
    pub request_id: String,
    /// The full endpoint id; `gemini/<model>` for a call of Gemini.
    pub endpoint: String,
    /// The input's `prompt`; for Gemini all texts of the last turn, one a line.
    pub prompt: Option<String>,
    /// The number of media inputs.
    pub inputs: usize,
    pub submitted_ms: i64,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub status: Status,
    /// The HTTP status of the result.
    pub status_code: Option<u16>,
    /// The platform error that ended the request.
    pub error_type: Option<String>,
    pub billable_units: Option<f64>,
    /// The last path segment of the webhook's address.
    pub token: Option<String>,
    pub webhook_url: Option<String>,
    pub webhook: WebhookRecord,
    /// The names of the faults that applied to it, each once.
    pub faults: Vec<String>,
}

/// The deliveries of a request's webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WebhookRecord {
    /// Delivery attempts, retries and resends included.
    pub deliveries: u32,
    /// Whether one was answered with 2xx.
    pub acked: bool,
    /// The HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// The HTTP statuses that forged webhooks were answered with; no other field includes them.
    pub forged: Vec<u16>,
}

/// Numbers that rise with every request of any provider; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence(Arc<AtomicU64>);

impl Sequence {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
