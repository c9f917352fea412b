//! Batches. The counts of a chunk are added to its batch in the transaction that closes the chunk's run, so that they count
//! once.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use super::commit::{COUNTED, cancelled_unexpectedly};
use super::items::{after, count, expiring, expiry_from_now, flag, from_item, json, number, text, to_item, word};
use super::lists::List;
use super::runs::{listed, run_item, running};
use super::{RUN_DAYS, Store, keys};
use crate::clock::SystemClock;
use crate::contention::Contention;
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, Millis, RunRecord};
use crate::table::{Action, Condition, DUE, DUE_SHARD, Item, PK, Query, Reason, Table, TransactError, Update, Write};
use crate::traits::{Batches, ChunkEnd, ListPosition, Runs, StoreError};

/// The value of [`DUE_SHARD`] in batches.
const SHARD: &str = "batch";

/// Why a transaction of two writes was not committed.
enum Refused {
    /// The condition of this write failed.
    Write(usize),
    /// Another write was in progress.
    Conflict,
}

impl<T: Table> Batches for Store<T> {
    async fn create_batch(&self, batch: &BatchRecord) -> Result<bool, StoreError> {
        let listed = List::Batches.item(batch.created_at, &batch.id, expiry_from_now(RUN_DAYS));
        self.create(batch_item(batch)?, listed).await
    }

    async fn batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        self.table.get(&keys::batch(id)).await?.as_ref().map(read_batch).transpose()
    }

    async fn list_batches(
        &self,
        limit: u32,
        after: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        let ids = self.newest(List::Batches, limit, after, now).await?;
        let items = self.table.batch_get(ids.iter().map(keys::batch).collect()).await?;
        let mut batches: Vec<BatchRecord> = items.iter().map(read_batch).collect::<Result<_, StoreError>>()?;
        batches.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(batches)
    }

    async fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> Result<bool, StoreError> {
        let update = Update::new().set("plan", json(plan)?).set("status", word(BatchStatus::Running)?);
        let update = update.only_if(open()?.and(not_stopped()));
        Ok(self.update_batch(id, update).await?.is_some())
    }

    async fn stop_batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        let item = self.update_batch(id, Update::new().set("stop", flag(true)).only_if(open()?)).await?;
        item.as_ref().map(read_batch).transpose()
    }

    async fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        generation: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> Result<Option<RunRecord>, StoreError> {
        let mut contention = Contention::new(&SystemClock);
        loop {
            if let Some(existing) = self.run(&run.id).await? {
                return Ok(Some(existing));
            }
            let Some(record) = self.batch(batch).await? else { return Ok(None) };
            if record.stop || record.status.is_final() || record.generation != generation {
                return Ok(None);
            }
            let granted = (record.remaining != Money::UNLIMITED).then(|| wanted.min(record.remaining));
            let run = RunRecord { remaining: granted.unwrap_or(Money::UNLIMITED), granted, ..run.clone() };
            // Listed before it exists, so that a reader of the open runs misses none.
            self.table.put(listed(&run), None).await?;
            let writes = vec![
                Write::update(keys::batch(batch), grant(chunk, generation, granted)?),
                Write::put_if(run_item(&run)?, Condition::missing()),
            ];
            if self.write_both(writes).await?.is_none() {
                return Ok(Some(run));
            }
            if !contention.pause().await {
                return Err(StoreError::ledger(format!("the budget of batch {batch} kept changing")));
            }
        }
    }

    async fn top_up(&self, batch: &RunId, run: &RunId, amount: Money) -> Result<bool, StoreError> {
        let amount = amount.as_micros();
        let take = Update::new()
            .add("remaining", -amount)
            .only_if(open()?.and(not_stopped()).and(Condition::AtLeast("remaining", amount)));
        let give = Update::new()
            .add("remaining", amount)
            .add("granted", amount)
            .only_if(running()?.and(not_stopped()).and(Condition::Exists("granted")));
        let mut contention = Contention::new(&SystemClock);
        loop {
            let writes =
                vec![Write::update(keys::batch(batch), take.clone()), Write::update(keys::run(run), give.clone())];
            match self.write_both(writes).await? {
                None => return Ok(true),
                Some(Refused::Write(_)) => return Ok(false),
                Some(Refused::Conflict) if contention.pause().await => {}
                Some(Refused::Conflict) => {
                    return Err(StoreError::ledger(format!("the budget of batch {batch} kept changing")));
                }
            }
        }
    }

    async fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> Result<bool, StoreError> {
        let (close, add) = (close_run(end, now)?, add_counts(end));
        let mut contention = Contention::new(&SystemClock);
        loop {
            let writes = vec![
                Write::update(keys::run(&end.run), close.clone()),
                Write::update(keys::batch(&end.batch), add.clone()),
            ];
            match self.write_both(writes).await? {
                None => return Ok(true),
                Some(Refused::Write(0)) => {
                    return match self.run(&end.run).await? {
                        Some(run) if !run.status.is_final() => {
                            Err(StoreError::ledger(format!("the run {} changed while it was closed", end.run)))
                        }
                        _ => Ok(false),
                    };
                }
                // The batch's record has expired; the run ends all the same.
                Some(Refused::Write(_)) => {
                    return Runs::close_run(self, &end.run, end.status, end.failure.as_ref(), false, now).await;
                }
                Some(Refused::Conflict) if contention.pause().await => {}
                Some(Refused::Conflict) => {
                    return Err(StoreError::ledger(format!("batch {} kept changing", end.batch)));
                }
            }
        }
    }

    async fn reopen_batch(&self, id: &RunId, now: Millis, due: Millis) -> Result<Option<BatchRecord>, StoreError> {
        let update = Update::new()
            .set("status", word(BatchStatus::Planning)?)
            .set("stop", flag(false))
            .set(DUE_SHARD, text(SHARD))
            .set(DUE, number(due))
            .add("generation", 1)
            .remove("ended_at")
            .remove("failure")
            .set("began_at", number(now))
            .only_if(Condition::exists().and(unfinished()?.negated()));
        self.update_batch(id, update).await?.as_ref().map(read_batch).transpose()
    }

    async fn batches_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.first_readable(&Query::Due { shard: SHARD, now }, limit, keys::batch_id_of).await
    }

    async fn schedule_batch_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        Ok(self.update_batch(id, Update::new().set(DUE, number(due)).only_if(open()?)).await?.is_some())
    }

    async fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> Result<bool, StoreError> {
        let update = Update::new()
            .set("chunks", number(counts.chunks))
            .set("done", count(counts.done))
            .set("failed", count(counts.failed))
            .set("bad", count(counts.bad))
            .set("kept", count(counts.done + counts.failed + counts.bad))
            .set("hits", count(counts.hits))
            .only_if(Condition::Equals("status", word(BatchStatus::Planning)?));
        Ok(self.update_batch(id, update).await?.is_some())
    }

    async fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        failure: Option<&Failure>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let update = Update::new()
            .set("status", word(status)?)
            .set("ended_at", number(now))
            .set_or_remove("failure", failure.map(json).transpose()?)
            .remove(DUE_SHARD)
            .remove(DUE)
            .only_if(open()?.and(Condition::Equals("generation", number(generation))));
        Ok(self.update_batch(id, update).await?.is_some())
    }
}

impl<T: Table> Store<T> {
    /// The batch's item after the update; `None` if the condition fails.
    async fn update_batch(&self, id: &RunId, update: Update) -> Result<Option<Item>, StoreError> {
        Ok(self.table.update(&keys::batch(id), &update).await?.ok())
    }

    async fn write_both(&self, writes: Vec<Write>) -> Result<Option<Refused>, StoreError> {
        let reasons = match self.table.transact(writes).await {
            Ok(()) => return Ok(None),
            Err(TransactError::Failed(error)) => return Err(error),
            Err(TransactError::Cancelled(reasons)) => reasons,
        };
        if let Some(write) = reasons.iter().position(|reason| matches!(reason, Reason::ConditionFailed(_))) {
            return Ok(Some(Refused::Write(write)));
        }
        if reasons.contains(&Reason::Conflict) {
            return Ok(Some(Refused::Conflict));
        }
        Err(cancelled_unexpectedly(&reasons))
    }
}

/// The status is one of a batch that has not ended.
fn unfinished() -> Result<Condition, StoreError> {
    let status = |status| Ok(Condition::Equals("status", word(status)?));
    Ok(status(BatchStatus::Planning)?.or(status(BatchStatus::Running)?))
}

/// The batch exists and has not ended.
fn open() -> Result<Condition, StoreError> {
    Ok(Condition::exists().and(unfinished()?))
}

fn not_stopped() -> Condition {
    Condition::Equals("stop", flag(false))
}

/// Takes a chunk's grant out of the batch's budget and marks the chunk open.
fn grant(chunk: u32, generation: u32, granted: Option<Money>) -> Result<Update, StoreError> {
    let update = Update::new().then("open", Action::Insert(chunk));
    let condition = open()?.and(not_stopped()).and(Condition::Equals("generation", number(generation)));
    Ok(match granted {
        None => update.only_if(condition),
        Some(granted) => update
            .add("remaining", -granted.as_micros())
            .only_if(condition.and(Condition::AtLeast("remaining", granted.as_micros()))),
    })
}

/// Closes a run whose money is as it was read.
fn close_run(end: &ChunkEnd, now: Millis) -> Result<Update, StoreError> {
    let unchanged = running()?.and(Condition::Equals("settled", number(end.counts.spent.as_micros())));
    let close = Update::new()
        .set("status", word(end.status)?)
        .set("ended_at", number(now))
        .set_or_remove("failure", end.failure.as_ref().map(json).transpose()?)
        .set(COUNTED, flag(true))
        .remove(DUE_SHARD)
        .remove(DUE);
    Ok(match end.unspent {
        None => close.only_if(unchanged),
        // Nothing of what goes back is left to be reserved.
        Some(unspent) => close
            .set("remaining", number(0))
            .only_if(unchanged.and(Condition::Equals("remaining", number(unspent.as_micros())))),
    })
}

/// Adds the counts of a chunk and what it gives back, and marks it ended.
fn add_counts(end: &ChunkEnd) -> Update {
    let BatchCounts { chunks, done, failed, bad, hits, spent, saved } = end.counts;
    let rows = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    let add = Update::new()
        .add("chunks", i64::from(chunks))
        .add("done", rows(done))
        .add("failed", rows(failed))
        .add("bad", rows(bad))
        .add("hits", rows(hits))
        .add("spent", spent.as_micros())
        .add("saved", saved.as_micros())
        .then("open", Action::Discard(end.chunk))
        .only_if(Condition::exists());
    match end.unspent {
        Some(unspent) => add.add("remaining", unspent.as_micros()),
        None => add,
    }
}

fn batch_item(batch: &BatchRecord) -> Result<Item, StoreError> {
    let mut item = expiring(to_item(keys::batch(&batch.id), batch)?, expiry_from_now(RUN_DAYS));
    if batch.next_check_at.is_some() {
        item.insert(DUE_SHARD.to_owned(), text(SHARD));
    }
    Ok(item)
}

fn read_batch(item: &Item) -> Result<BatchRecord, StoreError> {
    from_item(item, [("id", text(after(item, PK, keys::BATCH_PREFIX)?))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RunStatus;

    #[test]
    fn the_counts_of_a_chunk_and_its_mark_change_in_one_write() {
        let id = |id: &str| RunId::parse(id).unwrap();
        let (batch, run, status) = (id("batch-one"), id("batch-one-4"), RunStatus::Succeeded);
        let counts = BatchCounts { chunks: 1, ..BatchCounts::default() };
        let end = ChunkEnd { batch, chunk: 4, run, status, failure: None, counts, unspent: Some(Money::micros(7)) };
        let actions = add_counts(&end).actions;
        for action in [("open", Action::Discard(4)), ("chunks", Action::Add(1)), ("remaining", Action::Add(7))] {
            assert!(actions.contains(&(action.0.to_owned(), action.1)), "{actions:?}");
        }
    }
}
