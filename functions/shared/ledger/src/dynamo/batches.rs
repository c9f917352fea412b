//! Batches in the table. What a chunk's end adds to its batch is added in the transaction that closes the chunk's run, so that
//! it counts once.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use super::commit::unbuilt;
use super::expression::Expression;
use super::item::{Reader, VERSION, count, flag, json, number, text, word};
use super::{DUE, DUE_SHARD, Dynamo, EXPIRES_AT, Item, PK, encode, failed};
use crate::aws::SdkError;
use crate::month::Month;
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, Millis, RunRecord, RunStatus};
use crate::traits::{Batches, ChunkEnd, ListPosition, Runs, StoreError};

const BATCH: &str = "B";
const PREFIX: &str = "B#";
/// The value of [`DUE_SHARD`] in batches.
const SHARD: &str = "batch";
/// How often a budget is looked at again that others take from.
const LOOKS: usize = 20;
/// The batch is there and has not ended.
const GOES_ON: &str = "attribute_exists(#pk) AND #status IN (:planning, :running)";

/// The run is there and has not ended.
const GOING: &str = "attribute_exists(#pk) AND #status = :going";

fn batch_pk(id: &RunId) -> String {
    format!("{PREFIX}{id}")
}

/// What became of a transaction that may be refused.
enum Refused {
    /// By the condition of this part.
    Part(usize),
    /// Another was under way.
    Busy,
}

fn refused(error: SdkError<TransactWriteItemsError>) -> Result<Refused, StoreError> {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
        let reasons = cancelled.cancellation_reasons();
        if let Some(part) = reasons.iter().position(|reason| reason.code() == Some("ConditionalCheckFailed")) {
            return Ok(Refused::Part(part));
        }
        if reasons.iter().any(|reason| reason.code() == Some("TransactionConflict")) {
            return Ok(Refused::Busy);
        }
    }
    Err(failed("TransactWriteItems", &error))
}

impl Dynamo {
    async fn write_both(
        &self,
        one: TransactWriteItem,
        other: TransactWriteItem,
    ) -> Result<Option<Refused>, StoreError> {
        let write = self.transaction()?.transact_items(one).transact_items(other);
        match write.send().await {
            Ok(_) => Ok(None),
            Err(error) => refused(error).map(Some),
        }
    }

    fn part(&self, write: &Expression, pk: &str, sk: &str) -> Result<TransactWriteItem, StoreError> {
        let update = write.in_transaction(&self.table, pk, sk).build().map_err(unbuilt)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn put(&self, guard: &Expression, item: Item) -> Result<TransactWriteItem, StoreError> {
        let put = guard.guard(&self.table, item).build().map_err(unbuilt)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

impl Batches for Dynamo {
    async fn create_batch(&self, batch: &BatchRecord) -> Result<bool, StoreError> {
        let new = Expression::new().only_if("attribute_not_exists(#pk)");
        let mut listed =
            encode::listed_at(&encode::batches_pk(Month::of(batch.created_at)), batch.created_at, &batch.id);
        listed.insert(EXPIRES_AT.to_owned(), encode::run_expiry());
        let write = self.write_both(self.put(&new, item(batch)?)?, self.put(&Expression::new(), listed)?).await?;
        Ok(write.is_none())
    }

    async fn batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        self.get(&batch_pk(id), BATCH).await?.as_ref().map(row).transpose()
    }

    async fn list_batches(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        let ids = self.latest(encode::batches_pk, limit, behind, now).await?;
        let keys = ids.iter().map(|id| (batch_pk(id), BATCH.to_owned())).collect();
        let mut rows: Vec<BatchRecord> =
            self.batch_get(keys).await?.iter().map(row).collect::<Result<_, StoreError>>()?;
        rows.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(rows)
    }

    async fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> Result<bool, StoreError> {
        let write = going_on(Expression::new().set("plan", json(plan)?))?.set("status", word(BatchStatus::Running)?);
        let write = write.with("no", flag(false)).only_if(&format!("{GOES_ON} AND #stop = :no"));
        Ok(self.update(&batch_pk(id), BATCH, write).await?.is_some())
    }

    async fn stop_batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        let write = going_on(Expression::new().set("stop", flag(true)))?;
        self.update(&batch_pk(id), BATCH, write).await?.as_ref().map(row).transpose()
    }

    async fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> Result<Option<RunRecord>, StoreError> {
        for _ in 0..LOOKS {
            if let Some(there) = self.run(&run.id).await? {
                return Ok(Some(there));
            }
            let Some(record) = self.batch(batch).await? else { return Ok(None) };
            if record.stop || record.status.is_final() {
                return Ok(None);
            }
            let granted = (record.remaining != Money::UNLIMITED).then(|| wanted.min(record.remaining));
            let run = RunRecord { remaining: granted.unwrap_or(Money::UNLIMITED), granted, ..run.clone() };
            let take = going_on(Expression::new().add("open", AttributeValue::Ns(vec![chunk.to_string()])))?;
            let mut take = take.with("no", flag(false)).only_if(&format!("{GOES_ON} AND #stop = :no"));
            if let Some(granted) = granted {
                take = take
                    .assign("#remaining = #remaining - :granted")
                    .with("granted", number(granted.as_micros()))
                    .only_if(&format!("{GOES_ON} AND #stop = :no AND #remaining >= :granted"));
            }
            // Listed before it is there, so that whoever looks at what is going on misses none.
            let list = self.client.put_item().table_name(&self.table).set_item(Some(encode::listed(&run)));
            list.send().await.map_err(|error| failed("PutItem", &error))?;
            let new = Expression::new().only_if("attribute_not_exists(#pk)");
            let open = self.put(&new, encode::run(&run)?)?;
            if self.write_both(self.part(&take, &batch_pk(batch), BATCH)?, open).await?.is_none() {
                return Ok(Some(run));
            }
        }
        Err(StoreError::ledger(format!("the budget of batch {batch} is taken from all the time")))
    }

    async fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> Result<bool, StoreError> {
        let close = Expression::new()
            .set("status", word(end.status)?)
            .set("ended_at", number(now))
            .set_or_remove("failure", end.failure.as_ref().map(json).transpose()?)
            .with("going", word(RunStatus::Running)?);
        let close = match end.unspent {
            None => close.only_if(GOING),
            // Nothing of what goes back is left to be reserved.
            Some(unspent) => close
                .set("remaining", number(0))
                .only_if(&format!("{GOING} AND #remaining = :unspent"))
                .with("unspent", number(unspent.as_micros())),
        };
        let BatchCounts { chunks, done, failed, bad, hits, spent, saved } = end.counts;
        let mut add = Expression::new()
            .add("chunks_done", number(chunks))
            .add("done", count(done))
            .add("failed", count(failed))
            .add("bad", count(bad))
            .add("hits", count(hits))
            .add("spent", number(spent.as_micros()))
            .add("saved", number(saved.as_micros()))
            .only_if("attribute_exists(#pk)");
        if let Some(unspent) = end.unspent {
            add = add.add("remaining", number(unspent.as_micros()));
        }
        for _ in 0..LOOKS {
            let close = self.part(&close, &encode::run_pk(&end.run), encode::RUN)?;
            match self.write_both(close, self.part(&add, &batch_pk(&end.batch), BATCH)?).await? {
                None => {
                    let gone = Expression::new().take_out("open", AttributeValue::Ns(vec![end.chunk.to_string()]));
                    self.update(&batch_pk(&end.batch), BATCH, gone).await?;
                    return Ok(true);
                }
                Some(Refused::Part(0)) => {
                    return match self.run(&end.run).await? {
                        Some(run) if !run.status.is_final() => {
                            Err(StoreError::ledger(format!("the run {} changed while it was closed", end.run)))
                        }
                        _ => Ok(false),
                    };
                }
                // The record of the batch is gone; its run ends all the same.
                Some(Refused::Part(_)) => {
                    return self.close_run(&end.run, end.status, end.failure.as_ref(), false, now).await;
                }
                Some(Refused::Busy) => {}
            }
        }
        Err(StoreError::ledger(format!("batch {} is written all the time", end.batch)))
    }

    async fn reopen_batch(&self, id: &RunId, now: Millis, due: Millis) -> Result<Option<BatchRecord>, StoreError> {
        let write = Expression::new()
            .set("status", word(BatchStatus::Planning)?)
            .set("stop", flag(false))
            .set(DUE_SHARD, text(SHARD))
            .set(DUE, number(due))
            .add("generation", number(1))
            .remove("ended_at")
            .remove("failure")
            .set("began_at", number(now))
            .only_if("attribute_exists(#pk) AND NOT #status IN (:planning, :running)")
            .with("planning", word(BatchStatus::Planning)?)
            .with("running", word(BatchStatus::Running)?);
        self.update(&batch_pk(id), BATCH, write).await?.as_ref().map(row).transpose()
    }

    async fn batches_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let id = |item: &Item| RunId::parse(item.get(PK)?.as_s().ok()?.strip_prefix(PREFIX)?).ok();
        self.due_of(SHARD, now, limit, id).await
    }

    async fn schedule_batch_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        let write = going_on(Expression::new().set(DUE, number(due)))?;
        Ok(self.update(&batch_pk(id), BATCH, write).await?.is_some())
    }

    async fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> Result<bool, StoreError> {
        let write = Expression::new()
            .set("chunks_done", number(counts.chunks))
            .set("done", count(counts.done))
            .set("failed", count(counts.failed))
            .set("bad", count(counts.bad))
            .set("kept", count(counts.done + counts.failed + counts.bad))
            .set("hits", count(counts.hits))
            .only_if("#status = :planning")
            .with("planning", word(BatchStatus::Planning)?);
        Ok(self.update(&batch_pk(id), BATCH, write).await?.is_some())
    }

    async fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        failure: Option<&Failure>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let write =
            Expression::new().set("ended_at", number(now)).set_or_remove("failure", failure.map(json).transpose()?);
        let write = going_on(write)?.set("status", word(status)?).with("generation", number(generation));
        let write = write.remove(DUE_SHARD).remove(DUE);
        // What was never driven anew may say nothing of it.
        let same = if generation == 0 {
            "(attribute_not_exists(#generation) OR #generation = :generation)"
        } else {
            "#generation = :generation"
        };
        let write = write.only_if(&format!("{GOES_ON} AND {same}"));
        Ok(self.update(&batch_pk(id), BATCH, write).await?.is_some())
    }
}

fn going_on(write: Expression) -> Result<Expression, StoreError> {
    Ok(write
        .only_if(GOES_ON)
        .with("planning", word(BatchStatus::Planning)?)
        .with("running", word(BatchStatus::Running)?))
}

fn item(batch: &BatchRecord) -> Result<Item, StoreError> {
    let mut item = Item::from([
        (PK.to_owned(), text(batch_pk(&batch.id))),
        (super::SK.to_owned(), text(BATCH)),
        ("v".to_owned(), number(VERSION)),
        ("name".to_owned(), text(&batch.name)),
        ("status".to_owned(), word(batch.status)?),
        ("stop".to_owned(), flag(batch.stop)),
        ("created_at".to_owned(), number(batch.created_at)),
        ("remaining".to_owned(), number(batch.remaining.as_micros())),
        (EXPIRES_AT.to_owned(), encode::run_expiry()),
    ]);
    if let Some(due) = batch.next_check_at {
        item.insert(DUE_SHARD.to_owned(), text(SHARD));
        item.insert(DUE.to_owned(), number(due));
    }
    if let Some(failure) = &batch.failure {
        item.insert("failure".to_owned(), json(failure)?);
    }
    Ok(item)
}

fn row(item: &Item) -> Result<BatchRecord, StoreError> {
    let open = match item.get("open") {
        Some(AttributeValue::Ns(numbers)) => numbers.iter().filter_map(|number| number.parse().ok()).collect(),
        _ => Default::default(),
    };
    let item = Reader::new(item)?;
    let money = |name: &str| Ok::<_, StoreError>(Money::micros(item.maybe_number(name)?.unwrap_or(0)));
    Ok(BatchRecord {
        id: item.id(PK, item.after(PK, PREFIX)?)?,
        name: item.text("name")?.to_owned(),
        status: item.word("status")?,
        stop: item.flag("stop")?,
        created_at: item.number("created_at")?,
        began_at: item.maybe_number("began_at")?.unwrap_or(item.number("created_at")?),
        kept: item.maybe_number("kept")?.unwrap_or(0),
        ended_at: item.maybe_number("ended_at")?,
        remaining: Money::micros(item.number("remaining")?),
        plan: item.maybe_json("plan")?,
        counts: BatchCounts {
            chunks: item.maybe_number("chunks_done")?.unwrap_or(0),
            done: item.maybe_number("done")?.unwrap_or(0),
            failed: item.maybe_number("failed")?.unwrap_or(0),
            bad: item.maybe_number("bad")?.unwrap_or(0),
            hits: item.maybe_number("hits")?.unwrap_or(0),
            spent: money("spent")?,
            saved: money("saved")?,
        },
        open,
        generation: item.maybe_number("generation")?.unwrap_or(0),
        next_check_at: item.maybe_number(DUE)?,
        failure: item.maybe_json("failure")?,
    })
}
