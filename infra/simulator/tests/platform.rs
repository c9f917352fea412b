//! The platform API and the control routes over HTTP, and properties of a simulator as a whole.

mod common;

use common::{Fal, read, until};
use fresco_simulator::{Config, SettingsChange};
use serde_json::json;

#[tokio::test]
async fn the_listing_finds_requests_in_pages() {
    let fal = Fal::instant().await;
    for number in 0..5 {
        fal.run("fal-ai/flux/dev", json!({ "prompt": number.to_string() })).await;
    }
    fal.run("fal-ai/imagen4/preview", json!({ "prompt": "other" })).await;
    fal.run("fal-ai/flux/dev", json!({})).await;
    fal.running.change(SettingsChange { concurrency: Some(0), ..SettingsChange::default() }).unwrap();
    let waiting = fal.submit("fal-ai/flux/dev", json!({ "prompt": "waits" })).await;

    let base = format!("{}/fal/api/v1/models/requests/by-endpoint?endpoint_id=fal-ai/flux/dev", fal.running.url());
    let mut prompts = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = fal.get(&format!("{base}&expand=payloads&status=success&limit=2{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item["endpoint_id"], "fal-ai/flux/dev");
            assert_eq!(item["status_code"], 200);
            assert_eq!(item["json_output"]["prompt"], item["json_input"]["prompt"]);
            prompts.push(item["json_input"]["prompt"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["has_more"], false);
                break;
            }
        }
        assert_eq!(page["has_more"], true);
    }
    assert_eq!(prompts, ["4", "3", "2", "1", "0"]);

    let (_, page) = fal.get(&format!("{base}&status=user_error")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["status_code"]), (1, &json!(422)));
    assert!(page["items"][0].get("json_input").is_none());
    let (_, page) = fal.get(&format!("{base}&request_id={}", waiting["request_id"].as_str().unwrap())).await;
    let item = &page["items"][0];
    assert!(item["sent_at"].is_string() && item["started_at"].is_null() && item["status_code"].is_null(), "{item}");
    assert_eq!(fal.get(&format!("{base}&start=2999-01-01T00:00:00Z")).await.1["items"], json!([]));
    for bad in ["&limit=101", "&cursor=x", "&start=soon", "&status=odd"] {
        assert_eq!(fal.get(&format!("{base}{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn prices_are_listed() {
    let fal = Fal::instant().await;
    let base = format!("{}/fal/api/v1/models/pricing", fal.running.url());
    let (status, body) =
        fal.get(&format!("{base}?endpoint_id=fal-ai/flux/dev&endpoint_id=fal-ai/nano-banana-pro")).await;
    assert_eq!(status, 200);
    assert_eq!(
        body["prices"][0],
        json!({ "endpoint_id": "fal-ai/flux/dev", "unit_price": 0.025, "unit": "megapixels", "currency": "USD" })
    );
    assert_eq!(body["prices"][1]["unit"], "images");
    assert_eq!(fal.get(&format!("{base}?endpoint_id=fal-ai/none")).await.0, 404);
}

#[tokio::test]
async fn the_control_routes_show_state_and_change_settings() {
    let fal = Fal::instant().await;
    fal.run("fal-ai/flux/dev", json!({ "prompt": "shown" })).await;
    let base = format!("{}/_control", fal.running.url());
    let (_, requests) = fal.get(&format!("{base}/requests")).await;
    assert_eq!(requests[0]["prompt"], "shown");
    assert_eq!(requests[0]["status"], "COMPLETED");
    assert_eq!(requests[0]["billable_units"], 1.0);
    let (_, counters) = fal.get(&format!("{base}/counters")).await;
    assert_eq!(counters["by_endpoint"]["fal-ai/flux/dev"]["billable_units"], 1.0);
    assert_eq!(counters["billed_completions"], 1);
    let (_, counters) = fal.control("reset", json!({})).await;
    assert_eq!(counters["submits"], 0);
    assert_eq!(fal.get(&format!("{base}/requests")).await.1.as_array().unwrap().len(), 1);
    let (_, settings) = fal.control("settings", json!({ "scale": 0.5, "webhook_mode": "held" })).await;
    assert_eq!(settings, json!({ "scale": 0.5, "concurrency": 40, "webhook_mode": "held" }));
    assert_eq!(fal.control("settings", json!({ "scale": -1 })).await.0, 422);
    assert_eq!(fal.control("settings", json!({ "sclae": 1 })).await.0, 422);
    let (_, identity) = fal.get(&format!("{base}/identity")).await;
    assert_eq!(identity["user_id"], fal.running.user_id());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_seeds() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let fal = Fal::start(Config { scale: 0.0, seed: Some(9), ..Config::default() }).await;
        let reply = fal.submit("fal-ai/flux/dev", json!({ "prompt": "x" })).await;
        let (_, output) = read(fal.result(&reply).await).await;
        seen.push((reply["request_id"].clone(), output["seed"].clone()));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn the_simulator_ends_when_dropped() {
    let fal = Fal::instant().await;
    let url = format!("{}/_control/counters", fal.running.url());
    let http = fal.http.clone();
    assert!(http.get(&url).send().await.is_ok());
    drop(fal);
    until("the listener is closed", async || http.get(&url).send().await.is_err()).await;
}
