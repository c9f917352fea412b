//! Holds the bucket to the stack's limit: new work is refused before money is spent, and a result that is paid for is
//! stored all the same.

use std::sync::Arc;

use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Clock, Objects, Pass, Usage, UsageCounter};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::Media;

use crate::metrics;
use crate::platform::Platform;
use crate::settings::Settings;

/// The pause between two measurements, in milliseconds.
const PAUSE: Millis = 15 * 60_000;
/// Pages of a thousand objects that one call measures: a long listing is measured in parts.
const PAGES: usize = 40;

/// The bytes in the bucket and their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageUse {
    /// Bytes in the bucket, estimated.
    pub bytes: u64,
    /// The limit in bytes.
    pub most: u64,
}

impl StorageUse {
    /// Returns whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.most
    }

    /// The used part of the limit, in percent.
    pub fn percent(&self) -> f64 {
        self.bytes as f64 / self.most.max(1) as f64 * 100.0
    }

    /// Formats the metrics `StoredBytes` and `StoragePercent` as a line of the function's log.
    fn metric_line(&self, stack: &str, now: Millis) -> String {
        let metrics =
            [("StoredBytes", "Bytes", self.bytes.into()), ("StoragePercent", "Percent", self.percent().into())];
        metrics::line(stack, now, &metrics)
    }
}

/// Counts what the bucket holds against the stack's limit.
pub struct Quota<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
}

impl<P: Platform> Quota<P> {
    /// Fails with `Storage.Full` where the bucket has reached its limit. Without a limit it reads nothing.
    pub(crate) async fn require_room(&self) -> Result<(), Failure> {
        let Some(most) = self.settings.max_stored_bytes else { return Ok(()) };
        let bytes = self.platform.ledger().usage().await?.estimate();
        if !(StorageUse { bytes, most }).is_full() {
            return Ok(());
        }
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let message = format!(
            "the stack holds {:.2} GB and may hold {:.2}: nothing new is generated until something is removed",
            gigabytes(bytes),
            gigabytes(most)
        );
        Err(Failure::new(ErrorName::StorageFull, message))
    }

    /// Counts stored outputs. Where that fails, the next measurement finds them.
    pub(crate) async fn record_stored(&self, outputs: &[Media]) {
        self.record_bytes(outputs.iter().map(|output| i64::try_from(output.bytes).unwrap_or(i64::MAX)).sum()).await;
    }

    /// Counts bytes that were stored, or removed where the number is negative.
    pub(crate) async fn record_bytes(&self, bytes: i64) {
        if self.settings.max_stored_bytes.is_none() || bytes == 0 {
            return;
        }
        if let Err(error) = self.platform.ledger().add_usage(bytes).await {
            tracing::warn!(error.message = %error, "usage not noted");
        }
    }

    /// Formats the metrics of a measurement, for the alarm.
    pub fn metric_line(&self, stored: &StorageUse) -> String {
        stored.metric_line(&self.settings.stack, self.platform.clock().now())
    }

    /// Measures the bucket, or a part of it, if a measurement is due. Returns the estimate, or `None` without a limit.
    pub async fn measure(&self) -> Result<Option<StorageUse>, Failure> {
        let Some(most) = self.settings.max_stored_bytes else { return Ok(None) };
        let ledger = self.platform.ledger();
        let mut usage = ledger.usage().await?;
        let now = self.platform.clock().now();
        if usage.pass.is_some() || usage.measured_at.is_none_or(|at| now - at >= PAUSE) {
            usage = self.measure_on(usage, now).await?;
        }
        Ok(Some(StorageUse { bytes: usage.estimate(), most }))
    }

    async fn measure_on(&self, mut usage: Usage, now: Millis) -> Result<Usage, Failure> {
        let mut pass = usage.pass.take().unwrap_or(Pass { since: usage.since, ..Pass::default() });
        let mut over = false;
        for _ in 0..PAGES {
            let page = self.platform.objects().list("", &pass.after).await?;
            let Some(last) = page.last() else {
                over = true;
                break;
            };
            pass.after.clone_from(&last.key);
            pass.bytes += page.iter().map(|object| object.bytes).sum::<u64>();
            pass.objects += page.len() as u64;
        }
        let mut settled = 0;
        if over {
            settled = pass.since;
            usage = Usage { bytes: pass.bytes, objects: pass.objects, measured_at: Some(now), pass: None, ..usage };
        } else {
            usage.pass = Some(pass);
        }
        // Where another caller already recorded this measurement, nothing is written.
        self.platform.ledger().measure(&usage, settled).await?;
        usage.since -= settled;
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bucket_at_its_limit_is_full() {
        for (bytes, full, percent) in [(0, false, 0.0), (799, false, 79.9), (999, false, 99.9), (1_000, true, 100.0)] {
            let stored = StorageUse { bytes, most: 1_000 };
            assert_eq!((stored.is_full(), stored.percent()), (full, percent));
        }
    }

    #[test]
    fn the_metric_is_one_line_that_cloudwatch_reads() {
        let line = StorageUse { bytes: 500, most: 1_000 }.metric_line("fresco", 1_800_000_000_000);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let directive = &value["_aws"]["CloudWatchMetrics"][0];
        assert!(!line.contains('\n'));
        assert_eq!(value["_aws"]["Timestamp"], 1_800_000_000_000_i64);
        // Every dimension and metric that is named is a member of the line.
        assert_eq!(directive["Dimensions"], json!([["Stack"]]));
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(value[metric["Name"].as_str().unwrap()].is_number());
        }
        assert_eq!((&value["Stack"], &value["StoragePercent"]), (&json!("fresco"), &json!(50.0)));
    }
}
