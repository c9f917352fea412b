//! Entries, attempts and jobs.

use std::collections::BTreeSet;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey};
use serde::Deserialize;

use super::items::{
    after, attributes, bare_item, expiring, expiry, expiry_from_now, from_item, number, text, to_item, unreadable,
    version,
};
use super::{Store, keys};
use crate::records::{AttemptRecord, Entry, Millis};
use crate::table::{Condition, DUE_SHARD, EXPIRES_AT, Item, PK, Query, SK, Table, Update, text_of};
use crate::traits::{Change, CommitError, Entries, FoundEntries, JobOwner, StoreError};

const ENTRY_DAYS: Millis = 90;
const ATTEMPT_DAYS: Millis = 60;
const JOB_DAYS: Millis = 30;
/// The value of [`DUE_SHARD`] in entries.
const SHARD: &str = "due";
/// The attribute of a provider's report on its attempt. Only [`Entries::record_report`] writes it.
pub(super) const REPORT: &str = "report";

impl<T: Table> Entries for Store<T> {
    async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, StoreError> {
        self.table.get(&keys::entry(key)).await?.as_ref().map(read_entry).transpose()
    }

    async fn entries(&self, keys: &[ContentKey]) -> Result<FoundEntries, StoreError> {
        let unique: BTreeSet<&ContentKey> = keys.iter().collect();
        let mut found = FoundEntries::default();
        for item in self.table.batch_get(unique.into_iter().map(keys::entry).collect()).await? {
            match read_entry(&item) {
                Ok(entry) => found.entries.push(entry),
                Err(error) => found.unreadable.extend(keys::content_key_of(&item).map(|key| (key, error.0))),
            }
        }
        Ok(found)
    }

    async fn repair(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        self.repair_entry(key, now).await
    }

    async fn attempt(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<AttemptRecord>, StoreError> {
        self.table.get(&keys::attempt(key, attempt)).await?.as_ref().map(read_attempt).transpose()
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.commit_change(change).await
    }

    async fn record_report(&self, key: &ContentKey, attempt: Attempt, report: &str) -> Result<(), StoreError> {
        let update = Update::new().set_if_missing(REPORT, text(report)).only_if(Condition::exists());
        self.table.update(&keys::attempt(key, attempt), &update).await.map(drop)
    }

    async fn report(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<String>, StoreError> {
        let item = self.table.get(&keys::attempt(key, attempt)).await?;
        Ok(item.and_then(|item| text_of(&item, REPORT).map(str::to_owned)))
    }

    async fn job(&self, provider: ProviderName, request_id: &str) -> Result<Option<(ContentKey, Attempt)>, StoreError> {
        let item = self.table.get(&keys::job(provider, request_id)).await?;
        let owner = item.map(|item| from_item::<Owner>(&item, [])).transpose()?;
        Ok(owner.map(|owner| (owner.owner_key, owner.owner_attempt)))
    }

    async fn entries_to_check(&self, now: Millis, limit: u32) -> Result<Vec<ContentKey>, StoreError> {
        self.first_readable(&Query::Due { shard: SHARD, now }, limit, keys::content_key_of).await
    }
}

/// The entry at the revision after the one it was read at.
pub(super) fn entry_item(entry: &Entry) -> Result<Item, StoreError> {
    let next = Entry { rev: entry.rev.saturating_add(1), ..entry.clone() };
    let mut item = to_item(keys::entry(&entry.key), &next)?;
    if entry.next_check_at.is_some() {
        item.insert(DUE_SHARD.to_owned(), text(SHARD));
    }
    let at_rest = entry.pending.is_none() && entry.next_check_at.is_none() && !entry.notify_pending;
    Ok(if at_rest { expiring(item, expiry_from_now(ENTRY_DAYS)) } else { item })
}

pub(super) fn read_entry(item: &Item) -> Result<Entry, StoreError> {
    from_item(item, [("key", text(after(item, PK, keys::ENTRY_PREFIX)?))])
}

/// An attempt as an update: its report is an attribute of the same item and stays.
pub(super) fn attempt_update(attempt: &AttemptRecord) -> Result<Update, StoreError> {
    let update = Update::new().set("v", version()).set(EXPIRES_AT, expiry(attempt.claimed_at, ATTEMPT_DAYS));
    let attributes = attributes(attempt)?;
    let update = if attempt.request_id.is_none() { update.remove("request_id") } else { update };
    Ok(attributes.into_iter().fold(update, |update, (name, value)| update.set(name, value)))
}

pub(super) fn read_attempt(item: &Item) -> Result<AttemptRecord, StoreError> {
    let key = text(after(item, PK, keys::ENTRY_PREFIX)?);
    let attempt = attempt_number(item).ok_or_else(|| unreadable(item, SK))?;
    from_item(item, [("key", key), ("attempt", number(attempt.0))])
}

/// The number in an attempt's sort key.
pub(super) fn attempt_number(item: &Item) -> Option<Attempt> {
    text_of(item, SK)?.strip_prefix(keys::ATTEMPT_PREFIX)?.parse().ok().map(Attempt)
}

pub(super) fn job_item(key: &ContentKey, job: &JobOwner) -> Item {
    let mut item = bare_item(keys::job(job.provider, &job.request_id));
    item.insert("owner_key".to_owned(), text(key.as_str()));
    item.insert("owner_attempt".to_owned(), number(job.attempt.0));
    expiring(item, expiry_from_now(JOB_DAYS))
}

/// The attempt that a job belongs to.
#[derive(Deserialize)]
struct Owner {
    owner_key: ContentKey,
    owner_attempt: Attempt,
}
