//! The ledger in one DynamoDB table. What a condition or an update needs is an attribute of its own; everything nested is
//! one JSON string, so that there is one way of decoding it. Every read is strongly consistent but those of the index.
//!
//! | row | pk | sk | expires after |
//! |---|---|---|---|
//! | entry | `K#<key>` | `E` | 90 days without a write; never while an attempt is pending or sweep has to look at it |
//! | attempt | `K#<key>` | `A#<n, six digits>` | 60 days after the claim: always before its entry, so that numbers that begin again at 1 never meet an old report |
//! | waiter | `K#<key>` | `W#<run>#<step>` | 14 days after its last try |
//! | job | `J#<provider>#<request id>` | `J` | 30 days |
//! | run | `R#<run>` | `R` | 90 days after it was written |
//! | step | `R#<run>` | `S#<step>` | 90 days after it was planned |
//! | list of runs | `L#<yyyy-mm>` | `<created_at, 15 digits>#<run>` | 90 days after the run was written |
//! | list of chunks' runs | `LC#<yyyy-mm>` | likewise | likewise |
//! | batch | `B#<batch>` | `B` | 90 days after it was written |
//! | list of batches | `LB#<yyyy-mm>` | `<created_at, 15 digits>#<batch>` | likewise |
//! | last firing of a schedule | `T#<SHA-256 of its key>` | `T` | 90 days after it was noted |
//! | last run of a pipeline | `P#<SHA-256 of its name>` | `P` | 90 days after it was planned |
//! | an entry that could not be read | `K#<key>` | `X#<when it was put aside>` | 90 days after that |
//! | what the bucket holds | `U` | `U` | never |
//! | the secret that links are signed with | `V` | `V` | never |
//!
//! The index `due` (hash `due_shard`, range `due`, keys only) holds the entries and the batches that sweep has to look at, each
//! kind under a value of its own: no other item carries the two attributes. Expiry is DynamoDB's TTL on `expires_at`, in seconds; an item that is past it
//! and still there is used as if it were not.

mod batch;
mod batches;
mod commit;
mod decode;
mod encode;
mod entries;
mod expression;
mod firings;
mod item;
mod repair;
mod runs;
mod steps;
mod storage;
mod survey;
mod waiters;

pub use survey::Everything;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fresco_pipeline::error::{ErrorName, Failure};

use crate::aws::{SdkError, describe};
use crate::clock::SystemClock;
use crate::records::Millis;
use crate::traits::{Clock, StoreError};

/// The partition key.
pub const PK: &str = "pk";
/// The sort key.
pub const SK: &str = "sk";
/// The index of due entries.
pub const DUE_INDEX: &str = "due";
/// The index's hash attribute: [`DUE_SHARD_VALUE`], or that of batches.
pub const DUE_SHARD: &str = "due_shard";
/// The value of [`DUE_SHARD`] in every entry that is due.
pub const DUE_SHARD_VALUE: &str = "due";
/// The index's range attribute: when the entry is due, in milliseconds.
pub const DUE: &str = "due";
/// The attribute of DynamoDB's TTL.
pub const EXPIRES_AT: &str = "expires_at";

const DAY: Millis = 86_400_000;

type Item = std::collections::HashMap<String, AttributeValue>;

/// The ledger's table.
#[derive(Debug, Clone)]
pub struct Dynamo {
    client: Client,
    table: String,
}

impl Dynamo {
    /// This table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Dynamo { client, table: table.into() }
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// See [`crate::aws::Aws::warm`].
    pub(crate) async fn warm(&self) {
        let _ = self.get("warm", "warm").await;
    }

    async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        match get.key(PK, item::text(pk)).key(SK, item::text(sk)).send().await {
            Ok(answer) => Ok(answer.item),
            Err(error) => Err(failed("GetItem", &error)),
        }
    }

    /// Every item under `pk` whose sort key begins so.
    async fn query(&self, pk: &str, begins: &str) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND begins_with(sk, :begins)")
                .expression_attribute_values(":pk", item::text(pk))
                .expression_attribute_values(":begins", item::text(begins))
                .set_exclusive_start_key(from);
            let page = query.send().await.map_err(|error| failed("Query", &error))?;
            items.extend(page.items.unwrap_or_default());
            match page.last_evaluated_key {
                Some(last) if !last.is_empty() => from = Some(last),
                _ => return Ok(items),
            }
        }
    }
}

/// The failure of an operation on the table.
fn failed<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E>) -> StoreError {
    StoreError::ledger(describe(&format!("DynamoDB {operation}"), error))
}

/// The failure of a row that cannot be written. Trying again does not help.
fn unwritable(message: impl Into<String>) -> StoreError {
    StoreError(Failure::new(ErrorName::Internal, message))
}

/// An `expires_at` so many days after a time, in seconds.
fn expiry(from: Millis, days: Millis) -> AttributeValue {
    item::number(from.saturating_add(days * DAY) / 1000)
}

/// The time from which something written now expires. Only for expiry: what the ledger decides comes with the time it was
/// decided at.
fn written_at() -> Millis {
    SystemClock.now()
}
