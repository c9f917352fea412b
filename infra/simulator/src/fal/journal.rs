//! Requests on disk, in a file beside the state file: a provider does not lose its jobs when the machine of its client
//! goes down.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::platform_error::PlatformError;
use super::request_store::{EndReason, Job};
use crate::atomic_file;
use crate::faults::Fault;
use crate::input_cache::CachedInput;

/// The number of requests that survive a restart; older ones are dropped.
const REMEMBERED: usize = 1_000;

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Accepted(AcceptedRequest),
    Ended { request_id: String, end: StoredEnd },
}

/// A request that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AcceptedRequest {
    pub(super) request_id: String,
    pub(super) endpoint: String,
    pub(super) input: Value,
    pub(super) webhook: Option<String>,
    pub(super) keeps_payloads: bool,
    pub(super) sent_ms: i64,
    /// The fault of its work.
    pub(super) fault: Option<Fault>,
}

/// The end of a request. The output of one is drawn from the request and its inputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredEnd {
    Output { inputs: Vec<CachedInput>, media_url: Option<String> },
    ModelError { status: u16, body: Value, is_retryable: bool },
    PlatformError(PlatformError),
}

/// The file, or nothing where requests are not stored.
#[derive(Debug, Default)]
pub(crate) struct Journal(Option<Mutex<File>>);

/// The requests of former sessions.
#[derive(Debug, Default)]
pub(crate) struct StoredRequests(pub(super) Vec<(AcceptedRequest, Option<StoredEnd>)>);

impl Journal {
    /// Reads and compacts the file beside the state file. Lines that were cut off are skipped.
    pub(crate) fn open(state: Option<&Path>) -> io::Result<(Self, StoredRequests)> {
        let Some(state) = state else { return Ok(Default::default()) };
        let path = state.with_extension("requests.jsonl");
        let stored = match std::fs::read_to_string(&path) {
            Ok(text) => StoredRequests::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => StoredRequests::default(),
            Err(error) => return Err(error),
        };
        atomic_file::write(&path, stored.lines()?.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok((Journal(Some(Mutex::new(file))), stored))
    }

    /// Stores a request that was accepted.
    pub(crate) fn accepted(&self, job: &Job) {
        self.write(&Line::Accepted(AcceptedRequest {
            request_id: job.id.clone(),
            endpoint: job.endpoint.id.clone(),
            input: job.input.clone(),
            webhook: job.webhook.clone(),
            keeps_payloads: job.keeps_payloads,
            sent_ms: job.sent_ms,
            fault: job.fault.clone(),
        }));
    }

    /// Stores the end of a request.
    pub(crate) fn ended(&self, id: &str, reason: &EndReason) {
        let end = match reason {
            EndReason::Output(output) => {
                StoredEnd::Output { inputs: output.inputs.clone(), media_url: output.spoilt.media_url.clone() }
            }
            EndReason::ModelError { status, body, is_retryable } => {
                StoredEnd::ModelError { status: *status, body: body.clone(), is_retryable: *is_retryable }
            }
            EndReason::PlatformError(error) => StoredEnd::PlatformError(*error),
        };
        self.write(&Line::Ended { request_id: id.to_owned(), end });
    }

    fn write(&self, line: &Line) {
        let Some(file) = &self.0 else { return };
        let written = serialized(line)
            .and_then(|text| file.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(error = %error, "the request was not written to disk");
        }
    }
}

fn serialized(line: &Line) -> io::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

impl StoredRequests {
    fn parse(text: &str) -> Self {
        let mut requests: Vec<(AcceptedRequest, Option<StoredEnd>)> = Vec::new();
        let mut positions: HashMap<String, usize> = HashMap::new();
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Accepted(accepted) => {
                    positions.insert(accepted.request_id.clone(), requests.len());
                    requests.push((accepted, None));
                }
                Line::Ended { request_id, end } => {
                    if let Some(entry) = positions.get(&request_id).and_then(|&at| requests.get_mut(at)) {
                        entry.1 = Some(end);
                    }
                }
            }
        }
        Self(requests.split_off(requests.len().saturating_sub(REMEMBERED)))
    }

    fn lines(&self) -> io::Result<String> {
        let lines = self.0.iter().flat_map(|(accepted, end)| {
            let ended = |end| Line::Ended { request_id: accepted.request_id.clone(), end };
            std::iter::once(Line::Accepted(accepted.clone())).chain(end.clone().map(ended))
        });
        lines.map(|line| serialized(&line)).collect()
    }

    /// The names of the copies of inputs that these requests are drawn from.
    pub(crate) fn copies(&self) -> HashSet<String> {
        let inputs = self.0.iter().filter_map(|(_, end)| match end {
            Some(StoredEnd::Output { inputs, .. }) => Some(inputs),
            _ => None,
        });
        inputs.flatten().map(|input| input.copy.clone()).collect()
    }
}
