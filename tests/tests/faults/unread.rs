//! A job whose end the provider cannot say for a day: it is given up as billed, and watched for another day.

use std::path::Path;

use fresco_ledger::records::{AttemptStage, ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_tests::{DAY, World, document};
use serde_json::json;

use super::SIMULATOR;
use super::drive::{Driver, MINUTES};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_end_cannot_be_read_for_a_day_is_given_up_as_billed_and_watched_for_another() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = "its end cannot be read";
    let rule = |fault: &str| json!({"fault": fault, "prompt": prompt});
    world.control("faults", &json!([rule("webhook_lost"), rule("status_error")])).await;
    let run = world.start(&document("flux_schnell"), prompt).await;
    let driver = Driver { world: &world, folder: Path::new("") };
    world
        .until("the job is submitted", async || {
            let pending = driver.entry(&run).await.and_then(|entry| entry.pending);
            pending.is_some_and(|pending| pending.stage == AttemptStage::Submitted)
        })
        .await;
    let key = driver.entry(&run).await.unwrap().key;
    world.age(&key, DAY + MINUTES).await;
    world.admin.sweep().await.unwrap();
    let manifest = world.ended(&run).await;
    let failure = manifest.failure.unwrap();
    assert_eq!((manifest.status, failure.name), (RunStatus::Failed, ErrorName::ProviderFailed));
    assert!(failure.message.contains("could not say for a day"), "{failure}");
    let (record, _) = world.admin.status(&run).await.unwrap();
    assert_eq!((record.settled, record.held.as_micros()), (manifest.steps[0].price, 0));
    world.until("it is watched", async || !world.entry(&key).await.late_completions.is_empty()).await;
    let watched = world.entry(&key).await.late_completions[0].until.unwrap() - world.now();
    assert!((DAY - MINUTES..=DAY).contains(&watched), "{watched} ms");

    // What the provider says within that day is taken.
    world.forget_faults().await;
    world
        .until("the result is collected", async || {
            world.age(&key, MINUTES).await;
            world.admin.sweep().await.unwrap();
            world.entry(&key).await.result.is_some()
        })
        .await;
    let next = world.run(&document("flux_schnell"), prompt).await;
    assert_eq!((next.status, next.steps[0].source), (RunStatus::Succeeded, Some(ResultSource::Hit)));
    assert_eq!(world.requests_for(prompt).await.len(), 1);
}
