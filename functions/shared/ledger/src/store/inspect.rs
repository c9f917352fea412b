//! Reads and damages of the ledger in memory that tests need besides the traits.

use fresco_pipeline::ids::{ContentKey, RunId};

use super::entries::{read_attempt, read_entry};
use super::runs::{read_run, read_step, run_item};
use super::waiters::read_waiter;
use super::{MemoryLedger, keys};
use crate::records::{AttemptRecord, Entry, RunRecord, StepRecord, Waiter};
use crate::table::{AttributeValue, Item, PK, SK, text_of};

/// The attribute that a damaged entry lacks.
const LOST: &str = "tries";

impl MemoryLedger {
    /// Every entry, by key.
    pub fn all_entries(&self) -> Vec<Entry> {
        self.all(
            |pk, sk| pk.starts_with(keys::ENTRY_PREFIX) && sk == keys::ENTRY,
            |item| read_entry(&undamaged(item)).ok(),
        )
    }

    /// Every attempt, by key and number.
    pub fn all_attempts(&self) -> Vec<AttemptRecord> {
        self.all(|_, sk| sk.starts_with(keys::ATTEMPT_PREFIX), |item| read_attempt(item).ok())
    }

    /// Every waiter with the key of its entry, by key, run and step.
    pub fn all_waiters(&self) -> Vec<(ContentKey, Waiter)> {
        let read = |item: &Item| Some((keys::content_key_of(item)?, read_waiter(item).ok()?));
        self.all(|_, sk| sk.starts_with(keys::WAITER_PREFIX), read)
    }

    /// Every run, by id.
    pub fn all_runs(&self) -> Vec<RunRecord> {
        self.all(|pk, sk| pk.starts_with(keys::RUN_PREFIX) && sk == keys::RUN, |item| read_run(item).ok())
    }

    /// Every step of every run, by run and name.
    pub fn all_steps(&self) -> Vec<StepRecord> {
        self.all(|_, sk| sk.starts_with(keys::STEP_PREFIX), |item| read_step(item).ok())
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
            item.insert(LOST.to_uppercase(), lost);
            self.table().insert(item);
        }
    }

    fn all<R>(&self, is: impl Fn(&str, &str) -> bool, read: impl Fn(&Item) -> Option<R>) -> Vec<R> {
        let key = |item: &Item, name| text_of(item, name).unwrap_or_default().to_owned();
        let items = self.table().items();
        items.iter().filter(|item| is(&key(item, PK), &key(item, SK))).filter_map(read).collect()
    }
}

/// The item as it was before it was damaged.
fn undamaged(item: &Item) -> Item {
    let mut item = item.clone();
    let lost: Option<AttributeValue> = item.remove(&LOST.to_uppercase());
    item.extend(lost.map(|lost| (LOST.to_owned(), lost)));
    item
}
