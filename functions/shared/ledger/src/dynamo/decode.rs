//! Items as rows. An item that this version cannot read is an error that names the item and the attribute, never a guess.

use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::money::Money;

use super::encode::{ATTEMPT_PREFIX, KEY_PREFIX, RUN_PREFIX, WAITER_PREFIX};
use super::item::Reader;
use super::{DUE, Item, PK, SK};
use crate::records::{AttemptRecord, ChunkRef, Entry, RunRecord, StepId, StepRecord, StepState, Waiter};
use crate::traits::StoreError;

pub(super) fn entry(item: &Item) -> Result<Entry, StoreError> {
    let item = Reader::new(item)?;
    Ok(Entry {
        key: item.id(PK, item.after(PK, KEY_PREFIX)?)?,
        rev: item.number("rev")?,
        result: item.maybe_json("result")?,
        pending: item.maybe_json("pending")?,
        failure: item.maybe_json("failure")?,
        late_completion: item.maybe_json("late")?,
        last_attempt: Attempt(item.number("last")?),
        tries: item.number("tries")?,
        lost: item.number("lost")?,
        notify_pending: item.flag("notify_pending")?,
        next_check_at: item.maybe_number(DUE)?,
    })
}

/// The key of an entry, where nothing but the keys is known.
pub(super) fn entry_key(item: &Item) -> Option<ContentKey> {
    let pk = item.get(PK)?.as_s().ok()?;
    ContentKey::parse(pk.strip_prefix(KEY_PREFIX)?).ok()
}

pub(super) fn attempt(item: &Item) -> Result<AttemptRecord, StoreError> {
    let item = Reader::new(item)?;
    let number = item.after(SK, ATTEMPT_PREFIX)?.parse();
    Ok(AttemptRecord {
        key: item.id(PK, item.after(PK, KEY_PREFIX)?)?,
        attempt: Attempt(number.map_err(|_| item.bad(SK))?),
        token_hash: item.id("token_hash", item.text("token_hash")?)?,
        state: item.word("state")?,
        request_id: item.maybe_text("request_id")?.map(str::to_owned),
        request: item.json("request")?,
        claimed_at: item.number("claimed_at")?,
        submitter_dead_at: item.number("submitter_dead_at")?,
        hold: item.json("hold")?,
        fetches: item.number("fetches")?,
    })
}

pub(super) fn job(item: &Item) -> Result<(ContentKey, Attempt), StoreError> {
    let item = Reader::new(item)?;
    let key = item.id("owner_key", item.text("owner_key")?)?;
    Ok((key, Attempt(item.number("owner_attempt")?)))
}

pub(super) fn waiter(item: &Item) -> Result<Waiter, StoreError> {
    let item = Reader::new(item)?;
    let (run, step) = item.after(SK, WAITER_PREFIX)?.split_once('#').ok_or_else(|| item.bad(SK))?;
    Ok(Waiter {
        step_id: StepId { run: item.id(SK, run)?, step: item.id(SK, step)? },
        token: item.text("token")?.to_owned(),
        joined: Attempt(item.number("joined")?),
        base: Attempt(item.number("base")?),
        since: item.number("since")?,
        running_since: item.maybe_number("running_since")?,
        timeout_ms: item.number("timeout_ms")?,
    })
}

pub(super) fn run(item: &Item) -> Result<RunRecord, StoreError> {
    let item = Reader::new(item)?;
    Ok(RunRecord {
        id: item.id(PK, item.after(PK, RUN_PREFIX)?)?,
        name: item.text("name")?.to_owned(),
        status: item.word("status")?,
        stop: item.flag("stop")?,
        fail_fast: item.flag("fail_fast")?,
        remaining: Money::micros(item.number("remaining")?),
        held: Money::micros(item.number("held")?),
        settled: Money::micros(item.number("settled")?),
        created_at: item.number("created_at")?,
        ended_at: item.maybe_number("ended_at")?,
        bound_at: item.maybe_number("bound_at")?,
        steps: item.number("steps")?,
        failure: item.maybe_json("failure")?,
        export: item.maybe_text("export")?.map(|export| item.id("export", export)).transpose()?,
        chunk: match item.maybe_text("batch")? {
            Some(batch) => Some(ChunkRef { batch: item.id("batch", batch)?, number: item.number("chunk")? }),
            None => None,
        },
        granted: item.maybe_number("granted")?.map(Money::micros),
        publish_pending: item.flag_or_no("publish_pending")?,
    })
}

pub(super) fn step(item: &Item) -> Result<StepRecord, StoreError> {
    let item = Reader::new(item)?;
    Ok(StepRecord {
        run: item.id(PK, item.after(PK, RUN_PREFIX)?)?,
        plan: item.json("plan")?,
        key: item.maybe_text("key")?.map(|key| item.id("key", key)).transpose()?,
        state: item.maybe_word("state")?.unwrap_or(StepState::Waiting),
        source: item.maybe_word("source")?,
        pinned: item.maybe_json("pinned")?,
        failure: item.maybe_json("failure")?,
        started_at: item.maybe_number("started_at")?,
        ended_at: item.maybe_number("ended_at")?,
        calls: item.number("calls")?,
    })
}
