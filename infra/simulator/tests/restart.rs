//! A provider does not forget its jobs when its client's machine goes down: with a state file, neither does the simulator.

mod common;

use common::{Fal, until};
use fresco_simulator::{Config, SettingsChange};
use serde_json::json;

#[tokio::test]
async fn accepted_requests_outlive_the_process() {
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
