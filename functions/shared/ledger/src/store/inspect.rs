//! Reads and damages of the ledger in memory that tests need besides the traits.

use std::borrow::Cow;

use fresco_pipeline::ids::{ContentKey, RunId};

use super::entries::{read_attempt, read_entry};
use super::runs::{read_run, read_step, run_item};
use super::waiters::read_waiter;
use super::{MemoryLedger, keys};
use crate::records::{AttemptRecord, Entry, Millis, RunRecord, StepRecord, Waiter};
use crate::table::{DUE, DUE_SHARD, Item, Key, number_of};

/// The attribute that a damaged entry lacks.
const LOST: &str = "tries";
/// The name under which a damaged entry keeps it.
const DAMAGED: &str = "TRIES";

impl MemoryLedger {
    /// Every entry, by key.
    pub fn all_entries(&self) -> Vec<Entry> {
        let is = |key: &Key| key.sk == keys::ENTRY && key.pk.starts_with(keys::ENTRY_PREFIX);
        self.table().select(is, |item| read_entry(&undamaged(item)).ok())
    }

    /// Every attempt, by key and number.
    pub fn all_attempts(&self) -> Vec<AttemptRecord> {
        self.table().select(|key| key.sk.starts_with(keys::ATTEMPT_PREFIX), |item| read_attempt(item).ok())
    }

    /// Every waiter with the key of its entry, by key, run and step.
    pub fn all_waiters(&self) -> Vec<(ContentKey, Waiter)> {
        let read = |item: &Item| Some((keys::content_key_of(item)?, read_waiter(item).ok()?));
        self.table().select(|key| key.sk.starts_with(keys::WAITER_PREFIX), read)
    }

    /// Every run, by id.
    pub fn all_runs(&self) -> Vec<RunRecord> {
        let is = |key: &Key| key.sk == keys::RUN && key.pk.starts_with(keys::RUN_PREFIX);
        self.table().select(is, |item| read_run(item).ok())
    }

    /// The times at which the sweep checks the runs that have not ended.
    pub fn all_run_checks(&self) -> Vec<Millis> {
        let is = |key: &Key| key.sk == keys::RUN && key.pk.starts_with(keys::RUN_PREFIX);
        self.table().select(is, |item| item.contains_key(DUE_SHARD).then(|| number_of(item, DUE)).flatten())
    }

    /// Every step of every run, by run and name.
    pub fn all_steps(&self) -> Vec<StepRecord> {
        self.table().select(|key| key.sk.starts_with(keys::STEP_PREFIX), |item| read_step(item).ok())
    }

    /// Writes a run, replacing any other of this id. It is not listed.
    pub fn put_run(&self, run: &RunRecord) {
        if let Ok(item) = run_item(run) {
            self.table().insert(item);
        }
    }

    /// Removes a run, as its expiry does. Its steps stay.
    pub fn remove_run(&self, id: &RunId) {
        self.table().remove(&keys::run(id));
    }

    /// An entry as it was last written, whether or not it is damaged.
    pub fn stored_entry(&self, key: &ContentKey) -> Option<Entry> {
        read_entry(&undamaged(&self.table().item(&keys::entry(key))?)).ok()
    }

    /// Makes an entry unreadable, until it is repaired or written.
    pub fn damage_entry(&self, key: &ContentKey) {
        let Some(mut item) = self.table().item(&keys::entry(key)) else { return };
        if let Some(lost) = item.remove(LOST) {
            item.insert(DAMAGED.to_owned(), lost);
            self.table().insert(item);
        }
    }
}

/// The item as it was before it was damaged.
fn undamaged(item: &Item) -> Cow<'_, Item> {
    let Some(lost) = item.get(DAMAGED) else { return Cow::Borrowed(item) };
    let mut whole = item.clone();
    whole.insert(LOST.to_owned(), lost.clone());
    Cow::Owned(whole)
}
