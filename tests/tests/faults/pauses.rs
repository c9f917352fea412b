//! Pauses: a provider's hint is honoured within bounds, and a retryable failure wakes one step and not all waiters.

use std::path::Path;

use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_tests::World;
use serde_json::json;

use super::SIMULATOR;
use super::drive::Driver;

/// Side by side, all of them for the same picture.
const STEPS: usize = 20;
/// The most that a hint may delay the next attempt, in milliseconds.
const MAX_HINT: i64 = 300_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_of_a_year_does_not_delay_a_run_for_long() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let (prompt, year) = ("come back next year", 31_536_000);
    let count = json!({"fault": "unauthorized", "prompt": prompt, "skip": 1_000_000});
    let rule = json!({"fault": "throttled", "prompt": prompt, "retry_after": year, "times": 1});
    world.control("faults", &json!([count, rule])).await;
    let run = world.start(&fresco_tests::document("flux_schnell"), prompt).await;
    let driver = Driver { world: &world, folder: Path::new("") };
    let failed = async || driver.entry(&run).await.and_then(|entry| entry.failure);
    world.until("the provider has refused", async || failed().await.is_some()).await;
    let failure = failed().await.unwrap();
    let (record, _) = world.admin.status(&run).await.unwrap();
    let pause = failure.not_before - record.created_at;
    assert!((MAX_HINT..MAX_HINT + 60_000).contains(&pause), "{pause} ms");
    assert_eq!((failure.retryable, failure.failure.name), (true, ErrorName::ProviderThrottled));
    assert_eq!(record.held.as_micros(), 0, "what is not submitted reserves nothing");

    // When the pause is over, it is submitted once more; before, it was not.
    assert_eq!(world.control_state("faults").await[0]["seen"], 1);
    driver.world.age(&driver.entry(&run).await.unwrap().key, MAX_HINT).await;
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(world.control_state("faults").await[0]["seen"], 2);
    world.forget_faults().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retryable_failure_wakes_the_leader_only() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "twenty steps and a crowded provider";
    let count = json!({"fault": "unauthorized", "prompt": prompt, "skip": 1_000_000});
    world.control("faults", &json!([count, {"fault": "throttled", "prompt": prompt, "times": 2}])).await;
    let steps: String = (1..=STEPS)
        .map(|number| {
            format!("  - {{ name: s{number}, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\" }} }}\n")
        })
        .collect();
    let document = format!("steps:\n- type: parallel_group\n  name: all\n  max_workers: {STEPS}\n  steps:\n{steps}");
    let manifest = world.run(&document, "unused").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    let of = |source| manifest.steps.iter().filter(|step| step.source == Some(source)).count();
    assert_eq!((of(ResultSource::Generated), manifest.steps.len()), (1, STEPS));
    assert_eq!(world.control_state("faults").await[0]["seen"], 3, "two were refused, one was accepted");
    assert_eq!(world.requests_for(prompt).await.len(), 1);
    world.forget_faults().await;
}
