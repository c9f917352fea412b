//! Rows as items, and the keys they are found by.

use aws_sdk_dynamodb::types::AttributeValue;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName};

use super::expression::Expression;
use super::item::{VERSION, count, flag, json, number, text, word};
use super::{DUE, DUE_SHARD, DUE_SHARD_VALUE, EXPIRES_AT, Item, PK, SK, expiry, written_at};
use crate::month::Month;
use crate::records::{AttemptRecord, Entry, Millis, RunRecord, StepId, StepRecord, StepState};
use crate::traits::{JobOwner, StoreError};

pub(super) const ENTRY: &str = "E";
pub(super) const JOB: &str = "J";
pub(super) const RUN: &str = "R";
pub(super) const PIPELINE: &str = "P";
pub(super) const SIGNING: &str = "V";
pub(super) const KEY_PREFIX: &str = "K#";
pub(super) const RUN_PREFIX: &str = "R#";
pub(super) const WAITER_PREFIX: &str = "W#";
pub(super) const STEP_PREFIX: &str = "S#";
pub(super) const ATTEMPT_PREFIX: &str = "A#";

const ENTRY_DAYS: Millis = 90;
const ATTEMPT_DAYS: Millis = 60;
const JOB_DAYS: Millis = 30;
const RUN_DAYS: Millis = 90;

pub(super) fn entry_pk(key: &ContentKey) -> String {
    format!("{KEY_PREFIX}{key}")
}

pub(super) fn attempt_sk(attempt: Attempt) -> String {
    format!("{ATTEMPT_PREFIX}{:06}", attempt.0)
}

pub(super) fn waiter_sk(step_id: &StepId) -> String {
    format!("{WAITER_PREFIX}{}#{}", step_id.run, step_id.step)
}

pub(super) fn job_pk(provider: ProviderName, request_id: &str) -> String {
    format!("J#{}#{request_id}", provider.as_str())
}

pub(super) fn run_pk(run: &RunId) -> String {
    format!("{RUN_PREFIX}{run}")
}

pub(super) fn step_sk(step: &StepName) -> String {
    format!("{STEP_PREFIX}{step}")
}

pub(super) fn list_sk(created_at: Millis, run: &RunId) -> String {
    format!("{:015}#{run}", created_at.max(0))
}

/// Under the hash of its name, which is a text of the user's.
pub(super) fn pipeline_pk(name: &str) -> String {
    format!("P#{}", ContentKey::digest(name.as_bytes()))
}

/// When something written now about a run expires.
pub(super) fn run_expiry() -> AttributeValue {
    expiry(written_at(), RUN_DAYS)
}

pub(super) fn list_pk(month: Month) -> String {
    format!("L#{month}")
}

/// The list of the chunks' runs.
pub(super) fn chunks_pk(month: Month) -> String {
    format!("LC#{month}")
}

/// The list of batches.
pub(super) fn batches_pk(month: Month) -> String {
    format!("LB#{month}")
}

fn keyed(pk: String, sk: impl Into<String>) -> Item {
    Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk)), ("v".to_owned(), number(VERSION))])
}

/// The entry at the revision after the one it was read at.
pub(super) fn entry(entry: &Entry) -> Result<Item, StoreError> {
    let mut item = keyed(entry_pk(&entry.key), ENTRY);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("rev", count(entry.rev.saturating_add(1)));
    put("last", number(entry.last_attempt.0));
    put("tries", number(entry.tries));
    put("lost", number(entry.lost));
    put("notify_pending", flag(entry.notify_pending));
    if let Some(result) = &entry.result {
        put("result", json(result)?);
    }
    if let Some(pending) = &entry.pending {
        put("pending", json(pending)?);
    }
    if let Some(failure) = &entry.failure {
        put("failure", json(failure)?);
    }
    if let Some(late) = &entry.late_completion {
        put("late", json(late)?);
    }
    if let Some(due) = entry.next_check_at {
        put(DUE_SHARD, text(DUE_SHARD_VALUE));
        put(DUE, number(due));
    }
    if entry.pending.is_none() && entry.next_check_at.is_none() && !entry.notify_pending {
        put(EXPIRES_AT, expiry(written_at(), ENTRY_DAYS));
    }
    Ok(item)
}

/// The attempt as an update: its stored report is an attribute of the same item and stays.
pub(super) fn attempt(attempt: &AttemptRecord) -> Result<Expression, StoreError> {
    Ok(Expression::new()
        .set("v", number(VERSION))
        .set("token_hash", text(attempt.token_hash.as_str()))
        .set("state", word(attempt.state)?)
        .set_or_remove("request_id", attempt.request_id.as_deref().map(text))
        .set("request", json(&attempt.request)?)
        .set("claimed_at", number(attempt.claimed_at))
        .set("submitter_dead_at", number(attempt.submitter_dead_at))
        .set("hold", json(&attempt.hold)?)
        .set("fetches", number(attempt.fetches))
        .set(EXPIRES_AT, expiry(attempt.claimed_at, ATTEMPT_DAYS)))
}

pub(super) fn job(key: &ContentKey, job: &JobOwner) -> Item {
    let mut item = keyed(job_pk(job.provider, &job.request_id), JOB);
    item.insert("owner_key".to_owned(), text(key.as_str()));
    item.insert("owner_attempt".to_owned(), number(job.attempt.0));
    item.insert(EXPIRES_AT.to_owned(), expiry(written_at(), JOB_DAYS));
    item
}

pub(super) fn run(run: &RunRecord) -> Result<Item, StoreError> {
    let mut item = keyed(run_pk(&run.id), RUN);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("name", text(&run.name));
    put("status", word(run.status)?);
    put("stop", flag(run.stop));
    put("fail_fast", flag(run.fail_fast));
    put("remaining", number(run.remaining.as_micros()));
    put("held", number(run.held.as_micros()));
    put("settled", number(run.settled.as_micros()));
    put("created_at", number(run.created_at));
    put("steps", number(run.steps));
    if let Some(ended_at) = run.ended_at {
        put("ended_at", number(ended_at));
    }
    if let Some(bound_at) = run.bound_at {
        put("bound_at", number(bound_at));
    }
    if let Some(failure) = &run.failure {
        put("failure", json(failure)?);
    }
    if let Some(export) = &run.export {
        put("export", text(export.to_string()));
    }
    if let Some(chunk) = &run.chunk {
        put("batch", text(chunk.batch.as_str()));
        put("chunk", number(chunk.number));
    }
    if let Some(granted) = run.granted {
        put("granted", number(granted.as_micros()));
    }
    if run.publish_pending {
        put("publish_pending", flag(true));
    }
    put(EXPIRES_AT, expiry(run.created_at, RUN_DAYS));
    Ok(item)
}

/// The run in the list of its month; runs of chunks have a list of their own.
pub(super) fn listed(run: &RunRecord) -> Item {
    let month = Month::of(run.created_at);
    let pk = if run.chunk.is_some() { chunks_pk(month) } else { list_pk(month) };
    let mut item = listed_at(&pk, run.created_at, &run.id);
    item.insert(EXPIRES_AT.to_owned(), expiry(run.created_at, RUN_DAYS));
    item
}

/// An item of a list.
pub(super) fn listed_at(pk: &str, created_at: Millis, id: &RunId) -> Item {
    keyed(pk.to_owned(), list_sk(created_at, id))
}

/// A step. `waiting` is the absence of a state, so that beginning a step is one unconditional `if_not_exists`.
pub(super) fn step(run: &RunId, step: &StepRecord) -> Result<Item, StoreError> {
    let mut item = keyed(run_pk(run), step_sk(&step.plan.name));
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("plan", json(&step.plan)?);
    put("calls", number(step.calls));
    if let Some(key) = &step.key {
        put("key", text(key.as_str()));
    }
    if step.state != StepState::Waiting {
        put("state", word(step.state)?);
    }
    if let Some(source) = step.source {
        put("source", word(source)?);
    }
    if let Some(pinned) = &step.pinned {
        put("pinned", json(pinned)?);
    }
    if let Some(failure) = &step.failure {
        put("failure", json(failure)?);
    }
    if let Some(started_at) = step.started_at {
        put("started_at", number(started_at));
    }
    if let Some(ended_at) = step.ended_at {
        put("ended_at", number(ended_at));
    }
    put(EXPIRES_AT, run_expiry());
    Ok(item)
}
