//! The request of a batch.

use fresco_api_types::OnBadRow;
use fresco_pipeline::rows::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::request::RunRequest;

/// The request of a batch: `batches/<id>/request.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct BatchRequest {
    /// The inputs of every row.
    pub(super) run: RunRequest,
    /// The key of the rows.
    pub(super) rows: String,
    /// The entity tag of the rows, where it was known when the batch was requested.
    #[serde(default)]
    pub(super) tag: Option<String>,
    pub(super) format: Format,
    pub(super) chunk_size: Option<u32>,
    pub(super) at_once: u32,
    pub(super) pause: u32,
    pub(super) workers: Option<u32>,
    pub(super) tolerate: Option<Tolerance>,
    pub(super) on_bad_row: OnBadRow,
    /// The prefix under which media of rows are looked up; only where the rows lie in the bucket.
    #[serde(default)]
    pub(super) beside: Option<String>,
    /// The seconds until the next batch of the same schedule.
    #[serde(default)]
    pub(super) period: Option<u64>,
}

/// Rows in the bucket.
pub(crate) struct RowsFrom<'k> {
    pub(crate) key: &'k str,
    /// Present where exactly this object is meant.
    pub(crate) tag: Option<&'k str>,
    pub(crate) format: Format,
    /// The prefix under which media are looked up.
    pub(crate) beside: &'k str,
    /// The seconds until the next batch of the same schedule.
    pub(crate) period: Option<u64>,
}

/// The failure tolerance of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tolerance {
    Rows(u64),
    Percent(u32),
}

impl Tolerance {
    /// Parses `12` or `"5%"`.
    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Tolerance::Rows),
            Value::String(text) => {
                let percent = text.trim().strip_suffix('%')?.trim().parse().ok()?;
                (percent <= 100).then_some(Tolerance::Percent(percent))
            }
            _ => None,
        }
    }

    /// The number of rows that may fail.
    pub(super) fn of(self, rows: u64) -> u64 {
        match self {
            Tolerance::Rows(rows) => rows,
            Tolerance::Percent(percent) => rows.saturating_mul(u64::from(percent)) / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_number_or_a_percentage() {
        for (given, of_200) in [("12", Some(12)), ("0", Some(0)), ("\"5%\"", Some(10)), ("\"100 %\"", Some(200))] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(Tolerance::read(&value).map(|tolerance| tolerance.of(200)), of_200, "{given}");
        }
        for bad in ["-1", "1.5", "\"5\"", "\"101%\"", "true", "[1]"] {
            assert_eq!(Tolerance::read(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
