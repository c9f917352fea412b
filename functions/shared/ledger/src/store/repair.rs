//! Repair of an entry that cannot be read. The repaired entry is decided in `transition`; here as much as possible of it
//! is read, and it is written only if it is still as it was.

use fresco_pipeline::ids::{Attempt, ContentKey};

use super::commit::budget_writes;
use super::entries::{REPORT, attempt_number, entry_item, read_attempt, read_entry};
use super::items::{LAYOUT, expiring, expiry, json, text};
use super::waiters::read_waiter;
use super::{Store, keys};
use crate::records::{Hold, HoldState, Millis};
use crate::table::{Condition, DUE_SHARD, Item, Key, SK, Table, TransactError, Update, Write, number_of, text_of};
use crate::traits::{BudgetChange, Runs, StoreError};
use crate::transition::{ReadableAttempt, ReadableParts, repair};

/// How long an entry that was put aside is kept.
const ASIDE_DAYS: Millis = 90;
/// The attribute of an attempt's money.
const HOLD: &str = "hold";

impl<T: Table> Store<T> {
    pub(super) async fn repair_entry(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        let Some(item) = self.table.get(&keys::entry(key)).await? else { return Ok(()) };
        let entry = readable(read_entry(&item))?;
        let attempts = self.all_of(keys::entry_pk(key), keys::ATTEMPT_PREFIX).await?;
        let waiters = self.all_of(keys::entry_pk(key), keys::WAITER_PREFIX).await?;
        let (mut known, mut waiting) = (Vec::new(), Vec::new());
        for item in &attempts {
            let (record, reported) = (readable(read_attempt(item))?, item.contains_key(REPORT));
            known.extend(attempt_number(item).map(|attempt| ReadableAttempt { attempt, record, reported }));
        }
        for item in &waiters {
            waiting.extend(readable(read_waiter(item))?);
        }
        let parts = ReadableParts {
            entry: entry.as_ref(),
            rev: number_of(&item, "rev").unwrap_or(0),
            last: number_of(&item, "last").map(Attempt),
            attempts: known,
            waiters: waiting,
        };
        let Some(entry) = repair(key, &parts, now) else { return Ok(()) };
        // Every write of an entry changes one of the two.
        let unchanged = ["rev", LAYOUT].map(|name| Condition::unchanged(name, item.get(name)));
        let mut writes =
            vec![Write::put_if(entry_item(&entry)?, Condition::All(unchanged.into())), Write::put(aside(item, now))];
        writes.extend(self.settle_unreadable(key, &attempts).await?);
        match self.table.transact(writes).await {
            // Where it is cancelled, another caller was quicker; the entry is read again.
            Ok(()) | Err(TransactError::Cancelled(_)) => Ok(()),
            Err(TransactError::Failed(error)) => Err(error),
        }
    }

    /// Ends the holds of attempts that cannot be read as spent: the jobs may have been accepted, and are not polled again.
    async fn settle_unreadable(&self, key: &ContentKey, attempts: &[Item]) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::new();
        for item in attempts.iter().filter(|item| read_attempt(item).is_err()) {
            let (Some(raw), Some(sk)) = (text_of(item, HOLD), text_of(item, SK)) else { continue };
            let Ok(Hold { run, amount, state: HoldState::Held }) = serde_json::from_str::<Hold>(raw) else { continue };
            let spent = Hold { run: run.clone(), amount, state: HoldState::Settled(amount) };
            // As it was read, so that it ends once.
            let update = Update::new().set(HOLD, json(&spent)?).only_if(Condition::Equals(HOLD, text(raw)));
            writes.push(Write::update(Key::new(keys::entry_pk(key), sk), update));
            // A run's record that has expired has no budget.
            if let Some(record) = self.run(&run).await? {
                let change = BudgetChange::Settle { run, held: amount, spent: amount };
                writes.extend(budget_writes(&change, Some(&record).filter(|record| record.counted))?);
            }
        }
        Ok(writes)
    }
}

/// The record, or `None` where it is damaged. One that a newer version wrote is an error: nothing is repaired then.
fn readable<R>(read: Result<R, StoreError>) -> Result<Option<R>, StoreError> {
    match read {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.is_unreadable() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The unreadable item as it was, out of the index.
fn aside(mut item: Item, now: Millis) -> Item {
    item.insert(SK.to_owned(), text(keys::aside(now)));
    item.remove(DUE_SHARD);
    expiring(item, expiry(now, ASIDE_DAYS))
}

#[cfg(test)]
mod tests {
    use super::super::MemoryLedger;
    use super::super::items::number;
    use crate::contract::sample;
    use crate::records::Entry;
    use crate::table::{Item, SK, text_of};
    use crate::traits::{Change, Entries, Waiters};
    use fresco_pipeline::error::ErrorName;
    use fresco_pipeline::ids::Attempt;

    /// While a deployment is under way, functions of the version before meet records of the next one.
    #[tokio::test]
    async fn nothing_of_a_newer_version_is_repaired_or_put_aside() {
        for sk in ["E", "A#000002", "W#"] {
            let ledger = MemoryLedger::default();
            let key = sample::key("a");
            let entry = Entry { late_completions: Vec::new(), ..sample::full_entry("a") };
            let attempt = Some(sample::attempt("a", 2, "leader"));
            ledger.commit(&Change { attempt, ..Change::of(entry) }).await.unwrap();
            let wait = sample::wait(&sample::step_id("leader", "image"), "token", 0, sample::NOW);
            ledger.put_waiter(&key, &wait).await.unwrap();
            let mut newer: Vec<Item> = ledger.table().items();
            newer.retain(|item| text_of(item, SK).is_some_and(|found| found.starts_with(sk)));
            newer[0].insert("v".to_owned(), number(2));
            ledger.table().insert(newer[0].clone());
            let before = ledger.table().items();

            let error = ledger.repair(&key, sample::NOW).await.unwrap_err();
            assert_eq!((error.0.name, error.is_unreadable()), (ErrorName::LedgerUnavailable, false), "{sk}");
            assert_eq!(ledger.table().items(), before, "{sk}");
            // A waiter that was passed over would never be notified.
            assert_eq!(ledger.waiters(&key).await.is_err(), sk == "W#");
            assert_eq!(ledger.entry(&key).await.is_err(), sk == "E");
            assert_eq!(ledger.attempt(&key, Attempt(2)).await.is_err(), sk.starts_with('A'));
        }
    }
}
