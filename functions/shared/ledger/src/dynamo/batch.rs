//! Many items by their keys: 100 a call, and again what DynamoDB did not process.

use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures::{StreamExt, TryStreamExt, stream};

use super::commit::unbuilt;
use super::item::text;
use super::{Dynamo, Item, PK, SK, failed};
use crate::traits::StoreError;

/// What one BatchGetItem takes.
const KEYS: usize = 100;
/// How many calls go side by side.
const CALLS: usize = 4;
/// How often unprocessed keys are asked for again before the call gives up: about six seconds.
const ROUNDS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(25);

impl Dynamo {
    /// Those of the items that are there, in any order. The keys must differ.
    pub(super) async fn batch_get(&self, keys: Vec<(String, String)>) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<Item> = keys
            .into_iter()
            .map(|(pk, sk)| Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))]))
            .collect();
        let chunks: Vec<Vec<Item>> = keys.chunks(KEYS).map(<[Item]>::to_vec).collect();
        let calls = stream::iter(chunks).map(|chunk| self.get_chunk(chunk)).buffer_unordered(CALLS);
        calls.try_concat().await
    }

    async fn get_chunk(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(FIRST_PAUSE * 2u32.pow(round - 1)).await;
            }
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let get = self.client.batch_get_item().request_items(&self.table, wanted.map_err(unbuilt)?);
            let answer = get.send().await.map_err(|error| failed("BatchGetItem", &error))?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, found)| found));
            keys = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, rest)| rest.keys).collect();
            if keys.is_empty() {
                return Ok(items);
            }
        }
        Err(StoreError::ledger(format!("DynamoDB BatchGetItem: {} keys were not processed", keys.len())))
    }
}
