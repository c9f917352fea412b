//! The usage of the stack's bucket, which a limit is enforced by.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::records::Millis;

/// The usage of the bucket. It is measured by listing the bucket, a part at a time; between two measurements the bytes
/// stored and deleted are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Revision of the measurement; every write of it is conditional on it.
    pub rev: u64,
    /// By the last complete measurement.
    pub bytes: u64,
    pub objects: u64,
    /// The end of the last complete measurement.
    pub measured_at: Option<Millis>,
    /// Bytes stored less bytes deleted since the start of that measurement. During a measurement, the bytes that it has seen
    /// are counted here too: the estimate is too high rather than too low.
    pub since: i64,
    /// The measurement in progress.
    #[serde(with = "crate::records::json")]
    pub pass: Option<Pass>,
}

impl Usage {
    /// The estimated bytes in the bucket.
    pub fn estimate(&self) -> u64 {
        self.bytes.saturating_add_signed(self.since)
    }
}

/// A measurement in progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// [`Usage::since`] at its start.
    pub since: i64,
    /// The last counted key.
    pub after: String,
    pub bytes: u64,
    pub objects: u64,
}

/// The usage of the bucket.
pub trait UsageCounter: Send + Sync {
    /// Reads the usage; zero before the first measurement.
    fn usage(&self) -> impl Future<Output = Result<Usage, StoreError>> + Send;
    /// Adds bytes that were stored, or deleted (negative).
    fn add_usage(&self, bytes: i64) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes the measurement if it is unchanged since it was read, and subtracts `settled` from `since`; true if it was
    /// written.
    fn measure(&self, usage: &Usage, settled: i64) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
