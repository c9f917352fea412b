//! Stopping a run on the real state machine: nothing new is submitted, a queued job that no other run waits for is cancelled,
//! what is worked on is paid and kept, and the run ends. The queue is held back by the simulator's concurrency, which is
//! the whole stack's, so this suite has one to itself and its parts follow each other.

use fresco_ledger::records::{AttemptStage, ResultSource, RunStatus, StepState};
use fresco_ledger::traits::Entries;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::RunId;
use fresco_tests::{RawClient, World};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Three pictures, two at a time.
fn document(prompt: &str) -> String {
    let step = |n: usize| {
        format!("  - {{ name: s{n}, type: text_to_image, model: imagen4, params: {{ prompt: \"{prompt} {n}\" }} }}\n")
    };
    let steps: String = (1..=3).map(step).collect();
    format!("steps:\n- type: parallel_group\n  name: g\n  max_workers: 2\n  steps:\n{steps}")
}

async fn concurrency(world: &World, most: usize) {
    world.control("settings", &json!({"concurrency": most})).await;
}

async fn statuses(world: &World, prompt: &str) -> Vec<Value> {
    let requests = world.requests_with(|asked| asked.starts_with(prompt)).await;
    requests.into_iter().map(|request| json!([request.record["status"], request.record["error_type"]])).collect()
}

/// Waits until both of the first two steps have their jobs, noted in the ledger, and one of the jobs is worked on.
async fn both_submitted(world: &World, run: &RunId, prompt: &str) {
    let noted = async |step: &str| match world.step(run, step).await.and_then(|step| step.key) {
        Some(key) => {
            let entry = world.ledger().entry(&key).await.ok().flatten();
            entry.and_then(|entry| entry.pending).is_some_and(|pending| pending.stage == AttemptStage::Submitted)
        }
        None => false,
    };
    world.until("two jobs are submitted", async || noted("s1").await && noted("s2").await).await;
    world
        .until("one is worked on", async || {
            statuses(world, prompt).await.iter().filter(|one| one[0] == "IN_PROGRESS").count() == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_stopped_while_it_runs() {
    let world = World::get().await;
    // One job is worked on and takes long enough, the other waits in the queue, the third step has not started.
    world.control("settings", &json!({"concurrency": 1, "scale": 1.0})).await;
    let run = world.start(&document("stopped"), "unused").await;
    both_submitted(&world, &run, "stopped").await;
    let stopped = world.api.stop(&run).await.unwrap();
    assert!(stopped.was_running);
    assert_eq!((stopped.done, stopped.going_on, stopped.cancelled), (0, 1, 1));
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Stopped);
    assert!(manifest.steps.iter().all(|step| step.state == StepState::Failed));
    assert!(manifest.steps.iter().all(|step| {
        step.failure
            .as_ref()
            .is_some_and(|failure| matches!(failure.name, ErrorName::RunStopped | ErrorName::StepSkipped))
    }));
    // Again is no error, and does nothing.
    assert!(!world.api.stop(&run).await.unwrap().was_running);

    // What is worked on finishes into the ledger, and its hold ends; so does that of the cancelled one.
    let keys = [0, 1].map(|n| manifest.steps[n].key.clone().unwrap());
    world
        .until("the paid result is kept", async || {
            // Whichever of the two came first is the one that is worked on.
            world.entry(&keys[0]).await.result.is_some() || world.entry(&keys[1]).await.result.is_some()
        })
        .await;
    world.until("no hold is left", async || world.admin.status(&run).await.unwrap().0.held.as_micros() == 0).await;
    let (record, _) = world.admin.status(&run).await.unwrap();
    assert_eq!(record.settled, manifest.steps[0].price, "one picture is paid");
    assert_eq!(
        statuses(&world, "stopped").await,
        [json!(["COMPLETED", null]), json!(["COMPLETED", "client_cancelled"])],
        "nothing new was submitted"
    );

    // The next run pays only for the missing result. A cancelled job fails no other step.
    world.control("settings", &json!({"concurrency": 40, "scale": 0.02})).await;
    let next = world.run(&document("stopped"), "unused").await;
    assert_eq!(next.status, RunStatus::Succeeded, "{:?}", next.failure);
    let of = |source| next.steps.iter().filter(|step| step.source == Some(source)).count();
    assert_eq!((of(ResultSource::Hit), of(ResultSource::Generated)), (1, 2));
    assert_eq!(statuses(&world, "stopped").await.len(), 4);

    // A job that another run waits for is not cancelled.
    concurrency(&world, 0).await;
    let [one, other] =
        [world.start(&document("shared"), "unused").await, world.start(&document("shared"), "unused").await];
    world.until("jobs are submitted", async || statuses(&world, "shared").await.len() == 2).await;
    world
        .until("the other run has joined", async || {
            let step = world.step(&other, "s2").await;
            step.is_some_and(|step| step.source.is_some())
        })
        .await;
    let stopped = world.api.stop(&one).await.unwrap();
    assert_eq!(stopped.cancelled, 0);
    assert_eq!(world.ended(&one).await.status, RunStatus::Stopped);
    concurrency(&world, 40).await;
    let other = world.ended(&other).await;
    assert_eq!(other.status, RunStatus::Succeeded, "{:?}", other.failure);
    assert_eq!(statuses(&world, "shared").await.len(), 3);

    in_the_middle_of_a_video(&world).await;
}

/// Stopped through the API while a clip is worked on: the clip is paid and kept, later steps do not start, and the next
/// run pays for that alone.
async fn in_the_middle_of_a_video(world: &World) {
    let prompt = "stopped in a video";
    let document = format!(
        "steps:\n\
         - {{ name: scene, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}, scene\" }} }}\n\
         - {{ name: clip, type: image_to_video, model: hailuo, params: {{ prompt: \"{prompt}, clip\" }} }}\n\
         - {{ name: poster, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}, poster\" }} }}\n"
    );
    world.control("settings", &json!({"scale": 0.1})).await;
    let asking = RawClient::new(world);
    let (_, started) = asking.start(None, &json!({"pipeline": document})).await;
    let run = RawClient::id_of(&started);
    let clip = async || world.requests_with(|asked| asked == format!("{prompt}, clip")).await;
    let at_work = async || clip().await.first().is_some_and(|clip| clip.record["status"] == "IN_PROGRESS");
    world.until("the clip is worked on", at_work).await;
    let (status, stopped) = asking.ask(Method::DELETE, &format!("/runs/{run}"), None, None).await;
    assert_eq!((status, stopped["was_running"].as_bool()), (StatusCode::OK, Some(true)), "{stopped}");
    assert_eq!((stopped["done"].as_u64(), stopped["going_on"].as_u64()), (Some(1), Some(1)), "{stopped}");
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Stopped);
    let kept = async || match &manifest.steps[1].key {
        Some(key) => world.entry(key).await.result.is_some(),
        None => false,
    };
    world.until("the paid clip is in the ledger", kept).await;
    let (_, shown) = asking.get(&format!("/runs/{run}")).await;
    let paid = manifest.steps[0].price + manifest.steps[1].price;
    assert_eq!((shown["spent"].as_i64(), shown["held"].as_i64()), (Some(paid.as_micros()), Some(0)), "{shown}");
    assert_eq!(statuses(world, prompt).await.len(), 2, "nothing new was submitted");

    let next = world.run(&document, "unused").await;
    assert_eq!(next.status, RunStatus::Succeeded, "{:?}", next.failure);
    let sources: Vec<_> = next.steps.iter().map(|step| step.source).collect();
    assert_eq!(sources, [Some(ResultSource::Hit), Some(ResultSource::Hit), Some(ResultSource::Generated)]);
    assert_eq!(next.cost, next.steps[2].price);
    assert_eq!(statuses(world, prompt).await.len(), 3);
}
