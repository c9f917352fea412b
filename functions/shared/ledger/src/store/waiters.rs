//! Waiters: each is an item in its entry's partition, so that one query finds them all.

use fresco_pipeline::ids::{Attempt, ContentKey};

use super::items::{after, expiry, from_item, number, text, unreadable, version};
use super::{Store, keys};
use crate::records::{Millis, StepId, Waiter};
use crate::table::{AttributeValue, Condition, EXPIRES_AT, Item, SK, Table, Update};
use crate::traits::{StoreError, Wait, Waiters};

const WAITER_DAYS: Millis = 14;

impl<T: Table> Waiters for Store<T> {
    async fn put_waiter(&self, key: &ContentKey, wait: &Wait) -> Result<Waiter, StoreError> {
        let update = Update::new()
            .set("v", version())
            .set("token", text(&wait.token))
            .set("timeout_ms", number(wait.timeout_ms))
            .set_if_missing("joined", number(Attempt::NONE.0))
            .set_if_missing("base", number(wait.base.0))
            .set_if_missing("since", number(wait.now))
            .set(EXPIRES_AT, expiry(wait.now, WAITER_DAYS));
        match self.table.update(&keys::waiter(key, &wait.step_id), &update).await? {
            Ok(item) => read_waiter(&item),
            Err(_) => Err(StoreError::ledger("an unconditional update was refused")),
        }
    }

    async fn record_join(&self, key: &ContentKey, step_id: &StepId, attempt: Attempt) -> Result<(), StoreError> {
        let update =
            Update::new().set("joined", number(attempt.0)).remove("running_since").only_if(Condition::exists());
        self.table.update(&keys::waiter(key, step_id), &update).await.map(drop)
    }

    async fn record_running(&self, key: &ContentKey, step_id: &StepId, now: Millis) -> Result<(), StoreError> {
        let update = Update::new().set_if_missing("running_since", number(now)).only_if(Condition::exists());
        self.table.update(&keys::waiter(key, step_id), &update).await.map(drop)
    }

    async fn waiters(&self, key: &ContentKey) -> Result<Vec<Waiter>, StoreError> {
        let items = self.all_of(keys::entry_pk(key), keys::WAITER_PREFIX).await?;
        let mut waiters = Vec::with_capacity(items.len());
        for item in &items {
            match read_waiter(item) {
                Ok(waiter) => waiters.push(waiter),
                // It must not keep the others from being notified. Its step's next nudge writes the missing part.
                Err(error) if error.is_unreadable() => {
                    tracing::error!(entry.key = %key, error.name = %error.0.name, error.message = error.0.message, "waiter not read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(waiters)
    }

    async fn delete_waiter(&self, key: &ContentKey, step_id: &StepId) -> Result<(), StoreError> {
        self.table.delete(&keys::waiter(key, step_id), None).await.map(drop)
    }

    async fn delete_waiter_if(&self, key: &ContentKey, step_id: &StepId, token: &str) -> Result<bool, StoreError> {
        let same = Condition::Equals("token", text(token));
        self.table.delete(&keys::waiter(key, step_id), Some(same)).await
    }
}

pub(super) fn read_waiter(item: &Item) -> Result<Waiter, StoreError> {
    let (run, step) = after(item, SK, keys::WAITER_PREFIX)?.split_once('#').ok_or_else(|| unreadable(item, SK))?;
    let step_id = Item::from([("run".to_owned(), text(run)), ("step".to_owned(), text(step))]);
    from_item(item, [("step_id", AttributeValue::M(step_id))])
}
