//! What a batch was asked to do.

use fresco_pipeline::rows::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::OnBadRow;
use crate::run::request::RunRequest;

/// What a batch was asked to do. It is kept as `batches/<id>/request.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct BatchRequest {
    /// What is given with every row.
    pub(super) run: RunRequest,
    /// The key of the object that holds the rows.
    pub(super) rows: String,
    /// The entity tag that the object has to have, where it was known when the batch was asked for.
    #[serde(default)]
    pub(super) tag: Option<String>,
    /// How they are written.
    pub(super) format: Format,
    pub(super) chunk_size: Option<u32>,
    pub(super) at_once: u32,
    pub(super) pause: u32,
    pub(super) workers: Option<u32>,
    pub(super) tolerate: Option<Tolerance>,
    pub(super) on_bad_row: OnBadRow,
    /// The prefix under which media are looked for that rows name; only where the rows lie in the bucket.
    #[serde(default)]
    pub(super) beside: Option<String>,
    /// In how many seconds the next batch of the same schedule is due.
    #[serde(default)]
    pub(super) period: Option<u64>,
}

/// Rows that lie in the bucket.
pub(crate) struct RowsFrom<'k> {
    /// The key of the object.
    pub(crate) key: &'k str,
    /// Its entity tag, where it has to be just this one.
    pub(crate) tag: Option<&'k str>,
    /// How they are written.
    pub(crate) format: Format,
    /// The prefix under which names of media are looked for.
    pub(crate) beside: &'k str,
    /// In how many seconds the next batch of the same schedule is due.
    pub(crate) period: Option<u64>,
}

/// How many failed rows are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tolerance {
    Rows(u64),
    Percent(u32),
}

impl Tolerance {
    /// Reads `12` or `"5%"`.
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

    /// How many of so many rows may fail.
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
    fn what_is_borne_is_a_number_or_a_part() {
        for (given, of_200) in [("12", Some(12)), ("0", Some(0)), ("\"5%\"", Some(10)), ("\"100 %\"", Some(200))] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(Tolerance::read(&value).map(|tolerance| tolerance.of(200)), of_200, "{given}");
        }
        for bad in ["-1", "1.5", "\"5\"", "\"101%\"", "true", "[1]"] {
            assert_eq!(Tolerance::read(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
