//! The usage of the bucket: one item. Bytes stored and deleted are added to one attribute; the measurement is in others, so
//! that neither has to wait for the other.

use super::items::{count, from_item, json, number, version};
use super::{Store, keys};
use crate::table::{Condition, Table, Update};
use crate::traits::{StoreError, Usage, UsageCounter};

impl<T: Table> UsageCounter for Store<T> {
    async fn usage(&self) -> Result<Usage, StoreError> {
        self.table.get(&keys::usage()).await?.map_or_else(|| Ok(Usage::default()), |item| from_item(&item, []))
    }

    async fn add_usage(&self, bytes: i64) -> Result<(), StoreError> {
        self.table.update(&keys::usage(), &Update::new().set("v", version()).add("since", bytes)).await.map(drop)
    }

    async fn measure(&self, usage: &Usage, settled: i64) -> Result<bool, StoreError> {
        let unchanged = match usage.rev {
            0 => Condition::Missing("rev"),
            rev => Condition::Equals("rev", count(rev)),
        };
        let update = Update::new()
            .set("v", version())
            .set("rev", count(usage.rev.saturating_add(1)))
            .set("bytes", count(usage.bytes))
            .set("objects", count(usage.objects))
            .set_or_remove("measured_at", usage.measured_at.map(number))
            .set_or_remove("pass", usage.pass.as_ref().map(json).transpose()?)
            .add("since", -settled)
            .only_if(unchanged);
        Ok(self.table.update(&keys::usage(), &update).await?.is_ok())
    }
}
