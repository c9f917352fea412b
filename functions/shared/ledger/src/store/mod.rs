//! The ledger's records in one table: item forms, keys and conditions, once, over any [`Table`]. An attribute that a
//! condition or an update needs stands by itself; a nested value is one JSON string. Every read is strongly consistent but
//! those of the index.
//!
//! | record | pk | sk | expires after |
//! |---|---|---|---|
//! | entry | `K#<key>` | `E` | 90 days without a write; never while an attempt is pending or sweep has to check it |
//! | attempt | `K#<key>` | `A#<n, six digits>` | 60 days after the claim: always before its entry, so that numbers that begin again at 1 never meet an old report |
//! | waiter | `K#<key>` | `W#<run>#<step>` | 14 days after its last try |
//! | job | `J#<provider>#<request id>` | `J` | 30 days |
//! | run | `R#<run>` | `R` | 90 days after it was created |
//! | step | `R#<run>` | `S#<step>` | 90 days after it was planned |
//! | list of runs | `L#<yyyy-mm>` | `<created_at, 15 digits>#<run>` | 90 days after the run was created |
//! | list of chunks' runs | `LC#<yyyy-mm>` | likewise | likewise |
//! | batch | `B#<batch>` | `B` | 90 days after it was created |
//! | list of batches | `LB#<yyyy-mm>` | `<created_at, 15 digits>#<batch>` | likewise |
//! | last firing of a schedule | `T#<SHA-256 of its key>` | `T` | 90 days after it was recorded |
//! | last run of a pipeline | `P#<SHA-256 of its name>` | `P` | 90 days after it was planned |
//! | unreadable entry, put aside | `K#<key>` | `X#<time>` | 90 days after that |
//! | usage of the bucket | `U` | `U` | never |
//! | key that links are signed with | `V` | `V` | never |
//!
//! `<step>` is the text of a [`StepRef`](fresco_pipeline::ids::StepRef): `image`, or `7-image` of row 7 in the run of a chunk.
//!
//! The index `due` (hash `due_shard`, range `due`, keys only) holds the entries, the batches and the runs that sweep has to
//! check, each under a value of its own; no other item carries the two attributes. Expiry is DynamoDB's TTL on `expires_at`; an
//! item that is past it and still exists is used like any other.

mod batches;
mod commit;
mod entries;
mod everything;
mod firings;
mod inspect;
mod items;
mod keys;
mod lists;
mod repair;
mod runs;
mod signing_key;
mod usage;
mod waiters;

pub use everything::Everything;

use crate::records::Millis;
use crate::table::dynamo::DynamoTable;
use crate::table::memory::MemoryTable;
use crate::table::{Item, Key, Query, Table};
use crate::traits::StoreError;

/// How long records of runs, batches and firings are kept.
const RUN_DAYS: Millis = 90;

/// The ledger in a table.
#[derive(Debug, Clone, Default)]
pub struct Store<T> {
    table: T,
}

/// The ledger in DynamoDB.
pub type DynamoLedger = Store<DynamoTable>;

/// The ledger in memory. Clones share their records.
pub type MemoryLedger = Store<MemoryTable>;

impl<T: Table> Store<T> {
    pub fn new(table: T) -> Self {
        Store { table }
    }

    pub fn table(&self) -> &T {
        &self.table
    }

    /// Opens the connection to the table by reading an item that does not exist.
    pub(crate) async fn warm(&self) {
        let _ = self.table.get(&Key::new("warm", "warm")).await;
    }

    /// Every item of a partition whose sort key has this prefix.
    async fn all_of(&self, pk: String, prefix: &str) -> Result<Vec<Item>, StoreError> {
        let query = Query::Prefix { pk, prefix: prefix.to_owned() };
        let (mut items, mut start) = (Vec::new(), None);
        loop {
            let page = self.table.query(&query, None, start).await?;
            items.extend(page.items);
            start = page.next;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// What `read` makes of the first items of a query, until there are `limit`. An item that cannot be read does not
    /// hide the items after it.
    async fn first_readable<R>(
        &self,
        query: &Query,
        limit: u32,
        read: impl Fn(&Item) -> Option<R>,
    ) -> Result<Vec<R>, StoreError> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if left == 0 {
                return Ok(found);
            }
            let page = self.table.query(query, Some(left), start).await?;
            found.extend(page.items.iter().filter_map(&read));
            start = page.next;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}
