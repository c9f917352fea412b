//! Many items by their keys: 100 a call, and the keys that DynamoDB did not process again.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::{StreamExt, TryStreamExt, stream};

use super::{DynamoTable, failed, key_attributes, unbuilt};
use crate::table::{Item, Key};
use crate::traits::StoreError;

/// The most keys of a BatchGetItem.
const KEYS: usize = 100;
const CONCURRENT_CALLS: usize = 4;
/// Calls for the keys of one, before it fails: about six seconds.
const ROUNDS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(25);

type SdkItem = std::collections::HashMap<String, AttributeValue>;

impl DynamoTable {
    pub(super) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<SdkItem> = keys.iter().map(key_attributes).collect();
        let chunks: Vec<Vec<SdkItem>> = keys.chunks(KEYS).map(<[SdkItem]>::to_vec).collect();
        let calls = stream::iter(chunks).map(|chunk| self.get_chunk(chunk)).buffer_unordered(CONCURRENT_CALLS);
        calls.try_concat().await
    }

    async fn get_chunk(&self, mut keys: Vec<SdkItem>) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(FIRST_PAUSE * 2u32.pow(round - 1)).await;
            }
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let get = self.client.batch_get_item().request_items(&self.name, wanted.map_err(unbuilt)?);
            let answer = get.send().await.map_err(|error| failed("BatchGetItem", &error))?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, found)| found).map(super::local));
            keys = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, rest)| rest.keys).collect();
            if keys.is_empty() {
                return Ok(items);
            }
        }
        Err(StoreError::ledger(format!("DynamoDB BatchGetItem: {} keys were not processed", keys.len())))
    }
}
