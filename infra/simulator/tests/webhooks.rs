//! Webhooks over HTTP: body and signature, retries, the modes, and forged deliveries.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Fal, Receiver, receiver, until};
use serde_json::{Value, json};

async fn key(fal: &Fal) -> Vec<u8> {
    let url = format!("{}/.well-known/jwks.json", fal.running.fal_rest_url());
    let keys: Value = fal.http.get(url).send().await.unwrap().json().await.unwrap();
    let key = &keys["keys"][0];
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap()
}

async fn submit(fal: &Fal, receiver: &Receiver, body: Value) -> String {
    let webhook: String = url::form_urlencoded::byte_serialize(receiver.url.as_bytes()).collect();
    let reply = fal.submit(&format!("fal-ai/flux/schnell?fal_webhook={webhook}"), body).await;
    reply["request_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_webhook_is_signed_and_carries_the_output() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let id = submit(&fal, &receiver, json!({ "prompt": "a red fox" })).await;
    let delivery = receiver.next().await;
    assert!(delivery.verifies(&key(&fal).await));
    assert_eq!(delivery.header("x-fal-webhook-request-id"), id);
    assert_eq!(delivery.header("x-fal-webhook-user-id"), fal.running.user_id());
    assert_eq!(delivery.header("content-type"), "application/json");
    let body = delivery.json();
    assert_eq!((&body["status"], &body["error"]), (&json!("OK"), &Value::Null));
    assert_eq!((&body["request_id"], &body["gateway_request_id"]), (&json!(id), &json!(id)));
    let (_, result) = fal.get(&format!("{}/fal-ai/flux/requests/{id}", fal.running.fal_queue_url())).await;
    assert_eq!(body["payload"], result);
    until("the acknowledgement is counted", async || fal.running.counters().webhooks_acked == 1).await;
    let record = fal.running.requests().remove(0);
    assert_eq!(record.token.as_deref(), Some("7c0ffee"));
    assert_eq!(record.webhook_url.as_deref(), Some(receiver.url.as_str()));
}

#[tokio::test]
async fn the_webhook_of_a_refused_input_is_an_error() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    submit(&fal, &receiver, json!({ "prompt": "" })).await;
    let body = receiver.next().await.json();
    assert_eq!((&body["status"], &body["error"]), (&json!("ERROR"), &json!("Invalid status code: 422")));
    assert_eq!(body["payload"]["detail"][0]["type"], "string_too_short");
}

#[tokio::test]
async fn a_refused_delivery_is_retried_until_acknowledged() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|n| if n < 2 { 503 } else { 204 }).await);
    submit(&fal, &receiver, json!({ "prompt": "x" })).await;
    let bodies = [receiver.next().await.body, receiver.next().await.body, receiver.next().await.body];
    assert!(bodies.iter().all(|body| body == &bodies[0]));
    until("the acknowledgement is counted", async || fal.running.counters().webhooks_acked == 1).await;
    assert_eq!(fal.running.counters().webhooks_sent, 3);
}

#[tokio::test]
async fn a_redirect_ends_the_deliveries() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 307).await);
    submit(&fal, &receiver, json!({ "prompt": "x" })).await;
    receiver.next().await;
    until("it is given up", async || fal.running.counters().webhooks_failed == 1).await;
    assert_eq!(fal.running.counters().webhooks_sent, 1);
    assert!(receiver.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn retries_of_a_refused_delivery_are_bounded() {
    let (fal, receiver) = (Fal::instant().await, receiver(|_| 500).await);
    submit(&fal, &receiver, json!({ "prompt": "x" })).await;
    until("it is given up", async || fal.running.counters().webhooks_failed == 1).await;
    assert_eq!(fal.running.counters().webhooks_sent, 10);
}

#[tokio::test]
async fn the_webhook_modes_lose_duplicate_and_hold() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    fal.control("settings", json!({ "webhook_mode": "lost" })).await;
    submit(&fal, &receiver, json!({ "prompt": "lost" })).await;
    until("it is lost", async || fal.running.counters().webhooks_lost == 1).await;

    fal.control("settings", json!({ "webhook_mode": "twice" })).await;
    let twice = submit(&fal, &receiver, json!({ "prompt": "twice" })).await;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.json()["request_id"], twice);
    }

    fal.control("settings", json!({ "webhook_mode": "held" })).await;
    let held = submit(&fal, &receiver, json!({ "prompt": "held" })).await;
    until("it has ended", async || fal.running.counters().completions == 3).await;
    assert!(receiver.deliveries.try_recv().is_err());
    assert_eq!(fal.control("webhooks/release", json!({})).await, (200, json!({ "released": 1 })));
    assert_eq!(receiver.next().await.json()["request_id"], held);
}

#[tokio::test]
async fn a_webhook_can_be_resent_and_forged() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|n| if n == 0 { 200 } else { 403 }).await);
    let id = submit(&fal, &receiver, json!({ "prompt": "x" })).await;
    let genuine = receiver.next().await;
    let key = key(&fal).await;
    let now: i64 = genuine.header("x-fal-webhook-timestamp").parse().unwrap();
    for mutate in [Value::Null, json!("signature"), json!("user_id"), json!("stale"), json!("token")] {
        let answer = fal.control("webhooks/resend", json!({ "request_id": id, "mutate": mutate })).await;
        assert_eq!(answer, (200, json!({ "status": 403, "body": "heard" })));
        let delivery = receiver.next().await;
        let word = mutate.as_str().unwrap_or_default();
        assert_eq!(delivery.body, genuine.body);
        assert_eq!(delivery.verifies(&key), word != "signature", "{word}");
        assert_eq!(delivery.header("x-fal-webhook-user-id") != fal.running.user_id(), word == "user_id", "{word}");
        assert_eq!(delivery.path != genuine.path, word == "token", "{word}");
        let age = now - delivery.header("x-fal-webhook-timestamp").parse::<i64>().unwrap();
        assert_eq!(age > 300, word == "stale", "{word}");
    }
    assert_eq!(fal.control("webhooks/resend", json!({ "request_id": "nobody" })).await.0, 404);
    let silent = fal.submit("fal-ai/flux/schnell", json!({ "prompt": "x" })).await;
    assert_eq!(fal.control("webhooks/resend", json!({ "request_id": silent["request_id"] })).await.0, 409);
}
