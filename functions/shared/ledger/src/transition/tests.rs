//! The transition table of the design, row by row, each condition true and false; the money; and the notifications. The
//! engine's simulation checks that the transitions keep the guarantees together under interleavings.

mod complete;
mod fetch;
mod money;
mod notify;
mod repair;
mod submit;

use fresco_pipeline::catalogue::{MediaKind, ProviderName, StepType};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, TokenHash};
use fresco_pipeline::money::Money;
use fresco_pipeline::request::GenerationRequest;
use serde_json::Map;

use super::{AcquireRequest, Acquisition, AttemptFailure, Completion, acquire};
use crate::records::{AttemptRecord, CachedResult, Entry, Millis, StepId, Waiter};
use crate::traits::Change;

/// The time of the start of each test.
const NOW: Millis = 1_800_000_000_000;
/// The time from a claim until its submitter has surely ended.
const DEAD_AFTER: Millis = 390_000;
const PRICE: Money = Money::micros(3_000);

fn step_id(step: &str) -> StepId {
    StepId { run: RunId::parse("run-00000001").unwrap(), step: step.parse().unwrap() }
}

fn waiter(step: &str, joined: u32, base: u32) -> Waiter {
    Waiter {
        step_id: step_id(step),
        token: format!("token of {step}"),
        joined: Attempt(joined),
        base: Attempt(base),
        since: NOW,
        running_since: None,
        timeout_ms: 30_000,
    }
}

fn ready(attempt: u32) -> CachedResult {
    CachedResult {
        attempt: Attempt(attempt),
        outputs: Vec::new(),
        created_at: NOW,
        cost: PRICE,
        took_ms: 1,
        shortfall: None,
    }
}

fn entry() -> Entry {
    Entry::new(ContentKey::digest(b"key"))
}

/// The decision on a step's request. `usable` says that the objects of the result exist.
fn answer(entry: &Entry, waiter: &Waiter, usable: bool, now: Millis) -> Acquisition {
    let request = GenerationRequest {
        provider: ProviderName::Fal,
        step: StepType::TextToImage,
        model: "flux_schnell".to_owned(),
        endpoint: "fal-ai/flux/schnell".to_owned(),
        params: Map::new(),
        inputs: Vec::new(),
        repetition: 1,
        kind: MediaKind::Image,
    };
    let asked = AcquireRequest {
        waiter,
        usable,
        request: &request,
        price: PRICE,
        token_hash: &TokenHash::of("token"),
        lease_until: now + 90_000,
        submitter_dead_at: now + DEAD_AFTER,
        now,
    };
    acquire(entry, &asked)
}

/// The claim of this waiter.
fn claim(entry: &Entry, waiter: &Waiter, now: Millis) -> Change {
    match answer(entry, waiter, false, now) {
        Acquisition::Claim(change) => *change,
        other => panic!("not a claim: {other:?}"),
    }
}

/// The records after a change.
fn after(change: Change, record: &AttemptRecord) -> (Entry, AttemptRecord) {
    let entry = Entry { rev: change.entry.rev + 1, ..change.entry };
    // Sweep checks an entry exactly if an attempt, a late completion or a notification is pending.
    assert_eq!(
        entry.next_check_at.is_some(),
        entry.pending.is_some() || !entry.late_completions.is_empty() || entry.notify_pending
    );
    (entry, change.attempt.unwrap_or_else(|| record.clone()))
}

/// An entry with its first attempt claimed by `leader`.
fn claimed() -> (Entry, AttemptRecord) {
    next_claim(&entry())
}

/// The entry with its next attempt claimed by `leader`, as soon as it may be.
fn next_claim(entry: &Entry) -> (Entry, AttemptRecord) {
    let now = entry.failure.as_ref().map_or(NOW, |failure| failure.not_before);
    let change = claim(entry, &waiter("leader", 0, 0), now);
    let record = change.attempt.clone().unwrap();
    after(change, &record)
}

fn completion(cost: Money) -> Completion {
    Completion { outputs: Vec::new(), created_at: NOW, cost, shortfall: None }
}

fn outcome(name: ErrorName, billed: Money) -> AttemptFailure {
    AttemptFailure { failure: Failure::new(name, "what happened"), retry_after: None, billed }
}
