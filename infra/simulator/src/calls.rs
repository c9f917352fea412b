//! Calls that are answered on their own connection, without a queue: what was asked, when, and how it ended. They live
//! in memory only, as such a call dies with its process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::now_ms;
use crate::records::{RequestRecord, Sequence, Status, WebhookRecord};

/// So many calls are remembered.
const REMEMBERED: usize = 20_000;

/// All calls.
#[derive(Debug)]
pub(crate) struct Calls {
    sequence: Sequence,
    records: Mutex<BTreeMap<u64, RequestRecord>>,
}

impl Calls {
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self { sequence, records: Mutex::default() }
    }

    fn records_mut(&self) -> MutexGuard<'_, BTreeMap<u64, RequestRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call whose work begins now, and gives the number to end it with.
    pub(crate) fn begin(&self, id: String, endpoint: String, prompt: Option<String>, inputs: usize) -> u64 {
        let now = now_ms();
        let record = RequestRecord {
            request_id: id,
            endpoint,
            prompt,
            inputs,
            submitted_ms: now,
            started_ms: Some(now),
            ended_ms: None,
            status: Status::InProgress,
            status_code: None,
            error_type: None,
            billable_units: None,
            token: None,
            webhook_url: None,
            webhook: WebhookRecord::default(),
            faults: Vec::new(),
        };
        let mut records = self.records_mut();
        let number = self.sequence.next();
        records.insert(number, record);
        while records.len() > REMEMBERED {
            records.pop_first();
        }
        number
    }

    /// Notes that a call ended with an answer, which bills one unit.
    pub(crate) fn answered(&self, number: u64) {
        if let Some(record) = self.records_mut().get_mut(&number) {
            record.ended_ms = Some(now_ms());
            record.status = Status::Completed;
            record.status_code = Some(200);
            record.billable_units = Some(1.0);
        }
    }

    /// Notes that a fault strikes a call.
    pub(crate) fn struck(&self, number: u64, fault: &str) {
        if let Some(record) = self.records_mut().get_mut(&number) {
            record.faults.push(fault.to_owned());
        }
    }

    /// All calls with their numbers.
    pub(crate) fn records(&self) -> Vec<(u64, RequestRecord)> {
        self.records_mut().iter().map(|(number, record)| (*number, record.clone())).collect()
    }
}
