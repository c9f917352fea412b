//! Calls that are answered on their own connection, without a queue. They live in memory only, as such a call ends with
//! its process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::now_ms;
use crate::request_record::{RequestRecord, Sequence, Status};

/// The number of calls that are remembered.
const REMEMBERED: usize = 20_000;

/// All calls.
#[derive(Debug)]
pub(crate) struct CallLog {
    sequence: Sequence,
    records: Mutex<BTreeMap<u64, RequestRecord>>,
}

impl CallLog {
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self { sequence, records: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, RequestRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call that begins now, and gives its number.
    pub(crate) fn begin(&self, call: RequestRecord) -> u64 {
        let now = now_ms();
        let mut records = self.lock();
        let number = self.sequence.next();
        let times = RequestRecord { submitted_ms: now, started_ms: Some(now), status: Status::InProgress, ..call };
        records.insert(number, times);
        while records.len() > REMEMBERED {
            records.pop_first();
        }
        number
    }

    /// Marks a call as answered, which bills one unit.
    pub(crate) fn complete(&self, number: u64) {
        if let Some(record) = self.lock().get_mut(&number) {
            record.ended_ms = Some(now_ms());
            record.status = Status::Completed;
            record.status_code = Some(200);
            record.billable_units = Some(1.0);
        }
    }

    /// All calls with their numbers.
    pub(crate) fn records(&self) -> Vec<(u64, RequestRecord)> {
        self.lock().iter().map(|(number, record)| (*number, record.clone())).collect()
    }
}
