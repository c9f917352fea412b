//! Steps with the same content key share one job, its result and its failure; a refresh is one job more, whatever happens
//! to it. The queue is held until everybody has joined, and that and the faults are the whole simulator's, so the tests
//! follow each other.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::Manifest;
use fresco_cli::api::Inputs;
use fresco_cli::api::RunRequest;
use fresco_ledger::records::{ResultSource, RunStatus, StepRecord, StepState};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_tests::World;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

const RUNS: usize = 5;
const STEPS: usize = 10;

static SIMULATOR: Mutex<()> = Mutex::const_new(());

/// Ten steps that ask for the same thing, side by side. Each goes its own way: what fails does not end the others.
fn ten(prompt: &str) -> String {
    let step = |n: usize| {
        format!("  - {{ name: s{n}, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\" }} }}\n")
    };
    let steps: String = (1..=STEPS).map(step).collect();
    format!(
        "name: ten\nsettings: {{ fail_fast: false }}\nsteps:\n- type: parallel_group\n  name: all\n  max_workers: {STEPS}\n  steps:\n{steps}"
    )
}

fn one(prompt: &str, cache: &str) -> String {
    format!(
        "name: one\nsteps:\n- {{ name: image, type: text_to_image, model: flux_schnell, cache: {cache}, params: {{ prompt: \"{prompt}\" }} }}\n"
    )
}

async fn concurrency(world: &World, most: usize) {
    world.control("settings", &json!({"concurrency": most})).await;
}

/// Starts the runs at once, with the queue held until every step of theirs has joined the one attempt.
async fn all_joined(world: &World, prompt: &str) -> (Vec<RunId>, ContentKey) {
    concurrency(world, 0).await;
    let document = ten(prompt);
    let request = RunRequest::new(document);
    let inputs = Inputs::default();
    let started = join_all((0..RUNS).map(|_| world.begin(&request, &inputs))).await;
    let runs: Vec<RunId> = started.into_iter().map(Result::unwrap).collect();
    world.until("a step has a key", async || world.step(&runs[0], "s1").await.is_some_and(|s| s.key.is_some())).await;
    let key = world.step(&runs[0], "s1").await.unwrap().key.unwrap();
    world
        .until("everybody has joined", async || {
            let waiters = world.waiters(&key).await;
            waiters.len() == RUNS * STEPS && waiters.iter().all(|waiter| waiter.joined == Attempt(1))
        })
        .await;
    assert_eq!(world.requests_for(prompt).await.len(), 1, "one submit");
    (runs, key)
}

/// Lets the job be worked on, and waits for the runs' ends.
async fn released(world: &World, runs: &[RunId]) -> (Vec<Manifest>, Vec<StepRecord>) {
    concurrency(world, 40).await;
    let manifests = join_all(runs.iter().map(|run| world.ended(run))).await;
    let records = join_all(runs.iter().map(|run| world.record(run))).await;
    (manifests, records.into_iter().flat_map(|(_, steps)| steps).collect())
}

async fn nobody_waits(world: &World, key: &ContentKey) {
    world
        .until("all waiters are notified", async || {
            let entry = world.entry(key).await;
            !entry.notify_pending && entry.pending.is_none() && world.waiters(key).await.is_empty()
        })
        .await;
}

/// Requests, and how many of them were billed.
async fn paid(world: &World, prompt: &str) -> (usize, usize) {
    let requests = world.requests_for(prompt).await;
    let billed = requests.iter().filter(|request| request["billable_units"].as_f64().is_some_and(|units| units > 0.0));
    (requests.len(), billed.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_steps_of_five_runs_are_one_job() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "fifty ask for one picture";
    let (runs, key) = all_joined(&world, prompt).await;
    let (manifests, steps) = released(&world, &runs).await;
    nobody_waits(&world, &key).await;
    assert_eq!(paid(&world, prompt).await, (1, 1));

    let output = &manifests[0].steps[0].outputs[0].key;
    let of = |source| move |step: &&StepRecord| step.source == Some(source);
    assert_eq!(steps.len(), RUNS * STEPS);
    assert!(steps.iter().all(|step| step.pinned.as_ref().is_some_and(|ready| ready.outputs[0].key == *output)));
    assert_eq!(steps.iter().filter(of(ResultSource::Generated)).count(), 1);
    assert_eq!(steps.iter().filter(of(ResultSource::Joined)).count(), RUNS * STEPS - 1);
    assert!(steps.iter().all(|step| step.calls == 1), "each step asked once");

    // The run that submitted pays, and the others say what they saved.
    let (price, free) = (Money::micros(3_000), Money::ZERO);
    for manifest in &manifests {
        assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
        let submitted = manifest.steps.iter().any(|step| step.source == Some(ResultSource::Generated));
        let others = (STEPS - usize::from(submitted)) as u64;
        assert_eq!((manifest.cost, manifest.saved), (if submitted { price } else { free }, price.times(others)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_failure_ends_all_waiters_with_one_job() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "fifty ask for what is refused";
    let fault = json!({"fault": "model_error", "type": "content_policy_violation", "prompt": prompt});
    world.control("faults", &json!([fault])).await;
    let (runs, key) = all_joined(&world, prompt).await;
    let (manifests, steps) = released(&world, &runs).await;
    nobody_waits(&world, &key).await;
    assert_eq!(paid(&world, prompt).await, (1, 0));
    let refused = |step: &StepRecord| {
        let name = step.failure.as_ref().map(|failure| failure.name);
        (step.state, name, step.calls) == (StepState::Failed, Some(ErrorName::ProviderContentPolicy), 1)
    };
    assert!(steps.len() == RUNS * STEPS && steps.iter().all(refused), "each is notified once");
    for manifest in &manifests {
        let why = manifest.failure.as_ref().map(|failure| failure.name);
        assert_eq!((manifest.status, why), (RunStatus::Failed, Some(ErrorName::ProviderContentPolicy)));
    }

    // A later run may try again, with one job.
    world.forget_faults().await;
    let later = world.run(&ten(prompt), "unused").await;
    assert_eq!((later.status, paid(&world, prompt).await), (RunStatus::Succeeded, (2, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retryable_failure_wakes_the_leader_and_not_its_waiters() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "fifty ask, and a machine breaks";
    let fault =
        json!({"fault": "infrastructure_end", "error_type": "runner_disconnected", "times": 1, "prompt": prompt});
    world.control("faults", &json!([fault])).await;
    let (runs, key) = all_joined(&world, prompt).await;
    let leader = world.entry(&key).await.pending.unwrap().leader;
    let (manifests, steps) = released(&world, &runs).await;
    nobody_waits(&world, &key).await;
    world.forget_faults().await;
    assert_eq!(paid(&world, prompt).await, (2, 1));
    assert!(manifests.iter().all(|manifest| manifest.status == RunStatus::Succeeded));
    assert!(steps.iter().all(|step| step.pinned.as_ref().is_some_and(|ready| ready.attempt == Attempt(2))));
    let again: Vec<&StepRecord> = steps.iter().filter(|step| step.calls > 1).collect();
    assert_eq!(
        again.iter().map(|step| (&step.run, &step.plan.name)).collect::<Vec<_>>(),
        [(&leader.run, &leader.step.name)]
    );
    assert_eq!(steps.iter().filter(|step| step.source == Some(ResultSource::Generated)).count(), 1);
    assert_eq!(manifests.iter().map(|manifest| manifest.cost).sum::<Money>(), Money::micros(3_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_waits_for_the_attempt_under_way_and_submits_its_own() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "a picture, and a fresh one";
    concurrency(&world, 0).await;
    let using = world.start(&one(prompt, "use"), "unused").await;
    let source = async |run| world.step(run, "image").await.and_then(|step| step.source);
    world.until("it is submitted", async || source(&using).await == Some(ResultSource::Generated)).await;
    let key = world.step(&using, "image").await.unwrap().key.unwrap();
    let fresh = world.start(&one(prompt, "refresh"), "unused").await;
    world
        .until("the refresh waits for it", async || {
            let waiters = world.waiters(&key).await;
            waiters.len() == 2 && waiters.iter().all(|waiter| waiter.joined == Attempt(1))
        })
        .await;
    assert_eq!(paid(&world, prompt).await, (1, 0));
    concurrency(&world, 40).await;
    let (using, fresh) = (world.ended(&using).await, world.ended(&fresh).await);
    for (manifest, attempt) in [(&using, 1), (&fresh, 2)] {
        let step = &manifest.steps[0];
        assert_eq!((step.source, step.attempt), (Some(ResultSource::Generated), Some(Attempt(attempt))));
        assert_eq!((manifest.status, manifest.cost), (RunStatus::Succeeded, Money::micros(3_000)));
    }
    nobody_waits(&world, &key).await;
    assert_eq!(paid(&world, prompt).await, (2, 2));

    // What was fresh is what later runs find; the older object belongs to no result any more, and exists until it expires.
    let later = world.run(&one(prompt, "use"), "unused").await;
    assert_eq!((later.steps[0].source, later.steps[0].attempt), (Some(ResultSource::Hit), Some(Attempt(2))));
    assert_eq!(later.steps[0].outputs, fresh.steps[0].outputs);
    assert!(world.head(&using.steps[0].outputs[0].key).await.is_some());
    assert_eq!(paid(&world, prompt).await, (2, 2));
}

/// One that fails keeps what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_refresh_keeps_the_result() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "a picture that cannot be had again";
    let first = world.run(&one(prompt, "use"), "unused").await;
    let fault = json!({"fault": "model_error", "type": "content_policy_violation", "prompt": prompt});
    world.control("faults", &json!([fault])).await;
    let fresh = world.run(&one(prompt, "refresh"), "unused").await;
    world.forget_faults().await;
    let why = fresh.failure.map(|failure| failure.name);
    assert_eq!((fresh.status, why), (RunStatus::Failed, Some(ErrorName::ProviderContentPolicy)));
    let later = world.run(&one(prompt, "use"), "unused").await;
    assert_eq!((later.steps[0].source, &later.steps[0].outputs), (Some(ResultSource::Hit), &first.steps[0].outputs));
    assert_eq!(paid(&world, prompt).await, (2, 1));
}
