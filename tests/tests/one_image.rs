//! One image, through everything that deploys: the template, the state machine, the function binaries, DynamoDB, S3, task
//! tokens and signed webhooks. What is paid for is counted by the simulator, on the other side of the wire.

use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::money::Money;
use fresco_tests::{World, document, most_at_once};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_runs_at_once_are_one_submit() {
    let world = World::get().await;
    let text = document("flux_schnell");
    let runs = (0..10).map(|_| world.run(&text, "ten runs, one bill"));
    let manifests = futures::future::join_all(runs).await;
    assert!(manifests.iter().all(|manifest| manifest.status == RunStatus::Succeeded));
    let generated =
        manifests.iter().filter(|manifest| manifest.steps[0].source == Some(ResultSource::Generated)).count();
    assert_eq!(generated, 1);
    assert_eq!(manifests.iter().map(|manifest| manifest.cost).sum::<Money>(), Money::micros(3_000));
    assert!(manifests.iter().all(|manifest| manifest.steps[0].outputs == manifests[0].steps[0].outputs));
    assert_eq!(world.requests_for("ten runs, one bill").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_are_repeated_or_forged_change_nothing() {
    let world = World::get().await;
    let manifest = world.run(&document("flux_schnell"), "a webhook's fate").await;
    assert_eq!(manifest.status, RunStatus::Succeeded);
    let requests = world.requests_for("a webhook's fate").await;
    let id = requests[0]["request_id"].as_str().unwrap();
    let entry = world.entry(manifest.steps[0].key.as_ref().unwrap()).await;
    for (mutation, status) in [
        (None, 200),
        (Some("signature"), 401),
        (Some("user_id"), 401),
        (Some("stale"), 401),
        (Some("token"), 401),
        (None, 200),
    ] {
        let mut body = json!({"request_id": id});
        if let Some(mutation) = mutation {
            body["mutate"] = json!(mutation);
        }
        let answer = world.control("webhooks/resend", &body).await;
        assert_eq!(answer["status"], status, "{mutation:?}: {answer}");
    }
    assert_eq!(world.entry(manifest.steps[0].key.as_ref().unwrap()).await, entry);
    assert_eq!(world.requests_for("a webhook's fate").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_reach_the_provider_unchanged() {
    let world = World::get().await;
    let long = format!("{}!", "lighthouse ".repeat(1_818));
    let prompts = [
        "{% $states.input %}",
        "{{input}} and {{env.HOME}}",
        "say \"hi\" to 'her' \\ and",
        "two\nlines\tand a tab",
        "🦊 日本語 e\u{301}",
        &long,
    ];
    for prompt in prompts {
        let manifest = world.run(&document("flux_schnell"), prompt).await;
        assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
        // Texts are sent in NFC, whatever they were typed in.
        let sent = prompt.replace("e\u{301}", "\u{e9}");
        assert_eq!(world.requests_for(&sent).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_model_makes_a_picture() {
    let world = World::get().await;
    for (model, content_type) in [
        ("flux_dev", "image/jpeg"),
        ("nano_banana", "image/png"),
        ("nano_banana_pro", "image/png"),
        ("imagen4", "image/png"),
    ] {
        let manifest = world.run(&document(model), "four models, one prompt").await;
        assert_eq!(manifest.status, RunStatus::Succeeded, "{model}: {:?}", manifest.failure);
        assert_eq!(manifest.steps[0].outputs[0].content_type, content_type);
    }
    // The alias and the name are one model, hence one key.
    assert_eq!(world.requests_for("four models, one prompt").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_too_small_spends_nothing() {
    let world = World::get().await;
    let text = format!("settings: {{max_cost: 0.002}}\n{}", document("flux_schnell"));
    let manifest = world.run(&text, "too dear").await;
    assert_eq!(manifest.status, RunStatus::Failed);
    assert_eq!(manifest.steps[0].failure.as_ref().unwrap().name, ErrorName::BudgetExceeded);
    assert_eq!(manifest.failure.unwrap().name, ErrorName::BudgetExceeded);
    assert!(world.requests_for("too dear").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_take_is_another_picture() {
    let world = World::get().await;
    let text = "steps:\n- {name: one, type: text_to_image, model: flux_schnell}\n- {name: two, type: text_to_image, model: flux_schnell, take: 2}\n- {name: again, type: text_to_image, model: flux_schnell}\n";
    let manifest = world.run(text, "two takes").await;
    assert_eq!(manifest.status, RunStatus::Succeeded);
    assert_ne!(manifest.steps[0].key, manifest.steps[1].key);
    assert_eq!(manifest.steps[0].outputs, manifest.steps[2].outputs);
    assert_eq!(manifest.steps[2].cost, Money::ZERO);
    assert_eq!(world.requests_for("two takes").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_runs_at_most_its_workers_at_a_time() {
    let world = World::get().await;
    let steps: String =
        (1..=5).map(|n| format!("  - {{name: s{n}, type: text_to_image, model: flux_dev, take: {n}}}\n")).collect();
    let text = format!("steps:\n- type: parallel_group\n  name: g\n  max_workers: 2\n  steps:\n{steps}");
    let manifest = world.run(&text, "side by side").await;
    assert_eq!(manifest.status, RunStatus::Succeeded);
    let requests = world.requests_with(|prompt| prompt == "side by side").await;
    assert_eq!(requests.len(), 5);
    assert!(most_at_once(&requests) <= 2);
}
