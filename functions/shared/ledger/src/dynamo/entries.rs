//! Entries, attempts and jobs in the table.

use std::collections::BTreeSet;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::expression::Expression;
use super::item::{number, text};
use super::{DUE_INDEX, DUE_SHARD_VALUE, Dynamo, Item, decode, encode, failed};
use crate::records::{AttemptRecord, Entry, Millis};
use crate::traits::{Change, CommitError, Entries, FoundEntries, StoreError};

/// The attribute of a provider's report on its attempt. Only [`Entries::record_report`] writes it.
pub(super) const REPORT: &str = "report";

impl Entries for Dynamo {
    async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, StoreError> {
        self.get(&encode::entry_pk(key), encode::ENTRY).await?.as_ref().map(decode::entry).transpose()
    }

    async fn entries(&self, keys: &[ContentKey]) -> Result<FoundEntries, StoreError> {
        let unique: BTreeSet<&ContentKey> = keys.iter().collect();
        let keys = unique.into_iter().map(|key| (encode::entry_pk(key), encode::ENTRY.to_owned())).collect();
        let mut looked = FoundEntries::default();
        for item in self.batch_get(keys).await? {
            match decode::entry(&item) {
                Ok(entry) => looked.entries.push(entry),
                // Its key was asked for, so it is one.
                Err(error) => looked.unreadable.extend(decode::entry_key(&item).map(|key| (key, error.0))),
            }
        }
        Ok(looked)
    }

    async fn repair(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        self.repair_entry(key, now).await
    }

    async fn attempt(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<AttemptRecord>, StoreError> {
        let item = self.get(&encode::entry_pk(key), &encode::attempt_sk(attempt)).await?;
        item.as_ref().map(decode::attempt).transpose()
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.transact(change).await
    }

    async fn record_report(&self, key: &ContentKey, attempt: Attempt, report: &str) -> Result<(), StoreError> {
        let write = Expression::new().set_once(REPORT, text(report)).only_if("attribute_exists(#pk)");
        self.update(&encode::entry_pk(key), &encode::attempt_sk(attempt), write).await.map(drop)
    }

    async fn report(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<String>, StoreError> {
        let item = self.get(&encode::entry_pk(key), &encode::attempt_sk(attempt)).await?;
        Ok(item.and_then(|mut item| item.remove(REPORT)?.as_s().ok().cloned()))
    }

    async fn job(&self, provider: ProviderName, request_id: &str) -> Result<Option<(ContentKey, Attempt)>, StoreError> {
        let item = self.get(&encode::job_pk(provider, request_id), encode::JOB).await?;
        item.as_ref().map(decode::job).transpose()
    }

    async fn entries_to_check(&self, now: Millis, limit: u32) -> Result<Vec<ContentKey>, StoreError> {
        // An item that has no entry's key cannot be worked on; it must not keep the others from being seen.
        self.due_of(DUE_SHARD_VALUE, now, limit, decode::entry_key).await
    }
}

impl Dynamo {
    /// What is due of a kind of rows, in order.
    pub(super) async fn due_of<T>(
        &self,
        shard: &str,
        now: Millis,
        limit: u32,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let (mut keys, mut from) = (Vec::new(), None);
        loop {
            let left = i32::try_from(limit).unwrap_or(i32::MAX).saturating_sub(i32::try_from(keys.len()).unwrap_or(0));
            if left <= 0 {
                return Ok(keys);
            }
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(DUE_INDEX)
                .key_condition_expression("due_shard = :shard AND due <= :now")
                .expression_attribute_values(":shard", text(shard))
                .expression_attribute_values(":now", number(now))
                .limit(left)
                .set_exclusive_start_key(from);
            let page = query.send().await.map_err(|error| failed("Query", &error))?;
            keys.extend(page.items.iter().flatten().filter_map(&read));
            match page.last_evaluated_key {
                Some(last) if !last.is_empty() => from = Some(last),
                _ => return Ok(keys),
            }
        }
    }
}
