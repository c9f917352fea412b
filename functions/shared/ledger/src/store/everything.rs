//! The whole table at once, for checks of its consistency. It reads every item: not for functions.

use fresco_pipeline::ids::ContentKey;

use super::entries::{read_attempt, read_entry};
use super::runs::read_run;
use super::waiters::read_waiter;
use super::{Store, keys};
use crate::records::{AttemptRecord, Entry, RunRecord, Waiter};
use crate::table::{Item, PK, SK, Table, text_of};
use crate::traits::StoreError;

/// The entries, attempts, waiters and runs of the ledger.
#[derive(Debug, Clone, Default)]
pub struct Everything {
    pub entries: Vec<Entry>,
    pub attempts: Vec<AttemptRecord>,
    /// Waiters by the key of their entry.
    pub waiters: Vec<(ContentKey, Waiter)>,
    pub runs: Vec<RunRecord>,
}

impl<T: Table> Store<T> {
    /// Reads the whole table, strongly consistent page by page.
    pub async fn everything(&self) -> Result<Everything, StoreError> {
        let (mut everything, mut start) = (Everything::default(), None);
        loop {
            let page = self.table.scan(start).await?;
            for item in &page.items {
                everything.add(item)?;
            }
            start = page.next;
            if start.is_none() {
                return Ok(everything);
            }
        }
    }
}

impl Everything {
    fn add(&mut self, item: &Item) -> Result<(), StoreError> {
        let text = |name: &str| text_of(item, name).unwrap_or_default();
        match (text(PK), text(SK)) {
            (pk, keys::ENTRY) if pk.starts_with(keys::ENTRY_PREFIX) => self.entries.push(read_entry(item)?),
            (_, sk) if sk.starts_with(keys::ATTEMPT_PREFIX) => self.attempts.push(read_attempt(item)?),
            (_, sk) if sk.starts_with(keys::WAITER_PREFIX) => {
                let waiter = read_waiter(item)?;
                self.waiters.extend(keys::content_key_of(item).map(|key| (key, waiter)));
            }
            (pk, keys::RUN) if pk.starts_with(keys::RUN_PREFIX) => self.runs.push(read_run(item)?),
            _ => {}
        }
        Ok(())
    }
}
