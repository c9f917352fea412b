//! What is counted: enough to see a double submission or a double bill from outside. The numbers are served on the
//! control routes and kept in the state file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Numbers since the last reset. The three gauges (`queued`, `in_progress`, `max_in_progress`) are filled when read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Submissions that arrived with a valid key, refused ones too.
    pub submits: u64,
    /// Submissions that were given a request id.
    pub accepted: u64,
    /// Requests that ended, however they ended.
    pub completions: u64,
    /// Requests that ended with an output, which is what fal bills.
    pub billed_completions: u64,
    /// Requests that ended without output and were not cancelled.
    pub failures: u64,
    /// Requests that were cancelled before they ended.
    pub cancels: u64,
    /// Webhook deliveries tried, repeats and resends too.
    pub webhooks_sent: u64,
    /// Webhook deliveries answered with 2xx.
    pub webhooks_acked: u64,
    /// Webhooks thrown away because the mode was `lost`.
    pub webhooks_lost: u64,
    /// Webhooks given up: redirected, or refused at every try.
    pub webhooks_failed: u64,
    /// Forged webhooks that a fault sent; they are in no other number.
    pub webhooks_forged: u64,
    /// Forged webhooks answered with 2xx.
    pub webhooks_forged_acked: u64,
    /// Media downloads whose bytes were sent, if only in part.
    pub media_downloads: u64,
    /// Requests that wait now.
    pub queued: u64,
    /// Requests in progress now.
    pub in_progress: u64,
    /// The most requests that were in progress at once.
    pub max_in_progress: u64,
    /// How often each fault struck.
    pub by_fault: BTreeMap<String, u64>,
    /// The same by endpoint.
    pub by_endpoint: BTreeMap<String, EndpointCounters>,
}

/// The numbers of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointCounters {
    /// Submissions that arrived with a valid key.
    pub submits: u64,
    /// Submissions that were given a request id.
    pub accepted: u64,
    /// Requests that ended, however they ended.
    pub completions: u64,
    /// Requests that ended with an output.
    pub billed_completions: u64,
    /// Requests that ended without output and were not cancelled.
    pub failures: u64,
    /// Requests that were cancelled before they ended.
    pub cancels: u64,
    /// Units billed, in the unit of the endpoint's price.
    pub billable_units: f64,
}

impl Counters {
    pub(crate) fn endpoint(&mut self, id: &str) -> &mut EndpointCounters {
        self.by_endpoint.entry(id.to_owned()).or_default()
    }
}
