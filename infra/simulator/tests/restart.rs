//! Restarts: with a state file requests and their inputs survive the process, as a provider's jobs survive its client's.

mod common;

use common::{BLUE, Fal, Inputs, alike, mean, until};
use fresco_simulator::{Config, SettingsChange};
use serde_json::json;

#[tokio::test]
async fn accepted_requests_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { scale: 0.0, state: Some(folder.path().join("state.json")), ..Config::default() };
    let first = Fal::start(config()).await;
    let ended = first.submit("fal-ai/flux/schnell", json!({ "prompt": "ended", "seed": 1 })).await;
    let output = first.result(&ended).await.status();
    assert_eq!(output, 200);
    first.running.change(SettingsChange { concurrency: Some(0), ..SettingsChange::default() }).unwrap();
    let waiting = first.submit("fal-ai/flux/schnell", json!({ "prompt": "under way" })).await;
    let refused = first.submit("fal-ai/flux/schnell", json!({ "prompt": "refused", "num_images": 9 })).await;
    drop(first);

    let second = Fal::start(config()).await;
    let url = |reply: &serde_json::Value| {
        let id = reply["request_id"].as_str().unwrap();
        format!("{}/fal/queue/fal-ai/flux/requests/{id}", second.running.url())
    };
    for (reply, status) in [(&ended, 200), (&waiting, 200), (&refused, 422)] {
        let url = url(reply);
        until("the request has ended", async || second.get(&url).await.0 == status).await;
    }
    let (_, again) = second.get(&url(&ended)).await;
    assert_eq!((&again["prompt"], &again["seed"]), (&json!("ended"), &json!(1)));
    let counters = second.running.counters();
    assert_eq!((counters.submits, counters.accepted, counters.billed_completions), (3, 3, 2));
}

#[tokio::test]
async fn inputs_survive_the_process() {
    let (folder, inputs) = (tempfile::tempdir().unwrap(), Inputs::start().await);
    let config = || Config { scale: 0.0, state: Some(folder.path().join("state.json")), ..Config::default() };
    let first = Fal::start(config()).await;
    let edit = |name: &str| json!({ "prompt": name, "image_url": inputs.at(name), "seed": 1 });
    let ended = first.submit("fal-ai/flux-kontext/dev", edit("wide")).await;
    let (_, refusal) = first.run("fal-ai/flux-kontext/dev", edit("text")).await;
    assert_eq!(first.result(&ended).await.status(), 200);
    first.running.change(SettingsChange { concurrency: Some(0), ..SettingsChange::default() }).unwrap();
    let waiting = first.submit("fal-ai/flux-kontext/dev", edit("tall")).await;
    drop(first);
    inputs.close();

    let second = Fal::start(config()).await;
    let url = |reply: &serde_json::Value| {
        let id = reply["request_id"].as_str().unwrap();
        format!("{}/fal/queue/fal-ai/flux-kontext/requests/{id}", second.running.url())
    };
    // The completed request is drawn from the copy; the unfinished one fetches its input again, which has expired.
    let (status, output) = second.get(&url(&ended)).await;
    assert_eq!((status, &output["images"][0]["width"]), (200, &json!(320)));
    let picture = image::load_from_memory(&second.download(&output["images"][0]).await.1).unwrap().into_rgb8();
    assert!(alike(mean(&picture, 10..90, 10..60), BLUE));
    until("the request has ended", async || second.get(&url(&waiting)).await.0 == 422).await;
    assert_eq!(second.get(&url(&waiting)).await.1["detail"][0]["type"], "file_download_error");
    let refused = second.running.requests()[1].request_id.clone();
    assert_eq!(second.get(&url(&json!({ "request_id": refused }))).await, (422, refusal));
}
