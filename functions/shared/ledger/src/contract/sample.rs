//! Rows to test with. Every optional part is there, so that what comes back can be compared as a whole.

use fresco_pipeline::catalogue::{MediaKind, ProviderName, StepType};
use fresco_pipeline::document::{CachePolicy, Piece, TextSlot};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName, TokenHash};
use fresco_pipeline::media::{FieldMedia, Media, MediaRef, Shortfall};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::PlannedStep;
use fresco_pipeline::request::GenerationRequest;
use serde_json::{Map, Value, json};

use crate::records::{
    AttemptRecord, AttemptStage, AttemptState, CachedResult, Entry, Hold, HoldState, LastFailure, LateCompletion,
    Millis, PendingAttempt, RunRecord, RunStatus, StepId, StepRecord, StepState,
};
use crate::traits::{Change, Wait};

/// A time: 2026-09-21, in the second half of its month.
pub const NOW: Millis = 1_790_000_000_000;

/// A content key.
pub fn key(name: &str) -> ContentKey {
    ContentKey::digest(name.as_bytes())
}

/// A run's id.
pub fn run_id(name: &str) -> RunId {
    RunId::parse(format!("run-{name}-000000")).unwrap()
}

/// A step of a run.
pub fn step_id(run: &str, step: &str) -> StepId {
    StepId { run: run_id(run), step: step.parse().unwrap() }
}

/// A result with one output.
pub fn ready(attempt: u32) -> CachedResult {
    CachedResult {
        attempt: Attempt(attempt),
        outputs: vec![Media {
            key: format!("outputs/image/k/{attempt}/0.png"),
            kind: MediaKind::Image,
            content_type: "image/png".to_owned(),
            bytes: 12_345,
            sha256: "ab".repeat(32),
            width: Some(1024),
            height: Some(768),
            duration_ms: None,
        }],
        created_at: NOW,
        cost: Money::micros(3_000),
        took_ms: 2_500,
        shortfall: Some(Shortfall::Outputs { asked: 4, given: 1, blanked: 2 }),
    }
}

/// A failure.
pub fn failure(message: &str) -> Failure {
    Failure::new(ErrorName::ProviderRejected, message)
}

/// An entry that holds everything an entry can hold.
pub fn full_entry(name: &str) -> Entry {
    Entry {
        key: key(name),
        rev: 0,
        result: Some(ready(1)),
        whole: Some(ready(1)),
        pending: Some(PendingAttempt {
            attempt: Attempt(2),
            stage: AttemptStage::Submitted,
            token_hash: TokenHash::of("token"),
            lease_until: NOW + 60_000,
            request_id: Some("request-1".to_owned()),
            leader: step_id("leader", "image"),
            lookups: 1,
            checks: 2,
            unknown: None,
            next_check_at: NOW + 2_000,
            cancelling: true,
        }),
        failure: Some(LastFailure {
            attempt: Attempt(1),
            failure: failure("no \"such\" size \u{1f308}"),
            retryable: true,
            not_before: NOW + 1_000,
            leader: step_id("leader", "image"),
            unfetched: true,
        }),
        late_completions: vec![LateCompletion {
            attempt: Attempt(1),
            next_check_at: NOW + 3_000,
            until: Some(NOW + 9_000),
        }],
        last_attempt: Attempt(2),
        tries: 3,
        failing_since: Some(NOW - 1_000),
        empty_answers: 2,
        lost: 4,
        notify_pending: true,
        next_check_at: Some(NOW),
    }
}

/// An attempt whose hold is on this run.
pub fn attempt(name: &str, number: u32, run: &str) -> AttemptRecord {
    let mut params = Map::new();
    params.insert("prompt".to_owned(), Value::from("a fox in the snow, \"oil on canvas\"\n\u{1f98a}"));
    params.insert("image_size".to_owned(), json!({ "width": 1024, "height": 768 }));
    params.insert("guidance_scale".to_owned(), json!(3.5));
    AttemptRecord {
        key: key(name),
        attempt: Attempt(number),
        token_hash: TokenHash::of("token"),
        state: AttemptState::Open,
        request_id: Some("request-1".to_owned()),
        request: GenerationRequest {
            provider: ProviderName::Fal,
            step: StepType::TextToImage,
            model: "flux_dev".to_owned(),
            endpoint: "fal-ai/flux/dev".to_owned(),
            params,
            inputs: vec![FieldMedia { to: "image_urls".to_owned(), list: true, media: ready(1).outputs }],
            repetition: 1,
            kind: MediaKind::Image,
        },
        claimed_at: NOW,
        submitter_dead_at: NOW + 360_000,
        hold: Hold { run: run_id(run), amount: Money::micros(25_000), state: HoldState::Held },
        fetching: None,
    }
}

/// A running run with this rest of its budget.
pub fn run(name: &str, remaining: i64) -> RunRecord {
    RunRecord {
        id: run_id(name),
        name: "a pipeline of \"mine\"".to_owned(),
        status: RunStatus::Running,
        stop: false,
        fail_fast: true,
        remaining: Money::micros(remaining),
        held: Money::ZERO,
        settled: Money::ZERO,
        created_at: NOW,
        ended_at: None,
        bound_at: None,
        chunk: None,
        granted: None,
        counted: false,
        publish_pending: false,
        steps: 0,
        failure: None,
        export: None,
    }
}

/// A step that waits, at this place of the document; `7-image` is a step of row 7.
pub fn step(run: &str, name: &str, index: u32) -> StepRecord {
    let (request, id) = (attempt(name, 1, run).request, step_id(run, name).step);
    StepRecord {
        run: run_id(run),
        plan: PlannedStep {
            row: id.row,
            of: id.name.clone(),
            name: id.name,
            index,
            step: request.step,
            model: request.model,
            provider: request.provider,
            endpoint: request.endpoint,
            params: request.params,
            texts: vec![TextSlot {
                to: "prompt".to_owned(),
                max_chars: 100,
                pieces: vec![Piece::Text("after \"".to_owned()), Piece::Step(StepName::parse("before").unwrap())],
            }],
            media: vec![FieldMedia {
                to: "image_url".to_owned(),
                list: false,
                media: vec![MediaRef::Output { step: StepName::parse("before").unwrap(), index: 1 }],
            }],
            repetition: 1,
            cache: CachePolicy::Use,
            price: Money::micros(25_000),
            outputs: 1,
            kind: request.kind,
            timeout: 30,
            typical: 8,
            fail_fast: true,
            uncacheable: false,
        },
        key: Some(key(name)),
        state: StepState::Waiting,
        source: None,
        pinned: None,
        failure: None,
        started_at: None,
        ended_at: None,
        calls: 0,
    }
}

/// A wait with this token.
pub fn wait(step_id: &StepId, token: &str, base: u32, now: Millis) -> Wait {
    Wait { step_id: step_id.clone(), token: token.to_owned(), base: Attempt(base), now, timeout_ms: 30_000 }
}

/// A change of a new entry about which nothing else is known.
pub fn creation(name: &str) -> Change {
    Change::of(Entry::new(key(name)))
}
