//! The last firing of each schedule.

use serde::Deserialize;

use super::items::{expiry_from_now, from_item, json, number, version};
use super::{RUN_DAYS, Store, keys};
use crate::table::{Condition, EXPIRES_AT, Table, Update};
use crate::traits::{Firing, Firings, StoreError};

#[derive(Deserialize)]
struct LastFiring {
    #[serde(with = "crate::records::json")]
    firing: Firing,
}

impl<T: Table> Firings for Store<T> {
    async fn last_firing(&self, schedule: &str) -> Result<Option<Firing>, StoreError> {
        let item = self.table.get(&keys::firing(schedule)).await?;
        item.map(|item| from_item::<LastFiring>(&item, []).map(|last| last.firing)).transpose()
    }

    async fn record_firing(&self, schedule: &str, firing: &Firing) -> Result<bool, StoreError> {
        let update = Update::new()
            .set("v", version())
            .set("at", number(firing.at))
            .set("firing", json(firing)?)
            .set(EXPIRES_AT, expiry_from_now(RUN_DAYS))
            .only_if(Condition::Missing("at").or(Condition::AtMost("at", firing.at)));
        Ok(self.table.update(&keys::firing(schedule), &update).await?.is_ok())
    }
}
