//! Faults of webhooks: lost, duplicated, delayed, early, reordered, forged.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_simulator::RequestRecord;
use serde_json::{Value, json};

use crate::FLUX;
use crate::common::{Delivery, Fal, Receiver, receiver, until};

async fn submit(fal: &Fal, receiver: &Receiver, endpoint: &str, prompt: &str) -> String {
    let webhook: String = url::form_urlencoded::byte_serialize(receiver.url.as_bytes()).collect();
    let reply = fal.submit(&format!("{endpoint}?fal_webhook={webhook}"), json!({ "prompt": prompt })).await;
    reply["request_id"].as_str().unwrap().to_owned()
}

async fn key(fal: &Fal) -> Vec<u8> {
    let url = format!("{}/.well-known/jwks.json", fal.running.fal_rest_url());
    let keys: Value = fal.http.get(url).send().await.unwrap().json().await.unwrap();
    URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap()
}

fn only_record(fal: &Fal) -> RequestRecord {
    let mut records = fal.running.requests();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[tokio::test]
async fn a_webhook_can_be_lost() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    fal.fault(json!({ "fault": "webhook_lost", "times": 1 }));
    submit(&fal, &receiver, FLUX, "lost").await;
    until("it is lost", async || fal.running.counters().webhooks_lost == 1).await;
    let next = submit(&fal, &receiver, FLUX, "next").await;
    assert_eq!(receiver.next().await.json()["request_id"], next);
    assert_eq!(fal.running.counters().webhooks_sent, 1);
}

#[tokio::test]
async fn a_webhook_can_arrive_many_times() {
    for (rule, number) in [
        (json!({ "fault": "webhook_twice" }), 2),
        (json!({ "fault": "webhook_burst" }), 50),
        (json!({ "fault": "webhook_burst", "count": 3 }), 3),
    ] {
        let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
        let key = key(&fal).await;
        fal.fault(rule);
        let id = submit(&fal, &receiver, FLUX, "x").await;
        let first = receiver.next().await;
        assert!(first.verifies(&key) && first.json()["request_id"] == id);
        for _ in 1..number {
            let again = receiver.next().await;
            assert!(again.verifies(&key) && again.body == first.body);
        }
        until("all are acknowledged", async || fal.running.counters().webhooks_acked == number).await;
        assert_eq!(fal.running.counters().webhooks_sent, number);
    }
}

#[tokio::test]
async fn a_webhook_can_be_delayed() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    fal.fault(json!({ "fault": "webhook_late", "seconds": 0.3 }));
    let started = Instant::now();
    submit(&fal, &receiver, FLUX, "x").await;
    receiver.next().await;
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_webhook_can_arrive_before_the_reply() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let rules = json!([{ "fault": "webhook_before_reply" }, { "fault": "slow", "seconds": 0.2 }]);
    fal.control("faults", rules).await;
    let id = submit(&fal, &receiver, FLUX, "x").await;
    // The delivery was answered before the reply.
    assert_eq!(receiver.deliveries.try_recv().unwrap().json()["request_id"], id);
    let record = only_record(&fal);
    assert!(record.webhook.acked);
    assert_eq!(record.faults, ["slow", "webhook_before_reply"]);
    // Without a delivery the wait is bounded.
    let rules = json!([{ "fault": "webhook_before_reply", "seconds": 0.1 }, { "fault": "webhook_lost" }]);
    fal.control("faults", rules).await;
    submit(&fal, &receiver, FLUX, "x").await;
    // Without a webhook the reply does not wait.
    fal.fault(json!({ "fault": "webhook_before_reply" }));
    fal.submit(FLUX, json!({ "prompt": "x" })).await;
    assert_eq!(fal.hits(), 0);
}

#[tokio::test]
async fn webhooks_can_be_reordered() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    fal.fault(json!({ "fault": "webhook_reordered", "prompt": "held" }));
    let held = submit(&fal, &receiver, FLUX, "held").await;
    until("it has ended", async || fal.running.counters().completions == 1).await;
    // A delivery of another endpoint does not count.
    let other = submit(&fal, &receiver, "fal-ai/flux/dev", "other").await;
    assert_eq!(receiver.next().await.json()["request_id"], other);
    let next = submit(&fal, &receiver, FLUX, "next").await;
    assert_eq!(receiver.next().await.json()["request_id"], next);
    assert_eq!(receiver.next().await.json()["request_id"], held);
    // A control route or the time releases it.
    let held = submit(&fal, &receiver, FLUX, "held").await;
    until("it has ended", async || fal.running.counters().completions == 4).await;
    assert_eq!(fal.control("webhooks/release", json!({})).await, (200, json!({ "released": 1 })));
    assert_eq!(receiver.next().await.json()["request_id"], held);
    fal.fault(json!({ "fault": "webhook_reordered", "seconds": 0.1 }));
    let held = submit(&fal, &receiver, FLUX, "x").await;
    assert_eq!(receiver.next().await.json()["request_id"], held);
}

/// The flaw that a receiver finds in a forged delivery.
fn flaws(fal: &Fal, key: &[u8], id: &str, delivery: &Delivery) -> Vec<&'static str> {
    let timestamp: i64 = delivery.header("x-fal-webhook-timestamp").parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let body = delivery.json();
    assert_eq!(body["request_id"], delivery.header("x-fal-webhook-request-id"));
    let found = [
        (!delivery.verifies(key), "signature"),
        (delivery.header("x-fal-webhook-user-id") != fal.running.user_id(), "user"),
        (now - timestamp > 300, "stale"),
        (body["request_id"] != id, "request"),
        (!delivery.path.ends_with("/7c0ffee"), "token"),
    ];
    found.iter().filter(|(is, _)| *is).map(|(_, flaw)| *flaw).collect()
}

#[tokio::test]
async fn a_forged_webhook_has_one_flaw_and_arrives_first() {
    for (fault, flaw, is_lie) in [
        ("webhook_forged_signature", "signature", true),
        ("webhook_wrong_user", "user", true),
        ("webhook_stale", "stale", false),
        ("webhook_unknown_request", "request", false),
        ("webhook_wrong_token", "token", false),
    ] {
        let (fal, mut receiver) = (Fal::instant().await, receiver(|n| if n == 0 { 401 } else { 200 }).await);
        let key = key(&fal).await;
        fal.fault(json!({ "fault": fault }));
        let id = submit(&fal, &receiver, FLUX, "x").await;
        let (forged, genuine) = (receiver.next().await, receiver.next().await);
        assert_eq!(flaws(&fal, &key, &id, &forged), [flaw], "{fault}");
        assert!(flaws(&fal, &key, &id, &genuine).is_empty(), "{fault}");
        assert_eq!(genuine.json()["status"], "OK");
        assert_eq!(forged.json()["status"] == "ERROR", is_lie, "{fault}");
        if !is_lie {
            assert_eq!(forged.json()["payload"], genuine.json()["payload"]);
        }
        until("the genuine one is acknowledged", async || fal.running.counters().webhooks_acked == 1).await;
        let counters = fal.running.counters();
        assert_eq!((counters.webhooks_sent, counters.webhooks_forged, counters.webhooks_forged_acked), (1, 1, 0));
        let record = only_record(&fal);
        assert_eq!((record.webhook.deliveries, record.webhook.forged), (1, vec![401]), "{fault}");
    }
}

#[tokio::test]
async fn a_forged_webhook_can_replace_the_genuine_one() {
    for fault in [
        "webhook_forged_signature",
        "webhook_wrong_user",
        "webhook_stale",
        "webhook_unknown_request",
        "webhook_wrong_token",
    ] {
        let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
        fal.fault(json!({ "fault": fault, "instead": true }));
        let id = submit(&fal, &receiver, FLUX, "x").await;
        assert_eq!(flaws(&fal, &key(&fal).await, &id, &receiver.next().await).len(), 1, "{fault}");
        until("its answer is counted", async || fal.running.counters().webhooks_forged_acked == 1).await;
        assert_eq!(fal.running.counters().webhooks_sent, 0, "{fault}");
        // A receiver that believed it is counted, too.
        assert_eq!(only_record(&fal).webhook.forged, [200]);
        assert!(!only_record(&fal).webhook.acked);
    }
}
