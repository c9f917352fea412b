//! Mending an entry that cannot be read. What it becomes is decided in `transition`; here it is read as far as it can be, and
//! written only if it is still as it was.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::commit::{account, unbuilt};
use super::entries::REPORT;
use super::expression::Expression;
use super::item::{json, text};
use super::{Dynamo, EXPIRES_AT, Item, SK, decode, encode, expiry, failed};
use crate::records::{Hold, HoldState, Millis};
use crate::traits::{BudgetChange, StoreError};
use crate::transition::{ReadableAttempt, ReadableParts, repair};

/// How long an entry that was put aside is kept.
const ASIDE_DAYS: Millis = 90;
/// The attribute of an attempt's money.
const HOLD: &str = "hold";

impl Dynamo {
    pub(super) async fn repair_entry(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        let pk = encode::entry_pk(key);
        let Some(item) = self.get(&pk, encode::ENTRY).await? else { return Ok(()) };
        let entry = decode::entry(&item).ok();
        let attempts = self.query(&pk, encode::ATTEMPT_PREFIX).await?;
        let waiters = self.query(&pk, encode::WAITER_PREFIX).await?;
        let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
        let survivors = ReadableParts {
            entry: entry.as_ref(),
            rev: number("rev").unwrap_or(0),
            last: number("last").and_then(|last| u32::try_from(last).ok()).map(Attempt),
            attempts: attempts.iter().filter_map(remnant).collect(),
            waiters: waiters.iter().filter_map(|item| decode::waiter(item).ok()).collect(),
        };
        let Some(entry) = repair(key, &survivors, now) else { return Ok(()) };
        let put = unchanged(&item).guard(&self.table, encode::entry(&entry)?).build().map_err(unbuilt)?;
        let mut aside = item;
        aside.insert(SK.to_owned(), text(format!("X#{now:015}")));
        aside.insert(EXPIRES_AT.to_owned(), expiry(now, ASIDE_DAYS));
        // The index is of entries to look at.
        aside.remove(super::DUE_SHARD);
        let aside = Put::builder().table_name(&self.table).set_item(Some(aside)).build().map_err(unbuilt)?;
        let mut write = self
            .transaction()?
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().put(aside).build());
        for settled in self.settled(key, &attempts).await? {
            write = write.transact_items(settled);
        }
        match write.send().await {
            Ok(_) => Ok(()),
            // Somebody else was quicker; whoever asked reads it again.
            Err(error) if error.as_service_error().is_some_and(|why| why.is_transaction_canceled_exception()) => Ok(()),
            Err(error) => Err(failed("TransactWriteItems", &error)),
        }
    }
}

fn remnant(item: &Item) -> Option<ReadableAttempt> {
    let number = item.get(SK)?.as_s().ok()?.strip_prefix(encode::ATTEMPT_PREFIX)?.parse().ok()?;
    let (row, reported) = (decode::attempt(item).ok(), item.contains_key(REPORT));
    Some(ReadableAttempt { attempt: Attempt(number), row, reported })
}

impl Dynamo {
    /// The holds of attempts that cannot be read, ended as spent: the jobs may have been accepted, and nobody will ask after them.
    async fn settled(&self, key: &ContentKey, attempts: &[Item]) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut writes = Vec::new();
        for item in attempts.iter().filter(|item| decode::attempt(item).is_err()) {
            let hold = item.get(HOLD).and_then(|hold| hold.as_s().ok());
            let (Some(raw), Some(sk)) = (hold, item.get(SK).and_then(|sk| sk.as_s().ok())) else { continue };
            let Ok(Hold { run, amount, state: HoldState::Held }) = serde_json::from_str::<Hold>(raw) else { continue };
            let spent = Hold { run: run.clone(), amount, state: HoldState::Settled(amount) };
            // As it was read, so that it ends once.
            let write = Expression::new().set(HOLD, json(&spent)?).only_if("#hold = :before").with("before", text(raw));
            let update = write.in_transaction(&self.table, &encode::entry_pk(key), sk).build().map_err(unbuilt)?;
            writes.push(TransactWriteItem::builder().update(update).build());
            // A record that has expired has no budget to keep.
            if self.get(&encode::run_pk(&run), encode::RUN).await?.is_some() {
                let change = BudgetChange::Settle { run, held: amount, spent: amount };
                let run_pk = encode::run_pk(change.run());
                let write = account(&change)?.in_transaction(&self.table, &run_pk, encode::RUN);
                writes.push(TransactWriteItem::builder().update(write.build().map_err(unbuilt)?).build());
            }
        }
        Ok(writes)
    }
}

/// What every write changes is as it was read, whatever stands there.
fn unchanged(item: &Item) -> Expression {
    let same = |expression: Expression, name: &str, value: Option<&AttributeValue>| match value {
        Some(value) => expression.with(name, value.clone()),
        None => expression,
    };
    let condition = |name: &str| match item.get(name) {
        Some(_) => format!("#{name} = :{name}"),
        None => format!("attribute_not_exists(#{name})"),
    };
    let mut expression = Expression::new().only_if(&format!("{} AND {}", condition("rev"), condition("v")));
    for name in ["rev", "v"] {
        expression = same(expression, name, item.get(name));
    }
    expression
}
