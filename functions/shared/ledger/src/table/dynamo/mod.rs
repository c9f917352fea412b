//! The table in DynamoDB: the only place that builds expressions and calls the SDK.

mod batch_get;
mod expression;
mod transact;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue as SdkValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fresco_pipeline::error::{ErrorName, Failure};

use self::expression::Expression;
use super::{Condition, DUE_INDEX, Item, Key, PK, Page, Query, SK, Table, TransactError, Update, Write};
use crate::clock::SystemClock;
use crate::contention::Contention;
use crate::sdk::{SdkError, code, describe};
use crate::traits::StoreError;

/// A table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoTable {
    client: Client,
    name: String,
}

impl DynamoTable {
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        DynamoTable { client, name: name.into() }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Table for DynamoTable {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.name).consistent_read(true);
        match get.set_key(Some(key_attributes(key))).send().await {
            Ok(answer) => Ok(answer.item.map(local)),
            Err(error) => Err(failed("GetItem", &error)),
        }
    }

    async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        self.get_many(&keys).await
    }

    async fn query(&self, query: &Query, limit: Option<u32>, start: Option<Item>) -> Result<Page, StoreError> {
        let request = self.client.query().table_name(&self.name).set_exclusive_start_key(start.map(remote));
        let request = request.set_limit(limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)));
        let request = match query {
            Query::Prefix { pk, prefix } => request
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND begins_with(sk, :begins)")
                .expression_attribute_values(":pk", text(pk))
                .expression_attribute_values(":begins", text(prefix)),
            Query::Before { pk, sk: None } => request
                .consistent_read(true)
                .scan_index_forward(false)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(pk)),
            Query::Before { pk, sk: Some(sk) } => request
                .consistent_read(true)
                .scan_index_forward(false)
                .key_condition_expression("pk = :pk AND sk < :place")
                .expression_attribute_values(":pk", text(pk))
                .expression_attribute_values(":place", text(sk)),
            Query::Due { shard, now } => request
                .index_name(DUE_INDEX)
                .key_condition_expression("due_shard = :shard AND due <= :now")
                .expression_attribute_values(":shard", text(shard))
                .expression_attribute_values(":now", SdkValue::N(now.to_string())),
        };
        let page = request.send().await.map_err(|error| failed("Query", &error))?;
        Ok(page_of(page.items, page.last_evaluated_key))
    }

    async fn scan(&self, start: Option<Item>) -> Result<Page, StoreError> {
        let scan = self.client.scan().table_name(&self.name).consistent_read(true);
        let page = scan.set_exclusive_start_key(start.map(remote)).send().await;
        let page = page.map_err(|error| failed("Scan", &error))?;
        Ok(page_of(page.items, page.last_evaluated_key))
    }

    async fn put(&self, item: Item, condition: Option<Condition>) -> Result<bool, StoreError> {
        let guard = Expression::condition(condition.as_ref());
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(remote(item)))
            .set_expression_attribute_names(guard.names())
            .set_expression_attribute_values(guard.values())
            .set_condition_expression(guard.condition);
        match uncontended(|| put.clone().send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|why| why.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(failed("PutItem", &error)),
        }
    }

    async fn update(&self, key: &Key, update: &Update) -> Result<Result<Item, Option<Item>>, StoreError> {
        let write = Expression::update(update);
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_attributes(key)))
            .set_expression_attribute_names(write.names())
            .set_expression_attribute_values(write.values())
            .set_update_expression(write.update)
            .set_condition_expression(write.condition)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match uncontended(|| update.clone().send()).await {
            Ok(answer) => Ok(Ok(answer.attributes.map(local).unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Err(refused.item().filter(|item| !item.is_empty()).cloned().map(local)))
                }
                _ => Err(failed("UpdateItem", &error)),
            },
        }
    }

    async fn delete(&self, key: &Key, condition: Option<Condition>) -> Result<bool, StoreError> {
        let guard = Expression::condition(condition.as_ref());
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key_attributes(key)))
            .set_expression_attribute_names(guard.names())
            .set_expression_attribute_values(guard.values())
            .set_condition_expression(guard.condition);
        match uncontended(|| delete.clone().send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|why| why.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(failed("DeleteItem", &error)),
        }
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TransactError> {
        self.transaction(writes).await
    }
}

/// Sends a plain write, and again after a pause while a transaction holds its item. The SDK takes that for a final error.
async fn uncontended<O, E: ProvideErrorMetadata, F>(send: impl Fn() -> F) -> Result<O, SdkError<E>>
where
    F: Future<Output = Result<O, SdkError<E>>>,
{
    let mut contention = Contention::new(&SystemClock);
    loop {
        match send().await {
            Err(error) if code(&error) == Some("TransactionConflictException") => {
                if !contention.pause().await {
                    return Err(error);
                }
            }
            answer => return answer,
        }
    }
}

fn page_of(items: Option<Vec<HashMap<String, SdkValue>>>, last: Option<HashMap<String, SdkValue>>) -> Page {
    Page {
        items: items.unwrap_or_default().into_iter().map(local).collect(),
        next: last.filter(|last| !last.is_empty()).map(local),
    }
}

fn local(item: HashMap<String, SdkValue>) -> Item {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn remote(item: Item) -> HashMap<String, SdkValue> {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn key_attributes(key: &Key) -> HashMap<String, SdkValue> {
    HashMap::from([(PK.to_owned(), text(&key.pk)), (SK.to_owned(), text(&key.sk))])
}

fn text(text: &str) -> SdkValue {
    SdkValue::S(text.to_owned())
}

/// The failure of an operation on the table.
fn failed<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E>) -> StoreError {
    StoreError::ledger(describe(&format!("DynamoDB {operation}"), error))
}

/// The failure of a request that cannot be built. A retry does not help.
fn unbuilt(error: BuildError) -> StoreError {
    StoreError(Failure::new(ErrorName::Internal, format!("DynamoDB: a request could not be built: {error}")))
}
