//! The queue over HTTP: submit, status, result, cancel, pictures, the concurrency limit, and refusals.

mod common;

use common::{Fal, read, until};
use fresco_simulator::Config;
use serde_json::{Value, json};

#[tokio::test]
async fn a_request_goes_from_submit_to_a_picture() {
    let fal = Fal::instant().await;
    let reply = fal.submit("fal-ai/flux/schnell", json!({ "prompt": "a red fox", "seed": 42, "num_images": 2 })).await;
    let id = reply["request_id"].as_str().unwrap();
    let base = format!("{}/fal/queue/fal-ai/flux/requests/{id}", fal.running.url());
    assert_eq!(reply["status"], "IN_QUEUE");
    assert_eq!(reply["queue_position"], 0);
    assert_eq!(reply["gateway_request_id"], id);
    assert_eq!(reply["response_url"], base);
    assert_eq!(reply["status_url"], format!("{base}/status"));
    assert_eq!(reply["cancel_url"], format!("{base}/cancel"));

    let result = fal.result(&reply).await;
    assert_eq!(result.headers()["x-fal-request-id"], id);
    assert_eq!(result.headers()["x-fal-billable-units"], "2");
    let (status, output) = read(result).await;
    assert_eq!(status, 200);
    assert_eq!(output["seed"], 42);
    assert_eq!(output["prompt"], "a red fox");
    assert_eq!(output["has_nsfw_concepts"], json!([false, false]));
    assert!(output["timings"].is_object());
    let mut pictures = Vec::new();
    for image in output["images"].as_array().unwrap() {
        assert_eq!((&image["width"], &image["height"]), (&json!(1024), &json!(768)));
        let media = fal.http.get(image["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(media.status(), 200);
        assert_eq!(media.headers()["content-type"], "image/jpeg");
        let length: usize = media.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let bytes = media.bytes().await.unwrap();
        assert_eq!(bytes.len(), length);
        let picture = image::load_from_memory(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (1024, 768));
        pictures.push(bytes);
    }
    assert_ne!(pictures[0], pictures[1]);

    let (status, done) = fal.get(reply["status_url"].as_str().unwrap()).await;
    assert_eq!((status, &done["status"], &done["logs"]), (200, &json!("COMPLETED"), &Value::Null));
    assert!(done["metrics"]["inference_time"].is_number());
    assert!(done.get("error").is_none());
    for path in [format!("fal-ai/flux/requests/{id}/response"), format!("fal-ai/flux/schnell/requests/{id}")] {
        assert_eq!(fal.get(&format!("{}/fal/queue/{path}", fal.running.url())).await, (200, output.clone()));
    }
}

#[tokio::test]
async fn every_endpoint_has_its_output_size_and_format() {
    let fal = Fal::instant().await;
    let cases = [
        ("fal-ai/flux/dev", json!({ "image_size": "square", "output_format": "png" }), (512, 512), "image/png", "1"),
        ("fal-ai/flux/dev", json!({ "image_size": { "width": 300, "height": 200 } }), (300, 200), "image/jpeg", "1"),
        (
            "fal-ai/nano-banana-pro",
            json!({ "aspect_ratio": "21:9", "output_format": "webp" }),
            (1584, 672),
            "image/webp",
            "1",
        ),
        ("fal-ai/imagen4/preview", json!({ "aspect_ratio": "9:16" }), (768, 1408), "image/png", "1"),
    ];
    for (endpoint, mut body, size, content_type, units) in cases {
        body["prompt"] = json!("a lighthouse");
        let reply = fal.submit(endpoint, body).await;
        let result = fal.result(&reply).await;
        assert_eq!(result.headers()["x-fal-billable-units"], units);
        let (_, output) = read(result).await;
        assert_eq!(output.get("seed").is_some(), endpoint.contains("flux"), "{output}");
        assert_eq!(output.get("description").is_some(), !endpoint.contains("flux"), "{output}");
        let image = &output["images"][0];
        assert_eq!(image["content_type"], content_type);
        let media = fal.http.get(image["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(media.headers()["content-type"], content_type);
        let picture = image::load_from_memory(&media.bytes().await.unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), size, "{endpoint}");
    }
}

#[tokio::test]
async fn sync_mode_puts_the_picture_into_the_output() {
    let fal = Fal::instant().await;
    let body = json!({ "prompt": "x", "sync_mode": true, "image_size": { "width": 64, "height": 64 } });
    let (_, output) = fal.run("fal-ai/flux/schnell", body).await;
    let data = output["images"][0]["url"].as_str().unwrap().strip_prefix("data:image/jpeg;base64,").unwrap();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
    assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 64);
}

#[tokio::test]
async fn a_bad_input_is_accepted_and_refused_in_the_result() {
    let fal = Fal::instant().await;
    let reply = fal.submit("fal-ai/flux/dev", json!({ "num_images": 5, "output_format": "gif" })).await;
    let result = fal.result(&reply).await;
    assert_eq!(result.headers()["x-fal-retryable"], "false");
    assert!(result.headers().get("x-fal-billable-units").is_none());
    let (status, body) = read(result).await;
    assert_eq!(status, 422);
    let detail = body["detail"].as_array().unwrap();
    let found: Vec<_> =
        detail.iter().map(|entry| (entry["loc"][1].as_str().unwrap(), entry["type"].as_str().unwrap())).collect();
    assert_eq!(found, [("prompt", "missing"), ("num_images", "less_than_equal"), ("output_format", "one_of")]);
    assert_eq!(detail[1]["ctx"], json!({ "le": 4 }));
    let counters = fal.running.counters();
    assert_eq!((counters.accepted, counters.completions, counters.failures, counters.billed_completions), (1, 1, 1, 0));
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused_at_once() {
    let fal = Fal::instant().await;
    let url = format!("{}/fal/queue/fal-ai/flux/dev", fal.running.url());
    for (body, kind) in [("{\"prompt\":", "json_invalid"), ("[1]", "model_attributes_type"), ("", "json_invalid")] {
        let sent = fal.http.post(&url).header("authorization", fal.authorization()).body(body).send().await.unwrap();
        let (status, reply) = read(sent).await;
        assert_eq!((status, &reply["detail"][0]["type"]), (422, &json!(kind)), "{body}");
    }
    let counters = fal.running.counters();
    assert_eq!((counters.submits, counters.accepted), (3, 0));
}

#[tokio::test]
async fn wrong_keys_and_unknown_paths_are_refused() {
    let fal = Fal::instant().await;
    let base = fal.running.url();
    let refusal = json!({ "detail": "No user found for Key ID and Secret" });
    for header in [None, Some("Key wrong:key".to_owned()), Some(format!("Bearer {}", fal.running.fal_key()))] {
        for path in ["fal/queue/fal-ai/flux/requests/x/status", "fal/api/v1/models/pricing?endpoint_id=fal-ai/flux/dev"]
        {
            let mut request = fal.http.get(format!("{base}/{path}"));
            if let Some(header) = &header {
                request = request.header("authorization", header);
            }
            assert_eq!(read(request.send().await.unwrap()).await, (401, refusal.clone()));
        }
    }
    let unsigned = fal.http.post(format!("{base}/fal/queue/fal-ai/flux/dev")).json(&json!({ "prompt": "x" }));
    assert_eq!(read(unsigned.send().await.unwrap()).await, (401, refusal));
    assert_eq!(fal.running.counters().submits, 0);

    let (status, body) = fal.post("fal-ai/fluxx", &json!({ "prompt": "x" })).await;
    assert_eq!((status, body), (404, json!({ "detail": "Application 'fluxx' not found" })));
    let (status, body) = fal.post("fal-ai/flux/devv", &json!({ "prompt": "x" })).await;
    assert_eq!((status, body), (404, json!({ "detail": "Path /devv not found" })));
    for action in ["", "/status"] {
        let (status, body) = fal.get(&format!("{base}/fal/queue/fal-ai/flux/requests/nobody{action}")).await;
        assert_eq!((status, body), (404, json!({ "status": "NOT_FOUND" })));
    }
    assert_eq!(fal.http.get(format!("{base}/fal/media/files/x/0.png")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn requests_beyond_the_concurrency_limit_wait_in_line() {
    let fal = Fal::start(Config { scale: 1e5, concurrency: 1, ..Config::default() }).await;
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(fal.submit("fal-ai/flux/schnell", json!({ "prompt": "x" })).await);
    }
    assert_eq!(replies.iter().map(|reply| reply["queue_position"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 0, 1]);
    let status_url = |n: usize| replies[n]["status_url"].as_str().unwrap().to_owned();
    until("the first is in progress", async || fal.get(&status_url(0)).await.1["status"] == "IN_PROGRESS").await;
    let (code, body) = fal.get(&status_url(0)).await;
    assert_eq!((code, &body["logs"]), (202, &json!([])));
    let (code, body) = fal.get(&status_url(2)).await;
    assert_eq!((code, &body["status"], &body["queue_position"]), (202, &json!("IN_QUEUE"), &json!(1)));
    let (code, body) = fal.get(replies[2]["response_url"].as_str().unwrap()).await;
    assert_eq!((code, body), (400, json!({ "detail": "Request is still in progress" })));

    let (code, _) = fal.post("fal-ai/flux/schnell?fal_max_queue_length=1", &json!({ "prompt": "x" })).await;
    assert_eq!(code, 429);

    // The running one is cancelled, so the next in line begins.
    let cancel = async |n: usize| {
        let url = replies[n]["cancel_url"].as_str().unwrap();
        read(fal.http.put(url).header("authorization", fal.authorization()).send().await.unwrap()).await
    };
    assert_eq!(cancel(0).await, (202, json!({ "status": "CANCELLATION_REQUESTED" })));
    assert_eq!(cancel(0).await, (400, json!({ "status": "ALREADY_COMPLETED" })));
    until("the second is in progress", async || fal.get(&status_url(1)).await.1["status"] == "IN_PROGRESS").await;
    // A cancelled request that waits leaves the line.
    assert_eq!(cancel(2).await.0, 202);
    let (code, body) = fal.get(&status_url(2)).await;
    assert_eq!((code, &body["status"], &body["error_type"]), (200, &json!("COMPLETED"), &json!("client_cancelled")));
    let result = fal.get_raw(replies[2]["response_url"].as_str().unwrap()).await;
    assert_eq!(result.status().as_u16(), 499);
    assert_eq!(result.headers()["x-fal-error-type"], "client_cancelled");
    let counters = fal.running.counters();
    assert_eq!((counters.cancels, counters.max_in_progress, counters.billed_completions), (2, 1, 0));
}

#[tokio::test]
async fn never_more_in_progress_than_allowed() {
    let fal = Fal::start(Config { scale: 0.005, concurrency: 3, ..Config::default() }).await;
    let mut replies = Vec::new();
    for number in 0..20 {
        replies.push(fal.submit("fal-ai/flux/schnell", json!({ "prompt": number.to_string() })).await);
    }
    until("all have ended", async || fal.running.counters().completions == 20).await;
    assert_eq!(fal.running.counters().max_in_progress, 3);
    let records = fal.running.requests();
    // First in, first out: starts are in the order of submission.
    assert!(records.is_sorted_by_key(|record| record.started_ms));
    for record in &records {
        let at = record.started_ms.unwrap();
        let during = records.iter().filter(|other| other.started_ms.unwrap() <= at && other.ended_ms.unwrap() > at);
        assert!(during.count() <= 3);
    }
}

#[tokio::test]
async fn a_start_deadline_ends_a_request_that_waits_too_long() {
    let fal = Fal::start(Config { concurrency: 0, ..Config::default() }).await;
    let url = format!("{}/fal/queue/fal-ai/flux/dev", fal.running.url());
    let request =
        fal.http.post(url).header("authorization", fal.authorization()).header("x-fal-request-timeout", "0.2");
    let (_, reply) = read(request.json(&json!({ "prompt": "x" })).send().await.unwrap()).await;
    let result = fal.result(&reply).await;
    assert_eq!(result.status(), 504);
    assert_eq!(result.headers()["x-fal-request-timeout-type"], "user");
    assert_eq!(read(result).await.1["error_type"], "request_timeout");
}
