//! The last firing of each schedule: an item of its own, under the hash of the schedule's key, which is a text of the user's.

use fresco_pipeline::ids::ContentKey;

use super::expression::Expression;
use super::item::{Reader, VERSION, json, number};
use super::{Dynamo, EXPIRES_AT, encode};
use crate::traits::{Firing, Firings, StoreError};

const FIRING: &str = "T";

fn firing_pk(schedule: &str) -> String {
    format!("T#{}", ContentKey::digest(schedule.as_bytes()))
}

impl Firings for Dynamo {
    async fn last_firing(&self, schedule: &str) -> Result<Option<Firing>, StoreError> {
        let item = self.get(&firing_pk(schedule), FIRING).await?;
        item.as_ref().map(|item| Reader::new(item)?.json("firing")).transpose()
    }

    async fn record_firing(&self, schedule: &str, firing: &Firing) -> Result<bool, StoreError> {
        let write = Expression::new()
            .set("v", number(VERSION))
            .set("at", number(firing.at))
            .set("firing", json(firing)?)
            .set(EXPIRES_AT, encode::run_expiry())
            .only_if("attribute_not_exists(#at) OR #at <= :at");
        Ok(self.update(&firing_pk(schedule), FIRING, write).await?.is_some())
    }
}
