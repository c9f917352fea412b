//! The whole table at once, for those who look whether everything in it fits together. It reads every item: not for
//! functions.

use super::{Dynamo, Item, PK, SK, decode, encode, failed};
use crate::records::{AttemptRecord, Entry, RunRecord, Waiter};
use crate::traits::StoreError;
use fresco_pipeline::ids::ContentKey;

/// Everything that the ledger holds, apart from jobs, steps and lists.
#[derive(Debug, Clone, Default)]
pub struct Everything {
    /// Every entry.
    pub entries: Vec<Entry>,
    /// Every attempt.
    pub attempts: Vec<AttemptRecord>,
    /// Who waits, and for what.
    pub waiters: Vec<(ContentKey, Waiter)>,
    /// Every run.
    pub runs: Vec<RunRecord>,
}

impl Dynamo {
    /// Reads the whole table, strongly consistent page by page.
    pub async fn everything(&self) -> Result<Everything, StoreError> {
        let mut everything = Everything::default();
        let mut from = None;
        loop {
            let scan = self.client.scan().table_name(&self.table).consistent_read(true).set_exclusive_start_key(from);
            let page = scan.send().await.map_err(|error| failed("Scan", &error))?;
            for item in page.items() {
                everything.add(item)?;
            }
            match page.last_evaluated_key {
                Some(last) if !last.is_empty() => from = Some(last),
                _ => return Ok(everything),
            }
        }
    }
}

impl Everything {
    fn add(&mut self, item: &Item) -> Result<(), StoreError> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
        match (text(PK), text(SK)) {
            (pk, encode::ENTRY) if pk.starts_with(encode::KEY_PREFIX) => self.entries.push(decode::entry(item)?),
            (_, sk) if sk.starts_with(encode::ATTEMPT_PREFIX) => self.attempts.push(decode::attempt(item)?),
            (_, sk) if sk.starts_with(encode::WAITER_PREFIX) => {
                let waiter = decode::waiter(item)?;
                if let Some(key) = decode::entry_key(item) {
                    self.waiters.push((key, waiter));
                }
            }
            (pk, encode::RUN) if pk.starts_with(encode::RUN_PREFIX) => self.runs.push(decode::run(item)?),
            _ => {}
        }
        Ok(())
    }
}
