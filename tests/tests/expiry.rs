//! Stored results are removed, damaged or expire: they are never returned as a hit, a job under way is not paid again, and a run repairs the entries that it reads.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::{Manifest, MissReason, Preview};
use fresco_cli::api::save;
use fresco_ledger::records::{AttemptStage, ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_tests::{DAY, Damage, World};
use serde_json::json;
use tokio::sync::Mutex;

/// The queue is the whole simulator's.
static QUEUE: Mutex<()> = Mutex::const_new(());

/// One step of this prompt. Documents of other prompts are other pipelines.
fn document(prompt: &str) -> String {
    format!(
        "name: \"{prompt}\"\nsteps: [{{ name: image, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\", seed: 3 }} }}]\n"
    )
}

async fn run(world: &World, prompt: &str) -> Manifest {
    let manifest = world.run(&document(prompt), "unused").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{prompt}: {:?}", manifest.failure);
    manifest
}

fn only(preview: &Preview) -> Option<MissReason> {
    preview.steps[0].why.clone()
}

fn key(manifest: &Manifest) -> &ContentKey {
    manifest.steps[0].key.as_ref().unwrap()
}

/// A run generates it again under a new attempt; its objects exist, and the next run hits it.
async fn generated_again(world: &World, prompt: &str, why: MissReason) -> Manifest {
    let (submits, preview) = (world.requests_for(prompt).await.len(), world.preview(&document(prompt), "unused").await);
    assert_eq!(only(&preview), Some(why), "{prompt}");
    let again = run(world, prompt).await;
    let step = &again.steps[0];
    assert_eq!(step.source, Some(ResultSource::Generated), "{prompt}");
    let result = world.entry(key(&again)).await.result.unwrap();
    assert_eq!((Some(result.attempt), &result.outputs), (step.attempt, &step.outputs), "{prompt}");
    assert_eq!(world.admin.object(&step.outputs[0].key).await.unwrap().len() as u64, step.outputs[0].bytes);
    let next = run(world, prompt).await;
    assert_eq!((next.steps[0].source, next.steps[0].attempt), (Some(ResultSource::Hit), step.attempt), "{prompt}");
    assert_eq!(world.requests_for(prompt).await.len(), submits + 1, "{prompt}");
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_replaced_object_is_generated_again() {
    let world = World::get().await;
    for (prompt, is_there) in [("gone by hand", false), ("short by hand", true)] {
        let first = run(&world, prompt).await;
        let object = &first.steps[0].outputs[0].key;
        if is_there {
            world.put_object(object, b"not the picture").await;
        } else {
            world.remove_object(object).await;
        }
        let again = generated_again(&world, prompt, MissReason::Gone).await;
        assert_eq!(again.steps[0].attempt, Some(Attempt(2)), "{prompt}");
        assert_ne!(&again.steps[0].outputs[0].key, object, "the object under the old key belongs to no result");
        assert_eq!(again.steps[0].outputs[0].sha256, first.steps[0].outputs[0].sha256, "seeded, so the same picture");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_entry_is_put_aside_and_replaced() {
    let world = World::get().await;
    for (prompt, damage, least) in [
        ("an entry without tries", Damage::Lost("tries"), 2),
        ("an entry of another layout", Damage::Layout(0), 2),
        // Its attempts are there still, but not every number that was given out: many are passed over.
        ("an entry without a number", Damage::Lost("last"), 1_000),
    ] {
        let first = run(&world, prompt).await;
        let before = world.entry(key(&first)).await;
        world.damage_entry(key(&first), damage).await;
        let again = generated_again(&world, prompt, MissReason::Unreadable).await;
        assert!(again.steps[0].attempt >= Some(Attempt(least)), "{prompt}: {:?}", again.steps[0].attempt);
        // The record that was put aside shows the former result.
        let aside = world.put_aside(key(&first)).await;
        assert_eq!(aside.len(), 1, "{prompt}");
        let result = aside[0]["result"].as_s().unwrap();
        assert!(result.contains(&before.result.unwrap().outputs[0].key), "{prompt}: {result}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_does_not_pay_twice_for_an_attempt_under_way() {
    let _queue = QUEUE.lock().await;
    let world = World::get().await;
    // The damage is found by another run, the sweep, or the webhook.
    let cases = [
        ("damaged, and joined", Damage::Layout(0)),
        ("damaged, and swept", Damage::Lost("rev")),
        ("damaged, and reported", Damage::Lost("notify_pending")),
    ];
    world.control("settings", &json!({"concurrency": 0})).await;
    let mut runs = Vec::new();
    for (prompt, damage) in cases {
        let first = world.start(&document(prompt), "unused").await;
        let source = async || world.step(&first, "image").await.and_then(|step| step.source);
        world.until("it is submitted", async || source().await == Some(ResultSource::Generated)).await;
        let key = world.step(&first, "image").await.unwrap().key.unwrap();
        if prompt == cases[1].0 {
            // The sweep looks at what is due.
            world.age(&key, 1_000_000).await;
        }
        world.damage_entry(&key, damage).await;
        assert_eq!(only(&world.preview(&document(prompt), "unused").await), Some(MissReason::Unreadable), "{prompt}");
        runs.push((first, key));
    }

    let [joined, swept, reported] = [0, 1, 2].map(|case| &runs[case].1);
    let other = world.start(&document(cases[0].0), "unused").await;
    world.until("the other run has joined", async || world.waiters(joined).await.len() == 2).await;
    world.until("its entry is repaired", async || !world.put_aside(joined).await.is_empty()).await;
    world.admin.sweep().await.unwrap();
    for key in [joined, swept] {
        let pending = world.entry(key).await.pending.unwrap();
        assert_eq!((pending.attempt, pending.stage), (Attempt(1), AttemptStage::Submitted));
    }
    assert!(world.put_aside(reported).await.is_empty(), "the damage is not found yet");
    world.control("settings", &json!({"concurrency": 40})).await;

    let other = world.ended(&other).await;
    assert_eq!((other.status, other.steps[0].source), (RunStatus::Succeeded, Some(ResultSource::Joined)));
    for ((first, key), (prompt, _)) in runs.iter().zip(cases) {
        let manifest = world.ended(first).await;
        let step = &manifest.steps[0];
        assert_eq!((step.source, step.attempt), (Some(ResultSource::Generated), Some(Attempt(1))), "{prompt}");
        assert_eq!(world.requests_for(prompt).await.len(), 1, "{prompt}: paid once");
        assert_eq!(world.put_aside(key).await.len(), 1, "{prompt}");
        assert_eq!(run(&world, prompt).await.steps[0].source, Some(ResultSource::Hit), "{prompt}");
        assert_eq!(world.record(first).await.0.held.as_micros(), 0, "{prompt}");
    }
}

/// A job whose record cannot be read cannot be polled: the step fails with that reason, and is not paid again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_attempt_fails_and_is_paid_again_only_by_a_new_run() {
    let _queue = QUEUE.lock().await;
    let world = World::get().await;
    for (prompt, entry_too) in [("an attempt of another layout", false), ("both of another layout", true)] {
        world.control("settings", &json!({"concurrency": 0})).await;
        let first = world.start(&document(prompt), "unused").await;
        let source = async || world.step(&first, "image").await.and_then(|step| step.source);
        world.until("it is submitted", async || source().await == Some(ResultSource::Generated)).await;
        let key = world.step(&first, "image").await.unwrap().key.unwrap();
        // The webhook may be too late to find out; sweep looks at what is due.
        world.age(&key, 1_000_000).await;
        world.damage_attempt(&key, 1, Damage::Layout(0)).await;
        if entry_too {
            world.damage_entry(&key, Damage::Layout(0)).await;
        }
        world
            .until("the damage is found, and the step notified", async || {
                // As it does every minute.
                world.admin.sweep().await.unwrap();
                world.age(&key, 1_000_000).await;
                world.record(&first).await.0.status.is_final()
            })
            .await;
        world.control("settings", &json!({"concurrency": 40})).await;
        let manifest = world.ended(&first).await;
        let why = manifest.steps[0].failure.as_ref().map(|failure| failure.name);
        assert_eq!((manifest.status, why), (RunStatus::Failed, Some(ErrorName::StepUnknown)), "{prompt}");
        let record = world.record(&manifest.run_id).await.0;
        assert_eq!(
            (record.held.as_micros(), record.settled),
            (0, manifest.steps[0].price),
            "{prompt}: its hold has ended"
        );
        assert_eq!(world.requests_for(prompt).await.len(), 1, "{prompt}");
        let again = run(&world, prompt).await;
        assert_eq!((again.steps[0].source, again.steps[0].attempt), (Some(ResultSource::Generated), Some(Attempt(2))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiring_result_is_renewed_by_its_use() {
    let world = World::get().await;
    let prompt = "half a day is left";
    let first = run(&world, prompt).await;
    let (key, object) = (key(&first), &first.steps[0].outputs[0].key);
    let written = world.head(object).await.unwrap().modified_at;
    world.age_result(key, 13 * DAY / 2).await;
    let aged = world.entry(key).await;
    // S3's times are of whole seconds.
    world.until("a second has passed", async || world.now() >= written + 1_000).await;

    // A plan writes nothing, and it is a hit.
    let preview = world.preview(&document(prompt), "unused").await;
    assert_eq!((only(&preview), world.entry(key).await), (None, aged.clone()));
    let before = world.now();
    let hit = run(&world, prompt).await;
    assert_eq!((hit.steps[0].source, hit.function_calls), (Some(ResultSource::Hit), 1));
    assert_eq!(hit.steps[0].outputs, first.steps[0].outputs);
    let (renewed, head) = (world.entry(key).await, world.head(object).await.unwrap());
    assert!(head.modified_at > written, "{} > {written}", head.modified_at);
    let (was, is) = (aged.result.unwrap(), renewed.result.unwrap());
    assert!(is.created_at >= before && is.created_at <= world.now(), "{is:?}");
    assert_eq!(
        fresco_ledger::records::CachedResult { created_at: was.created_at, ..is.clone() },
        was,
        "nothing else moved"
    );
    assert_eq!(world.admin.object(object).await.unwrap().len() as u64, is.outputs[0].bytes);
    let saved = save(&world.api, &world.api.run(&hit.run_id).await.unwrap(), &hit, tempfile::tempdir().unwrap().path())
        .await
        .unwrap();
    assert_eq!(saved.files[0].name, "image.jpg", "its media type is as it was");

    // Now it is young, and the next use writes nothing.
    let entry = world.entry(key).await;
    assert_eq!(run(&world, prompt).await.steps[0].source, Some(ResultSource::Hit));
    assert_eq!((world.entry(key).await, world.head(object).await.unwrap()), (entry, head));
    assert_eq!(world.requests_for(prompt).await.len(), 1);
}

/// A step that knows its input only while the run goes on finds its result then, and renews it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiring_result_that_generate_finds_is_renewed() {
    let world = World::get().await;
    let document = r#"
name: renewed by generate
steps:
  - { name: scene, type: text_to_image, model: flux_schnell, params: { prompt: "renewed, a scene", seed: 1 } }
  - { name: edit, type: image_to_image, model: kontext, input_from: scene, params: { prompt: "renewed, an edit" } }
"#;
    let first = world.run(document, "unused").await;
    let key = first.steps[1].key.as_ref().unwrap();
    world.age_result(key, 13 * DAY / 2).await;
    world.remove_object(&first.steps[0].outputs[0].key).await;
    let before = world.now();
    let again = world.run(document, "unused").await;
    let sources: Vec<_> = again.steps.iter().map(|step| step.source).collect();
    assert_eq!(sources, [Some(ResultSource::Generated), Some(ResultSource::Hit)], "the same bytes are the same input");
    assert_eq!(again.steps[1].outputs, first.steps[1].outputs);
    assert!(world.entry(key).await.result.unwrap().created_at >= before);
    assert_eq!(world.requests_for("renewed, an edit").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_result_is_generated_again() {
    let world = World::get().await;
    // Within an hour of its end it may be gone at any time, whichever clock is off.
    for (prompt, age) in [("seven days are over", 7 * DAY), ("an hour is left", 7 * DAY - DAY / 24)] {
        let first = run(&world, prompt).await;
        world.age_result(key(&first), age).await;
        generated_again(&world, prompt, MissReason::Expired).await;
    }
}

/// S3 expires the outputs by the template's rule, which a start of the local stack carries out as of any day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_the_lifecycle_removed_is_generated_again() {
    let prompt = "a week passes";
    let world = World::own("lifecycle", None).await;
    let first = run(&world, prompt).await;
    let object = first.steps[0].outputs[0].key.clone();
    let now = world.now();
    world.close().await;

    // A day before the end everything is there.
    let world = World::own("lifecycle", Some(now + 6 * DAY)).await;
    assert_eq!(run(&world, prompt).await.steps[0].source, Some(ResultSource::Hit));
    world.close().await;

    let world = World::own("lifecycle", Some(now + 9 * DAY)).await;
    assert_eq!(world.head(&object).await, None, "removed");
    assert!(world.listed(&world.bucket(), "outputs/").await.is_empty());
    let again = generated_again(&world, prompt, MissReason::Gone).await;
    assert_eq!((again.steps[0].attempt, world.requests_for(prompt).await.len()), (Some(Attempt(2)), 2));
    world.close().await;
}
