//! How much the stack's bucket holds: the account that a limit on it is kept by.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::records::Millis;

/// How much the bucket holds. It is measured by listing it, a part at a time; between two measurements what is stored and
/// removed is added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How often the measurement was written; every write of it is conditional on it.
    pub rev: u64,
    /// What the last whole measurement found.
    pub bytes: u64,
    /// How many objects.
    pub objects: u64,
    /// When that ended; `None` before the first.
    pub measured_at: Option<Millis>,
    /// Bytes stored less bytes removed since that measurement began. While one is under way, what it has seen already is
    /// counted here too: the estimate is rather too high than too low.
    pub since: i64,
    /// The measurement under way.
    pub pass: Option<Pass>,
}

impl Usage {
    /// How much there is, as far as is known.
    pub fn estimate(&self) -> u64 {
        self.bytes.saturating_add_signed(self.since)
    }
}

/// A measurement under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// [`Usage::since`] when it began.
    pub since: i64,
    /// The last key that was counted.
    pub after: String,
    /// Bytes so far.
    pub bytes: u64,
    /// Objects so far.
    pub objects: u64,
}

/// The account of what the bucket holds.
pub trait UsageCounter: Send + Sync {
    /// The account; an empty one before the first measurement.
    fn usage(&self) -> impl Future<Output = Result<Usage, StoreError>> + Send;
    /// Bytes were stored, or removed (negative).
    fn add_usage(&self, bytes: i64) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes the measurement if nobody else has since it was read; `since` is changed by the difference that `settled` says
    /// and otherwise left as it is. Whether it was written.
    fn measure(&self, usage: &Usage, settled: i64) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
