//! Transactions. One has its client request token before the first try and keeps it over the SDK's retries, so that a
//! retry after a lost reply is answered as the first try was, and never conflicts with its own write.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update as SdkUpdate,
};

use super::expression::Expression;
use super::{DynamoTable, failed, key_attributes, local, remote, unbuilt};
use crate::sdk::request_token;
use crate::table::{Reason, TransactError, Write};
use crate::traits::StoreError;

impl DynamoTable {
    /// Sends a transaction with a token of its own. Every transaction begins here.
    #[expect(clippy::disallowed_methods, reason = "here it is given its token")]
    pub(super) async fn transaction(&self, writes: Vec<Write>) -> Result<(), TransactError> {
        let items: Result<Vec<TransactWriteItem>, StoreError> =
            writes.into_iter().map(|write| self.transact_item(write)).collect();
        let token = request_token().map_err(TransactError::Failed)?;
        let write = self.client.transact_write_items().client_request_token(token);
        match write.set_transact_items(Some(items.map_err(TransactError::Failed)?)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    TransactError::Cancelled(cancelled.cancellation_reasons().iter().map(reason).collect())
                }
                _ => TransactError::Failed(failed("TransactWriteItems", &error)),
            }),
        }
    }

    fn transact_item(&self, write: Write) -> Result<TransactWriteItem, StoreError> {
        let item = TransactWriteItem::builder();
        Ok(match write {
            Write::Put { item: put, condition } => {
                let guard = Expression::condition(condition.as_ref());
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(remote(put)))
                    .set_expression_attribute_names(guard.names())
                    .set_expression_attribute_values(guard.values())
                    .set_condition_expression(guard.condition);
                item.put(put.build().map_err(unbuilt)?)
            }
            Write::Update { key, update } => {
                let write = Expression::update(&update);
                let update = SdkUpdate::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_attributes(&key)))
                    .set_expression_attribute_names(write.names())
                    .set_expression_attribute_values(write.values())
                    .set_update_expression(write.update)
                    .set_condition_expression(write.condition)
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
                item.update(update.build().map_err(unbuilt)?)
            }
        }
        .build())
    }
}

fn reason(reason: &CancellationReason) -> Reason {
    match reason.code() {
        None | Some("None") => Reason::Passed,
        Some("ConditionalCheckFailed") => {
            Reason::ConditionFailed(reason.item().filter(|item| !item.is_empty()).cloned().map(local))
        }
        Some("TransactionConflict") => Reason::Conflict,
        Some("ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded") => Reason::Throttled,
        Some(code) => Reason::Other(code.to_owned()),
    }
}
