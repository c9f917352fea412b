//! Waiters in the table. Each is an item under its entry's partition, so that one query finds them all.

use fresco_pipeline::ids::{Attempt, ContentKey};

use super::expression::Expression;
use super::item::{VERSION, number, text};
use super::{Dynamo, EXPIRES_AT, PK, SK, decode, encode, expiry, failed};
use crate::records::{Millis, StepId, Waiter};
use crate::traits::{StoreError, Wait, Waiters};

const WAITER_DAYS: Millis = 14;

impl Waiters for Dynamo {
    async fn put_waiter(&self, key: &ContentKey, wait: &Wait) -> Result<Waiter, StoreError> {
        let write = Expression::new()
            .set("v", number(VERSION))
            .set("token", text(&wait.token))
            .set("timeout_ms", number(wait.timeout_ms))
            .set_once("joined", number(Attempt::NONE.0))
            .set_once("base", number(wait.base.0))
            .set_once("since", number(wait.now))
            .set(EXPIRES_AT, expiry(wait.now, WAITER_DAYS));
        let item = self.update(&encode::entry_pk(key), &encode::waiter_sk(&wait.step_id), write).await?;
        decode::waiter(&item.ok_or_else(|| StoreError::ledger("DynamoDB UpdateItem: an answer without the item"))?)
    }

    async fn record_join(&self, key: &ContentKey, step_id: &StepId, attempt: Attempt) -> Result<(), StoreError> {
        let write = Expression::new().set("joined", number(attempt.0)).only_if("attribute_exists(#pk)");
        self.update(&encode::entry_pk(key), &encode::waiter_sk(step_id), write).await.map(drop)
    }

    async fn record_running(&self, key: &ContentKey, step_id: &StepId, now: Millis) -> Result<(), StoreError> {
        let write = Expression::new().set_once("running_since", number(now)).only_if("attribute_exists(#pk)");
        self.update(&encode::entry_pk(key), &encode::waiter_sk(step_id), write).await.map(drop)
    }

    async fn waiters(&self, key: &ContentKey) -> Result<Vec<Waiter>, StoreError> {
        let items = self.query(&encode::entry_pk(key), encode::WAITER_PREFIX).await?;
        let read = items.iter().filter_map(|item| match decode::waiter(item) {
            Ok(waiter) => Some(waiter),
            // One that cannot be read must not keep the others from being told. Its step's next nudge writes what is missing.
            Err(error) => {
                tracing::error!(entry.key = %key, error.name = %error.0.name, error.message = error.0.message, "waiter not read");
                None
            }
        });
        Ok(read.collect())
    }

    async fn delete_waiter(&self, key: &ContentKey, step_id: &StepId) -> Result<(), StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(PK, text(encode::entry_pk(key)))
            .key(SK, text(encode::waiter_sk(step_id)));
        delete.send().await.map(drop).map_err(|error| failed("DeleteItem", &error))
    }

    async fn delete_waiter_if(&self, key: &ContentKey, step_id: &StepId, token: &str) -> Result<bool, StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(PK, text(encode::entry_pk(key)))
            .key(SK, text(encode::waiter_sk(step_id)))
            .condition_expression("#token = :token")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(token));
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|reason| reason.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed("DeleteItem", &error)),
        }
    }
}
