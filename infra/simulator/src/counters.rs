//! Counts of requests, webhooks and downloads, which show a double submission or a double bill from outside. The control
//! routes serve them, and the state file stores them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The counts since the last reset. `queued`, `in_progress` and `max_in_progress` are gauges, filled in when read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Submissions with a valid key, refused ones included.
    pub submits: u64,
    /// Submissions that got a request id.
    pub accepted: u64,
    pub completions: u64,
    /// Requests that completed with an output, which fal bills.
    pub billed_completions: u64,
    /// Requests that completed without an output and were not cancelled.
    pub failures: u64,
    pub cancels: u64,
    /// Delivery attempts, retries and resends included.
    pub webhooks_sent: u64,
    /// Deliveries answered with 2xx.
    pub webhooks_acked: u64,
    /// Webhooks dropped by the mode `lost` or by a fault.
    pub webhooks_lost: u64,
    /// Webhooks given up after a redirect or after the last retry.
    pub webhooks_failed: u64,
    /// Forged webhooks; no other count includes them.
    pub webhooks_forged: u64,
    /// Forged webhooks answered with 2xx.
    pub webhooks_forged_acked: u64,
    /// Downloads whose bytes were sent, if only in part.
    pub media_downloads: u64,
    pub queued: u64,
    pub in_progress: u64,
    pub max_in_progress: u64,
    /// Hits by the name of the fault.
    pub by_fault: BTreeMap<String, u64>,
    pub by_endpoint: BTreeMap<String, EndpointCounters>,
}

/// The counts of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointCounters {
    pub submits: u64,
    pub accepted: u64,
    pub completions: u64,
    pub billed_completions: u64,
    pub failures: u64,
    pub cancels: u64,
    /// In the unit of the endpoint's price.
    pub billable_units: f64,
}

impl Counters {
    fn endpoint(&mut self, id: &str) -> &mut EndpointCounters {
        self.by_endpoint.entry(id.to_owned()).or_default()
    }

    /// Counts a submission with a valid key.
    pub(crate) fn submitted(&mut self, endpoint: &str) {
        self.submits += 1;
        self.endpoint(endpoint).submits += 1;
    }

    /// Counts a submission that got a request id.
    pub(crate) fn accepted(&mut self, endpoint: &str) {
        self.accepted += 1;
        self.endpoint(endpoint).accepted += 1;
    }

    /// Counts the end of a request: with the units billed for its output, or without output.
    pub(crate) fn completed(&mut self, endpoint: &str, billed_units: Option<f64>, is_cancelled: bool) {
        let (billed, cancels) = (u64::from(billed_units.is_some()), u64::from(is_cancelled));
        let failures = 1 - billed - cancels;
        self.completions += 1;
        self.billed_completions += billed;
        self.cancels += cancels;
        self.failures += failures;
        let own = self.endpoint(endpoint);
        own.completions += 1;
        own.billed_completions += billed;
        own.cancels += cancels;
        own.failures += failures;
        own.billable_units += billed_units.unwrap_or_default();
    }
}
