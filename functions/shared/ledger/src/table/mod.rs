//! The operations on one table of items that the store is written with. [`dynamo`] sends them to DynamoDB; [`memory`]
//! interprets the same conditions and updates over items in memory.

pub mod dynamo;
pub mod memory;
mod write;

use std::collections::HashMap;
use std::future::Future;

pub use serde_dynamo::AttributeValue;
pub use write::{Action, Condition, Update};

use crate::records::Millis;
use crate::traits::StoreError;

/// The partition key.
pub const PK: &str = "pk";
/// The sort key.
pub const SK: &str = "sk";
/// The index of items that sweep has to check.
pub const DUE_INDEX: &str = "due";
/// The index's hash attribute: one value for entries, another for batches.
pub const DUE_SHARD: &str = "due_shard";
/// The index's range attribute: the time of the next check, in milliseconds.
pub const DUE: &str = "due";
/// The attribute of DynamoDB's TTL, in seconds.
pub const EXPIRES_AT: &str = "expires_at";

/// An item: its attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

impl Key {
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Key { pk: pk.into(), sk: sk.into() }
    }
}

/// A query of the table or of its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Items of a partition whose sort key has this prefix, ascending; strongly consistent.
    Prefix { pk: String, prefix: String },
    /// Items of a partition before this sort key, descending; strongly consistent.
    Before { pk: String, sk: Option<String> },
    /// Keys of the items of a shard that are due, the longest due first; from the index, which may lag.
    Due { shard: &'static str, now: Millis },
}

/// A page of a query or a scan.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub items: Vec<Item>,
    /// The key to start the next page after; `None` on the last page.
    pub next: Option<Item>,
}

/// One write of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    Put { item: Item, condition: Option<Condition> },
    Update { key: Key, update: Update },
}

impl Write {
    /// An unconditional put.
    pub fn put(item: Item) -> Self {
        Write::Put { item, condition: None }
    }

    /// A put under a condition on the item that it replaces.
    pub fn put_if(item: Item, condition: Condition) -> Self {
        Write::Put { item, condition: Some(condition) }
    }

    pub fn update(key: Key, update: Update) -> Self {
        Write::Update { key, update }
    }
}

/// Why a write of a cancelled transaction was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It was not: another write was.
    Passed,
    /// Its condition failed; the item as it is, where it exists and the write was an update.
    ConditionFailed(Option<Item>),
    /// Another write of the item was in progress.
    Conflict,
    Throttled,
    /// Another code of DynamoDB.
    Other(String),
}

/// A transaction that was not committed, or whose outcome is unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum TransactError {
    /// Nothing was written; a reason for each write, in order.
    Cancelled(Vec<Reason>),
    /// An earlier try of the call may have been committed.
    Failed(StoreError),
}

/// A table of items.
pub trait Table: Send + Sync {
    /// Reads an item, strongly consistent.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, StoreError>> + Send;
    /// Reads the items that exist, in any order, strongly consistent. The keys must differ.
    fn batch_get(&self, keys: Vec<Key>) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send;
    /// Reads a page of at most `limit` items.
    fn query(
        &self,
        query: &Query,
        limit: Option<u32>,
        start: Option<Item>,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;
    /// Reads a page of the whole table, strongly consistent.
    fn scan(&self, start: Option<Item>) -> impl Future<Output = Result<Page, StoreError>> + Send;
    /// Writes an item; false if the condition fails.
    fn put(&self, item: Item, condition: Option<Condition>) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Updates an item, which need not exist: the item as it is after the update, or, where the condition fails, as it
    /// is if it exists.
    fn update(
        &self,
        key: &Key,
        update: &Update,
    ) -> impl Future<Output = Result<Result<Item, Option<Item>>, StoreError>> + Send;
    /// Deletes an item; false if the condition fails.
    fn delete(&self, key: &Key, condition: Option<Condition>) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Carries out all writes or none. No two of them may concern the same item.
    fn transact(&self, writes: Vec<Write>) -> impl Future<Output = Result<(), TransactError>> + Send;
}

/// A string attribute of an item.
pub(crate) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    match item.get(name)? {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

/// A number attribute of an item.
pub(crate) fn number_of<N: std::str::FromStr>(item: &Item, name: &str) -> Option<N> {
    match item.get(name)? {
        AttributeValue::N(digits) => digits.parse().ok(),
        _ => None,
    }
}
