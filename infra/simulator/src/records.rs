//! Requests as the control routes show them, whichever provider they came to, and the numbering that puts those of all
//! providers into one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Where a request stands. These are the three statuses of fal's queue; failures are completed, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits for its turn.
    InQueue,
    /// Being worked on.
    InProgress,
    /// Ended, well or not.
    Completed,
}

/// One request as the control routes show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestRecord {
    /// The id that the submission was answered with.
    pub request_id: String,
    /// The full endpoint id; `gemini/<model>` for a call of Gemini.
    pub endpoint: String,
    /// The input's `prompt`, if it is a text; for Gemini all texts of the last turn, one a line.
    pub prompt: Option<String>,
    /// How many media inputs the request carried.
    pub inputs: usize,
    /// When the submission was accepted, in ms since the Unix epoch.
    pub submitted_ms: i64,
    /// When work on it began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Where it stands.
    pub status: Status,
    /// The HTTP status of its result, once it ended.
    pub status_code: Option<u16>,
    /// Why the platform ended it, if it did.
    pub error_type: Option<String>,
    /// What was billed, if anything.
    pub billable_units: Option<f64>,
    /// The last path segment of the webhook address.
    pub token: Option<String>,
    /// Where its webhook goes.
    pub webhook_url: Option<String>,
    /// What became of its webhook.
    pub webhook: WebhookRecord,
    /// The faults that struck it, each once.
    pub faults: Vec<String>,
}

/// What became of the webhook of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WebhookRecord {
    /// Deliveries tried, repeats and resends too.
    pub deliveries: u32,
    /// Whether one was answered with 2xx.
    pub acked: bool,
    /// The HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// The HTTP statuses that forged ones were answered with; they are in no other number.
    pub forged: Vec<u16>,
}

/// Numbers that rise with every request, shared by all who keep some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence(Arc<AtomicU64>);

impl Sequence {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Brings numbered records of several keepers into one order.
pub(crate) fn in_order(mut records: Vec<(u64, RequestRecord)>) -> Vec<RequestRecord> {
    records.sort_by_key(|(sequence, _)| *sequence);
    records.into_iter().map(|(_, record)| record).collect()
}
