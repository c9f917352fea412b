//! Verification against a served key, with every part of a delivery forged in turn, and the forms of bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fresco_pipeline::error::ErrorName;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tokio::sync::watch;

use super::*;

const NOW_MS: i64 = 1_767_225_600_000;
const USER: &str = "user-1";
const BODY: &str = r#"{"request_id":"r-1","gateway_request_id":"r-1","status":"OK","error":null,
    "payload":{"images":[{"url":"https://v3.fal.media/a.png"}]}}"#;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap()
}

fn signed(key: &Ed25519KeyPair, body: &str) -> WebhookRequest {
    let seconds = (NOW_MS / 1000).to_string();
    let message = format!("r-1\n{USER}\n{seconds}\n{}", hex::encode(Sha256::digest(body)));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("content-type", "application/json"),
        header("X-Fal-Webhook-Request-Id", "r-1"),
        header("x-fal-webhook-user-id", USER),
        header("X-FAL-WEBHOOK-TIMESTAMP", &seconds),
        header("x-fal-webhook-signature", &hex::encode(key.sign(message.as_bytes()))),
    ];
    WebhookRequest { headers, body: Bytes::copy_from_slice(body.as_bytes()), now_ms: NOW_MS }
}

/// A key server whose set can be changed (nothing makes it fail), and that counts.
struct Server {
    jwks: Jwks,
    keys: watch::Sender<Vec<String>>,
    fetches: Arc<AtomicUsize>,
    http: reqwest::Client,
}

impl Server {
    async fn start(keys: &[&Ed25519KeyPair]) -> Server {
        let (sender, receiver) = watch::channel(encoded(keys));
        let fetches = Arc::new(AtomicUsize::new(0));
        let counter = fetches.clone();
        let answer = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let keys = receiver.borrow().clone();
            async move {
                let keys: Vec<_> = keys.iter().map(|x| json!({"kty": "OKP", "crv": "Ed25519", "x": x})).collect();
                match keys.is_empty() {
                    true => Err(axum::http::StatusCode::BAD_GATEWAY),
                    false => Ok(axum::Json(json!({"keys": keys}))),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/.well-known/jwks.json", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let http = crate::http::build(crate::http::builder().unwrap()).unwrap();
        Server { jwks: Jwks::new(&base).unwrap(), keys: sender, fetches, http }
    }

    fn serve(&self, keys: &[&Ed25519KeyPair]) {
        self.keys.send_replace(encoded(keys));
    }

    async fn read(&self, request: &WebhookRequest) -> Result<WebhookReport, WebhookError> {
        read(&self.http, &self.jwks, USER, request).await
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn encoded(keys: &[&Ed25519KeyPair]) -> Vec<String> {
    keys.iter().map(|key| URL_SAFE_NO_PAD.encode(key.public_key())).collect()
}

#[tokio::test]
async fn a_good_delivery_is_read_and_the_keys_are_fetched_once() {
    let (old, new) = (key(), key());
    let server = Server::start(&[&old, &new]).await;
    for key in [&new, &old, &new] {
        let report = server.read(&signed(key, BODY)).await.unwrap();
        assert_eq!((report.request_id.as_str(), report.gateway_request_id), ("r-1", None));
        assert!(matches!(report.report, JobReport::Succeeded { media, .. } if media.len() == 1));
    }
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn any_change_to_a_delivery_is_noticed() {
    let key = key();
    let server = Server::start(&[&key]).await;
    let good = signed(&key, BODY);
    assert!(server.read(&good).await.is_ok());
    let set = |name: &str, value: &str| {
        let mut forged = good.clone();
        for (other, old) in &mut forged.headers {
            if other.eq_ignore_ascii_case(name) {
                *old = value.to_owned();
            }
        }
        forged
    };
    let body = |bytes: &[u8]| WebhookRequest { body: Bytes::copy_from_slice(bytes), ..good.clone() };
    let at = |now_ms: i64| WebhookRequest { now_ms, ..good.clone() };
    let seconds = NOW_MS / 1000;
    let signature = good.headers[4].1.clone();
    let flipped = format!("{}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
    let mut rows = vec![
        (set("x-fal-webhook-signature", &flipped), WebhookError::BadSignature),
        (set("x-fal-webhook-signature", &"00".repeat(64)), WebhookError::BadSignature),
        (set("x-fal-webhook-signature", &signature[2..]), WebhookError::Unsigned),
        (set("x-fal-webhook-signature", &format!("{signature}00")), WebhookError::Unsigned),
        (set("x-fal-webhook-signature", "not hex"), WebhookError::Unsigned),
        (set("x-fal-webhook-signature", ""), WebhookError::Unsigned),
        (set("x-fal-webhook-request-id", "r-2"), WebhookError::BadSignature),
        // The same message, cut elsewhere.
        (set("x-fal-webhook-request-id", &format!("r-1\n{USER}")), WebhookError::Unsigned),
        (set("x-fal-webhook-user-id", "user-2"), WebhookError::NotOurs),
        (set("x-fal-webhook-user-id", "USER-1"), WebhookError::NotOurs),
        (set("x-fal-webhook-timestamp", &(seconds + 1).to_string()), WebhookError::BadSignature),
        (set("x-fal-webhook-timestamp", &format!("0{seconds}")), WebhookError::BadSignature),
        (set("x-fal-webhook-timestamp", &format!("+{seconds}")), WebhookError::Unsigned),
        (set("x-fal-webhook-timestamp", &(seconds - 301).to_string()), WebhookError::Stale),
        (set("x-fal-webhook-timestamp", &(seconds + 301).to_string()), WebhookError::Stale),
        (set("x-fal-webhook-timestamp", "99999999999999999999999"), WebhookError::Unsigned),
        (set("x-fal-webhook-timestamp", "now"), WebhookError::Unsigned),
        (at(NOW_MS + 301_000), WebhookError::Stale),
        (at(NOW_MS - 301_000), WebhookError::Stale),
        (body(format!("{BODY} ").as_bytes()), WebhookError::BadSignature),
        (body(BODY.replace("a.png", "b.png").as_bytes()), WebhookError::BadSignature),
        (body(b""), WebhookError::BadSignature),
    ];
    for name in ["signature", "request-id", "user-id", "timestamp"] {
        let name = format!("x-fal-webhook-{name}");
        let mut without = good.clone();
        without.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        rows.push((without, WebhookError::Unsigned));
        let mut twice = good.clone();
        let again = good.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(&name)).unwrap().clone();
        twice.headers.push(again);
        rows.push((twice, WebhookError::Unsigned));
    }
    for (forged, expected) in rows {
        let result = server.read(&forged).await;
        assert_eq!(result, Err(expected), "{:?}", forged.headers);
        assert_eq!(expected.status(), 401);
    }
    for now_ms in [NOW_MS + 300_999, NOW_MS - 300_000] {
        assert!(server.read(&at(now_ms)).await.is_ok());
    }
    let no_account = read(&server.http, &server.jwks, "", &set("x-fal-webhook-user-id", "")).await;
    assert_eq!(no_account, Err(WebhookError::Unsigned));
    assert_eq!(read(&server.http, &server.jwks, "", &good).await, Err(WebhookError::NotOurs));
}

#[tokio::test]
async fn a_new_key_is_found_and_forgeries_do_not_reach_fal() {
    let (old, new) = (key(), key());
    let server = Server::start(&[&old]).await;
    let at =
        |key: &Ed25519KeyPair, seconds: i64| WebhookRequest { now_ms: NOW_MS + seconds * 1000, ..signed(key, BODY) };
    assert!(server.read(&at(&old, 0)).await.is_ok());
    server.serve(&[&new]);
    // Fetched less than a minute ago: believed.
    assert_eq!(server.read(&at(&new, 59)).await, Err(WebhookError::BadSignature));
    assert_eq!(server.fetches(), 1);
    assert!(server.read(&at(&new, 60)).await.is_ok());
    assert_eq!(server.fetches(), 2);
    for _ in 0..5 {
        assert_eq!(server.read(&at(&old, 100)).await, Err(WebhookError::BadSignature));
    }
    assert_eq!(server.fetches(), 2);
    // The keys cannot be had: fal shall come again, and is asked only once a minute.
    server.serve(&[]);
    assert_eq!(server.read(&at(&old, 130)).await, Err(WebhookError::KeysUnavailable));
    assert_eq!(server.read(&at(&old, 131)).await, Err(WebhookError::BadSignature));
    assert!(server.read(&at(&new, 131)).await.is_ok());
    assert_eq!(server.fetches(), 3);
}

#[tokio::test]
async fn keys_are_not_used_for_more_than_a_day() {
    let key = key();
    let server = Server::start(&[&key]).await;
    assert!(server.read(&signed(&key, BODY)).await.is_ok());
    server.serve(&[]);
    // A day later, with the time signed again.
    let later_ms = NOW_MS + 24 * 60 * 60 * 1000;
    assert!(server.jwks.current(&server.http, later_ms - 1).await.is_some());
    assert!(server.jwks.current(&server.http, later_ms).await.is_none());
    server.serve(&[&key]);
    assert!(server.jwks.current(&server.http, later_ms).await.is_some());
    assert_eq!(server.fetches(), 3);
}

#[tokio::test]
async fn without_keys_nothing_is_believed() {
    let key = key();
    let server = Server::start(&[]).await;
    assert_eq!(server.read(&signed(&key, BODY)).await, Err(WebhookError::KeysUnavailable));
    assert_eq!(WebhookError::KeysUnavailable.status(), 503);
    server.serve(&[&key]);
    assert!(server.read(&signed(&key, BODY)).await.is_ok());
}

#[test]
fn bodies_are_read() {
    let body = |status: &str, error: Value, payload: Value| json!({"request_id": "r-1", "gateway_request_id": "g-1", "status": status, "error": error, "payload": payload});
    let detail = |kind: &str| json!({"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": kind}]});
    let failed = |name, billed| move |report: &JobReport| matches!(report, JobReport::Failed { failure, billed: b } if failure.name == name && *b == billed);
    type Check = Box<dyn Fn(&JobReport) -> bool>;
    let unread = || Box::new(|report: &JobReport| *report == JobReport::NotIncluded) as Check;
    let mut with_payload_error = body("OK", Value::Null, Value::Null);
    with_payload_error["payload_error"] = json!("Response payload is not JSON serializable.");
    let rows: Vec<(Value, Check)> = vec![
        (
            body("OK", Value::Null, json!({"images": [{"url": "https://v3.fal.media/a.png"}]})),
            Box::new(|report| matches!(report, JobReport::Succeeded { media, .. } if media.len() == 1)),
        ),
        (body("OK", Value::Null, json!({"images": []})), Box::new(failed(ErrorName::ProviderFailed, true))),
        (
            body("OK", Value::Null, json!({"images": [{"url": "https://x/y"}], "has_nsfw_concepts": [true]})),
            Box::new(failed(ErrorName::ProviderContentPolicy, true)),
        ),
        (body("OK", Value::Null, Value::Null), unread()),
        (with_payload_error, unread()),
        (
            body("ERROR", json!("Invalid status code: 422"), detail("content_policy_violation")),
            Box::new(failed(ErrorName::ProviderContentPolicy, true)),
        ),
        (
            body("ERROR", json!("Invalid status code: 422"), detail("missing")),
            Box::new(failed(ErrorName::ProviderRejected, false)),
        ),
        (body("ERROR", Value::Null, detail("missing")), Box::new(|report| matches!(report, JobReport::Failed { .. }))),
        (
            body("ERROR", json!("Invalid status code: 500"), detail("internal_server_error")),
            Box::new(failed(ErrorName::ProviderUnavailable, false)),
        ),
        (
            body(
                "ERROR",
                json!("Invalid status code: 503"),
                json!({"detail": "x", "error_type": "runner_disconnected"}),
            ),
            Box::new(failed(ErrorName::ProviderUnavailable, false)),
        ),
        (
            body("ERROR", json!("Invalid status code: 499"), json!({"detail": "x", "error_type": "client_cancelled"})),
            Box::new(|report| *report == JobReport::Cancelled { billed: false }),
        ),
        (
            body("ERROR", json!("Invalid status code: 422"), json!({"detail": "a text"})),
            Box::new(failed(ErrorName::ProviderRejected, true)),
        ),
        (body("ERROR", json!("Invalid status code: 500"), json!({})), unread()),
        (body("ERROR", json!("something else"), json!({"detail": "a text"})), unread()),
        (body("ERROR", json!("timed out"), Value::Null), unread()),
    ];
    for (value, check) in rows {
        let report = parse(value.to_string().as_bytes()).unwrap();
        assert!(check(&report.report), "{value}: {report:?}");
        assert_eq!(report.gateway_request_id.as_deref(), Some("g-1"));
    }
    for bad in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"request_id":"r-1"}"#,
        r#"{"request_id":"r-1","status":"MAYBE"}"#,
        r#"{"status":"OK","payload":{}}"#,
        r#"{"request_id":"../r","status":"OK"}"#,
        r#"{"request_id":7,"status":"OK"}"#,
    ] {
        assert_eq!(parse(bad.as_bytes()), Err(WebhookError::Malformed), "{bad}");
    }
}
