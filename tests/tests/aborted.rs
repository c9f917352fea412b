//! A run whose execution is aborted. It changes the simulator's settings, so it has a stack of its own.

use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_tests::{World, document};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_execution_is_aborted_is_closed_by_its_event() {
    let world = World::get().await;
    // Nothing is worked on until this is raised.
    world.control("settings", &json!({"concurrency": 0})).await;
    let run = world.start(&document("flux_schnell"), "aborted while it is queued").await;
    world
        .until("the job is submitted", async || {
            world.step(&run, "image").await.is_some_and(|step| step.source == Some(ResultSource::Generated))
        })
        .await;
    world.abort(&run).await;
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Failed);
    assert_eq!(manifest.failure.unwrap().name, ErrorName::RunStopped);
    // A queued job that no other step waits for is cancelled, so the next run submits another.
    let key = &manifest.steps[0].key.clone().unwrap();
    let ended = async || {
        let entry = world.entry(key).await;
        entry.pending.is_none() && entry.result.is_none()
    };
    world.until("the job is cancelled", ended).await;
    world.control("settings", &json!({"concurrency": 40})).await;
    let next = world.run(&document("flux_schnell"), "aborted while it is queued").await;
    assert_eq!((next.status, next.steps[0].source), (RunStatus::Succeeded, Some(ResultSource::Generated)));
    assert_eq!(world.requests_for("aborted while it is queued").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_run_submits_nothing_new() {
    let world = World::get().await;
    // One after the other, and stopped during the first.
    let text = "settings: {parallel: false}\nsteps:\n- {name: a, type: text_to_image, model: imagen4}\n- {name: b, type: text_to_image, model: imagen4, take: 2}\n";
    let run = world.start(text, "stopped between two").await;
    world
        .until("the first is submitted", async || world.step(&run, "a").await.is_some_and(|step| step.source.is_some()))
        .await;
    assert!(world.api.stop(&run).await.unwrap().was_running);
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Stopped);
    assert_eq!(world.requests_for("stopped between two").await.len(), 1);
}
