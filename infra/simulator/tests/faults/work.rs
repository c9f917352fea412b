//! Faults of the work and its output, of reads of status and result, and of cancellations.

use std::time::Duration;

use fresco_simulator::{Config, Fault, FaultRule, Status};
use serde_json::{Value, json};

use crate::common::{Fal, Inputs, Receiver, read, receiver, until};
use crate::{FLUX, FullAnswer, raw};

/// Submits with a webhook; gives the reply, the result and the webhook's body.
async fn end(fal: &Fal, receiver: &mut Receiver, endpoint: &str, body: Value) -> (Value, FullAnswer, Value) {
    let webhook: String = url::form_urlencoded::byte_serialize(receiver.url.as_bytes()).collect();
    let reply = fal.submit(&format!("{endpoint}?fal_webhook={webhook}"), body).await;
    let result = FullAnswer::read(fal.result(&reply).await).await.unwrap();
    (reply, result, receiver.next().await.json())
}

#[tokio::test]
async fn a_model_error_has_its_status_and_detail() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let cases = [
        (json!({ "type": "content_policy_violation" }), 422, "false"),
        (json!({ "type": "no_media_generated" }), 422, "false"),
        (json!({ "type": "internal_server_error" }), 500, "true"),
        (json!({ "type": "generation_timeout" }), 504, "true"),
        (json!({ "type": "downstream_service_error" }), 400, "false"),
        (json!({ "type": "downstream_service_unavailable", "retryable": false }), 500, "false"),
        (json!({ "type": "odd", "status": 418 }), 418, "false"),
    ];
    let number = cases.len() as u64;
    for (mut rule, status, retryable) in cases {
        rule["fault"] = json!("model_error");
        fal.fault(rule.clone());
        let (reply, result, webhook) = end(&fal, &mut receiver, FLUX, json!({ "prompt": "x" })).await;
        assert_eq!((result.status, result.header("x-fal-retryable")), (status, Some(retryable)), "{rule}");
        assert_eq!((result.header("x-fal-billable-units"), result.header("x-fal-error-type")), (None, None));
        assert_eq!(result.json()["detail"][0]["type"], rule["type"]);
        assert_eq!((&webhook["status"], &webhook["payload"]), (&json!("ERROR"), &result.json()));
        assert_eq!(webhook["error"], format!("Invalid status code: {status}"));
        let (code, got) = fal.get(reply["status_url"].as_str().unwrap()).await;
        assert_eq!((code, &got["status"], got.get("error")), (200, &json!("COMPLETED"), None));
    }
    let counters = fal.running.counters();
    assert_eq!((counters.accepted, counters.failures, counters.billed_completions), (number, number, 0));
}

#[tokio::test]
async fn the_platform_can_end_a_request() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let cases = [
        ("request_timeout", 504, "false"),
        ("startup_timeout", 504, "true"),
        ("runner_disconnected", 503, "true"),
        ("runner_incomplete_response", 502, "true"),
        ("runner_server_error", 500, "true"),
        ("client_disconnected", 499, "false"),
        ("bad_request", 400, "false"),
        ("internal_error", 500, "true"),
    ];
    for (error_type, status, retryable) in cases {
        fal.fault(json!({ "fault": "infrastructure_end", "error_type": error_type }));
        let (reply, result, webhook) = end(&fal, &mut receiver, FLUX, json!({ "prompt": "x" })).await;
        let headers = (result.header("x-fal-error-type"), result.header("x-fal-retryable"));
        assert_eq!((result.status, headers), (status, (Some(error_type), Some(retryable))));
        assert_eq!(result.header("x-fal-request-timeout-type"), None, "no user set a deadline");
        assert_eq!(result.json()["error_type"], error_type);
        assert_eq!((&webhook["status"], &webhook["payload"]), (&json!("ERROR"), &result.json()));
        let (code, got) = fal.get(reply["status_url"].as_str().unwrap()).await;
        assert_eq!((code, &got["status"], &got["error_type"]), (200, &json!("COMPLETED"), &json!(error_type)));
        assert_eq!(got["error"], result.json()["detail"]);
    }
    let counters = fal.running.counters();
    assert_eq!((counters.failures, counters.billed_completions), (cases.len() as u64, 0));
}

#[tokio::test]
async fn a_payload_can_be_lost() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let null = json!({ "status": "OK", "error": null, "payload": null });
    let got = |webhook: &Value| json!({ "status": webhook["status"], "error": webhook["error"], "payload": webhook["payload"] });

    fal.fault(json!({ "fault": "payload_null" }));
    let (_, result, webhook) = end(&fal, &mut receiver, FLUX, json!({ "prompt": "x" })).await;
    assert_eq!((result.status, result.json()), (500, json!({ "detail": "Internal Server Error" })));
    assert_eq!((got(&webhook), webhook.get("payload_error")), (null.clone(), None));

    fal.fault(json!({ "fault": "payload_null", "status": 200 }));
    let (_, result, webhook) = end(&fal, &mut receiver, FLUX, json!({ "prompt": "x" })).await;
    assert_eq!((result.status, result.json(), got(&webhook)), (200, Value::Null, null.clone()));

    fal.fault(json!({ "fault": "payload_error" }));
    let (_, result, webhook) = end(&fal, &mut receiver, FLUX, json!({ "prompt": "x" })).await;
    assert_eq!((result.status, got(&webhook)), (200, null));
    assert!(webhook["payload_error"].as_str().unwrap().contains("not JSON serializable"));
    assert_eq!(fal.download(&result.json()["images"][0]).await.0, "image/jpeg");
    assert_eq!(fal.running.counters().billed_completions, 3);
}

#[tokio::test]
async fn blanked_pictures_are_black_and_marked() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "nsfw" }));
    let (status, output) = fal.run(FLUX, json!({ "prompt": "x", "num_images": 2 })).await;
    assert_eq!((status, &output["has_nsfw_concepts"]), (200, &json!([true, true])));
    let picture = image::load_from_memory(&fal.download(&output["images"][1]).await.1).unwrap().into_rgb8();
    assert!(picture.dimensions() == (1024, 768) && picture.pixels().all(|pixel| pixel.0 == [0; 3]));
    // The fault does not apply to an endpoint without the field.
    let (_, output) = fal.run("fal-ai/nano-banana-pro", json!({ "prompt": "x" })).await;
    assert_eq!((output.get("has_nsfw_concepts"), fal.hits()), (None, 1));
}

#[tokio::test]
async fn an_output_can_name_no_file() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    fal.fault(json!({ "fault": "no_media" }));
    let url = inputs.at("wide");
    let cases = [
        (FLUX, json!({ "prompt": "x" }), "images", json!([])),
        ("fal-ai/clarity-upscaler", json!({ "image_url": url }), "image", Value::Null),
        ("fal-ai/sora-2/image-to-video", json!({ "prompt": "x", "image_url": url }), "video", Value::Null),
    ];
    for (endpoint, body, field, nothing) in cases {
        let (status, output) = fal.run(endpoint, body).await;
        assert_eq!((status, &output[field]), (200, &nothing), "{endpoint} {output}");
    }
    assert_eq!(fal.running.counters().billed_completions, 3);
}

#[tokio::test]
async fn a_request_that_never_starts_or_ends_can_only_be_cancelled() {
    for (fault, status, busy) in [(Fault::NeverStarts, Status::InQueue, 0), (Fault::NeverEnds, Status::InProgress, 1)] {
        let fal = Fal::start(Config { scale: 0.0, concurrency: 2, ..Config::default() }).await;
        fal.running.set_faults(vec![FaultRule::new(fault).times(1)]).unwrap();
        let stuck = fal.submit(FLUX, json!({ "prompt": "stuck" })).await;
        // Later requests overtake it.
        fal.run(FLUX, json!({ "prompt": "later" })).await;
        until("it is where it stays", async || fal.running.requests()[0].status == status).await;
        let (code, got) = fal.get(stuck["status_url"].as_str().unwrap()).await;
        assert_eq!((code, &got["status"]), (202, &json!(status)));
        assert_eq!(fal.running.counters().in_progress, busy);
        let cancel = fal.http.put(stuck["cancel_url"].as_str().unwrap()).header("authorization", fal.authorization());
        assert_eq!(cancel.send().await.unwrap().status(), 202);
        until("its place is free", async || fal.running.counters().in_progress == 0).await;
        let counters = fal.running.counters();
        assert_eq!((counters.cancels, counters.billed_completions), (1, 1));
    }
}

#[tokio::test]
async fn slow_work_ignores_the_scale() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "slow", "seconds": 0.3 }));
    fal.run(FLUX, json!({ "prompt": "x" })).await;
    let record = fal.running.requests().remove(0);
    assert!(record.ended_ms.unwrap() - record.started_ms.unwrap() >= 300);
}

#[tokio::test]
async fn faults_of_the_work_do_not_apply_to_a_refused_input() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "model_error", "type": "internal_server_error" }));
    assert_eq!(fal.run(FLUX, json!({ "num_images": 9 })).await.0, 422);
    assert_eq!(fal.hits(), 0);
}

#[tokio::test]
async fn reads_of_status_and_result_can_fail() {
    let fal = Fal::instant().await;
    let reply = fal.submit(FLUX, json!({ "prompt": "x" })).await;
    assert_eq!(fal.result(&reply).await.status(), 200);
    let (status_url, result_url) = (reply["status_url"].as_str().unwrap(), reply["response_url"].as_str().unwrap());
    let missing = json!({ "status": "NOT_FOUND" });
    let unavailable = json!({ "detail": "Service Unavailable" });
    let cases = [
        (json!({ "fault": "status_error", "status": 503 }), Some((503, unavailable.clone())), None),
        (json!({ "fault": "result_error", "status": 503 }), None, Some((503, unavailable))),
        (json!({ "fault": "missing" }), Some((404, missing.clone())), Some((404, missing))),
    ];
    for (rule, status, result) in cases {
        fal.fault(rule.clone());
        for (url, expected) in [(status_url, &status), (result_url, &result)] {
            let got = fal.get(url).await;
            match expected {
                Some(expected) => assert_eq!(&got, expected, "{rule}"),
                None => assert_eq!(got.0, 200, "{rule}"),
            }
        }
        // An error of the gateway does not name the request.
        if status.is_some() {
            assert!(fal.get_raw(status_url).await.headers().get("x-fal-request-id").is_none());
        }
    }
    for (asked, struck, spared) in [("status", status_url, result_url), ("result", result_url, status_url)] {
        fal.fault(json!({ "fault": format!("{asked}_html") }));
        let got = FullAnswer::read(fal.get_raw(struck).await).await.unwrap();
        assert_eq!((got.status, got.header("content-type")), (502, Some("text/html")));
        assert!(got.text.contains("nginx"));
        assert_eq!(fal.get(spared).await.0, 200);
        fal.fault(json!({ "fault": format!("{asked}_cut") }));
        let path = struck.strip_prefix(&fal.running.url()).unwrap();
        assert!(raw(&fal, "GET", path, &[("authorization", &fal.authorization())], "").await.is_empty());
        assert_eq!(fal.get(spared).await.0, 200);
    }
}

#[tokio::test]
async fn a_listing_can_fail_or_lag_behind() {
    let fal = Fal::instant().await;
    for prompt in ["seen", "unseen"] {
        fal.run(FLUX, json!({ "prompt": prompt })).await;
    }
    let list = async || {
        fal.get(&format!("{}/v1/models/requests/by-endpoint?endpoint_id={FLUX}", fal.running.fal_api_url())).await
    };
    fal.fault(json!({ "fault": "listing_error", "status": 503, "endpoint": FLUX, "times": 1 }));
    assert_eq!(list().await, (503, json!({ "detail": "Service Unavailable" })));
    assert_eq!(list().await.1["items"].as_array().unwrap().len(), 2);
    fal.fault(json!({ "fault": "listing_hides", "prompt": "unseen", "times": 2 }));
    let seen = fal.running.requests()[0].request_id.clone();
    for number in [1, 1, 2] {
        let (status, got) = list().await;
        let items = got["items"].as_array().unwrap();
        assert_eq!((status, items.len()), (200, number));
        assert_eq!(items[number - 1]["request_id"], seen);
    }
    assert_eq!(fal.hits(), 2);
}

#[tokio::test]
async fn the_key_set_can_be_unavailable() {
    let fal = Fal::instant().await;
    let url = format!("{}/.well-known/jwks.json", fal.running.fal_rest_url());
    fal.fault(json!({ "fault": "keys_error", "status": 503, "times": 1 }));
    assert_eq!(fal.get(&url).await, (503, json!({ "detail": "Service Unavailable" })));
    assert_eq!(fal.get(&url).await.1["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn cancellations_can_be_refused_or_ignored() {
    let too_late = json!({ "status": "ALREADY_COMPLETED" });
    let requested = json!({ "status": "CANCELLATION_REQUESTED" });
    let cases = [
        (Fault::CancelTooLate, 400, too_late.clone(), false),
        (Fault::CancelNotFound, 404, json!({ "status": "NOT_FOUND" }), false),
        (Fault::CancelIgnored, 202, requested, false),
        (Fault::Cancel200, 200, json!({ "success": true }), true),
    ];
    for (fault, status, body, cancelled) in cases {
        let fal = Fal::start(Config { scale: 0.0, concurrency: 0, ..Config::default() }).await;
        fal.running.set_faults(vec![FaultRule::new(fault.clone())]).unwrap();
        let reply = fal.submit(FLUX, json!({ "prompt": "x" })).await;
        let cancel = async || {
            let url = reply["cancel_url"].as_str().unwrap();
            read(fal.http.put(url).header("authorization", fal.authorization()).send().await.unwrap()).await
        };
        assert_eq!(cancel().await, (status, body), "{fault:?}");
        assert_eq!(fal.running.counters().cancels, u64::from(cancelled));
        fal.control("settings", json!({ "concurrency": 1 })).await;
        let result = fal.result(&reply).await;
        assert_eq!(result.status().as_u16(), if cancelled { 499 } else { 200 }, "{fault:?}");
        assert_eq!(fal.running.counters().billed_completions, u64::from(!cancelled));
        // No fault applies once the request has ended.
        assert_eq!(cancel().await, (400, too_late.clone()), "{fault:?}");
        assert_eq!(fal.hits(), 1);
    }
}

#[tokio::test]
async fn a_request_in_progress_can_ignore_its_cancellation() {
    let fal = Fal::instant().await;
    let rules = json!([{ "fault": "slow", "seconds": 0.3 }, { "fault": "cancel_ignored" }]);
    fal.control("faults", rules).await;
    let reply = fal.submit(FLUX, json!({ "prompt": "x" })).await;
    until("it is in progress", async || fal.running.counters().in_progress == 1).await;
    let cancel = fal.http.put(reply["cancel_url"].as_str().unwrap()).header("authorization", fal.authorization());
    assert_eq!(cancel.timeout(Duration::from_secs(5)).send().await.unwrap().status(), 202);
    assert_eq!(fal.result(&reply).await.status(), 200);
    let counters = fal.running.counters();
    assert_eq!((counters.cancels, counters.billed_completions), (0, 1));
}

#[tokio::test]
async fn faults_of_the_work_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { scale: 0.0, state: Some(folder.path().join("state.json")), ..Config::default() };
    let first = Fal::start(config()).await;
    let rules = json!([
        { "fault": "model_error", "type": "generation_timeout", "prompt": "one" },
        { "fault": "infrastructure_end", "error_type": "runner_disconnected", "prompt": "two" },
        { "fault": "nsfw", "prompt": "three" },
        { "fault": "never_starts", "prompt": "four" },
        { "fault": "media_url", "url": "https://evil.example/x.png", "prompt": "five" },
    ]);
    assert_eq!(first.control("faults", rules).await.0, 200);
    let mut replies = Vec::new();
    for prompt in ["one", "two", "three", "four", "five"] {
        replies.push(first.submit(FLUX, json!({ "prompt": prompt })).await);
    }
    until("all but one have ended", async || first.running.counters().completions == 4).await;
    drop(first);

    let second = Fal::start(config()).await;
    let ask = async |n: usize, action: &str| {
        let id = replies[n]["request_id"].as_str().unwrap();
        let url = format!("{}/fal-ai/flux/requests/{id}{action}", second.running.fal_queue_url());
        FullAnswer::read(second.get_raw(&url).await).await.unwrap()
    };
    let timed_out = ask(0, "").await;
    assert_eq!((timed_out.status, timed_out.header("x-fal-retryable")), (504, Some("true")));
    assert_eq!(timed_out.json()["detail"][0]["type"], "generation_timeout");
    let gone = ask(1, "").await;
    assert_eq!((gone.status, gone.header("x-fal-error-type")), (503, Some("runner_disconnected")));
    assert_eq!(ask(2, "").await.json()["has_nsfw_concepts"], json!([true]));
    assert_eq!(ask(3, "/status").await.json()["status"], "IN_QUEUE");
    assert_eq!(ask(4, "").await.json()["images"][0]["url"], "https://evil.example/x.png");
}
