//! The account of what the bucket holds: one item. What is stored and removed is added to one attribute; the measurement is
//! another, so that neither has to wait for the other.

use super::expression::Expression;
use super::item::{Reader, VERSION, count, json, number};
use super::{Dynamo, Item};
use crate::traits::{StoreError, Usage, UsageCounter};

const USAGE: &str = "U";

impl UsageCounter for Dynamo {
    async fn usage(&self) -> Result<Usage, StoreError> {
        self.get(USAGE, USAGE).await?.as_ref().map_or_else(|| Ok(Usage::default()), usage)
    }

    async fn add_usage(&self, bytes: i64) -> Result<(), StoreError> {
        let write = Expression::new().set("v", number(VERSION)).add("since", number(bytes));
        self.update(USAGE, USAGE, write).await.map(drop)
    }

    async fn measure(&self, usage: &Usage, settled: i64) -> Result<bool, StoreError> {
        let unchanged = match usage.rev {
            0 => "attribute_not_exists(#rev)",
            _ => "#rev = :before",
        };
        let mut write = Expression::new()
            .set("v", number(VERSION))
            .set("rev", count(usage.rev.saturating_add(1)))
            .set("bytes", count(usage.bytes))
            .set("objects", count(usage.objects))
            .set_or_remove("measured_at", usage.measured_at.map(number))
            .set_or_remove("pass", usage.pass.as_ref().map(json).transpose()?)
            .add("since", number(-settled))
            .only_if(unchanged);
        if usage.rev > 0 {
            write = write.with("before", count(usage.rev));
        }
        Ok(self.update(USAGE, USAGE, write).await?.is_some())
    }
}

fn usage(item: &Item) -> Result<Usage, StoreError> {
    let item = Reader::new(item)?;
    Ok(Usage {
        rev: item.maybe_number("rev")?.unwrap_or(0),
        bytes: item.maybe_number("bytes")?.unwrap_or(0),
        objects: item.maybe_number("objects")?.unwrap_or(0),
        measured_at: item.maybe_number("measured_at")?,
        since: item.maybe_number("since")?.unwrap_or(0),
        pass: item.maybe_json("pass")?,
    })
}
