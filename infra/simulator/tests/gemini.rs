//! Gemini over HTTP: the description of images, errors, counters and records.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{BLUE, Fal, png, read, until};
use fresco_simulator::{Config, Status};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MODEL: &str = "gemini-2.0-flash";

fn picture() -> Vec<u8> {
    png(&RgbImage::from_pixel(64, 48, Rgb(BLUE)))
}

fn asking(prompt: &str) -> Value {
    let data = STANDARD.encode(picture());
    json!({ "contents": [{ "role": "user",
        "parts": [{ "inlineData": { "mimeType": "image/png", "data": data } }, { "text": prompt }] }] })
}

async fn call(fal: &Fal, model: &str, key: Option<&str>, body: String) -> (u16, Value) {
    let url = format!("{}/v1beta/models/{model}:generateContent", fal.running.gemini_url());
    let mut request = fal.http.post(url).header("content-type", "application/json").body(body);
    if let Some(key) = key {
        request = request.header("x-goog-api-key", key);
    }
    read(request.send().await.unwrap()).await
}

async fn ask(fal: &Fal, body: Value) -> (u16, Value) {
    call(fal, MODEL, Some(fal.running.gemini_key()), body.to_string()).await
}

fn text(answer: &Value) -> &str {
    answer["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn the_text_quotes_the_prompt_and_describes_the_image() {
    let fal = Fal::instant().await;
    let (status, answer) = ask(&fal, asking("What is shown?")).await;
    assert_eq!(status, 200, "{answer}");
    let hash = hex::encode(Sha256::digest(picture()));
    let expected =
        format!("A PNG image of 64x48 pixels, mostly blue (sha256 {}). Asked was: \"What is shown?\".", &hash[..8]);
    assert_eq!(text(&answer), expected);
    let candidate = &answer["candidates"][0];
    assert_eq!((&candidate["finishReason"], &candidate["content"]["role"]), (&json!("STOP"), &json!("model")));
    assert_eq!(answer["modelVersion"], MODEL);
    let usage = &answer["usageMetadata"];
    assert_eq!(
        (&usage["promptTokenCount"], &usage["candidatesTokenCount"]),
        (&json!(258 + 4), &json!(expected.len().div_ceil(4)))
    );
    let again = ask(&fal, asking("What is shown?")).await.1;
    assert_eq!(text(&again), expected);
    assert_ne!(again["responseId"], answer["responseId"]);
    let (status, other) =
        call(&fal, "gemini-2.5-flash", Some(fal.running.gemini_key()), asking("And now?").to_string()).await;
    assert_eq!((status, &other["modelVersion"]), (200, &json!("gemini-2.5-flash")));
}

#[tokio::test]
async fn json_and_a_bound_are_honoured() {
    let fal = Fal::instant().await;
    let mut body = asking(&"why ".repeat(100));
    body["generationConfig"] = json!({ "responseMimeType": "application/json" });
    let (_, answer) = ask(&fal, body.clone()).await;
    let got: Value = serde_json::from_str(text(&answer)).unwrap();
    assert_eq!((&got["images"][0]["width"], &got["images"][0]["dominant_colour"]), (&json!(64), &json!("blue")));
    assert_eq!(got["asked"].as_str().unwrap().chars().count(), 201);
    body["generationConfig"] = json!({ "maxOutputTokens": 3 });
    let (_, answer) = ask(&fal, body).await;
    assert_eq!((text(&answer), &answer["candidates"][0]["finishReason"]), ("A PNG image ", &json!("MAX_TOKENS")));
}

#[tokio::test]
async fn errors_come_in_googles_envelope() {
    let fal = Fal::instant().await;
    let key = fal.running.gemini_key();
    let body = asking("x").to_string();
    let part = |part: Value| json!({ "contents": [{ "parts": [part] }] }).to_string();
    let data = |kind: &str, data: &str| part(json!({ "inlineData": { "mimeType": kind, "data": data } }));
    let large = data("image/png", &"A".repeat((20 << 20) + 4));
    let cases = [
        (MODEL, Some("wrong"), body.clone(), 400, "INVALID_ARGUMENT"),
        (MODEL, None, body.clone(), 403, "PERMISSION_DENIED"),
        ("gemini-9", Some(key), body, 404, "NOT_FOUND"),
        (MODEL, Some(key), "{".to_owned(), 400, "INVALID_ARGUMENT"),
        (MODEL, Some(key), "{}".to_owned(), 400, "INVALID_ARGUMENT"),
        (MODEL, Some(key), data("image/gif", "aGk="), 400, "INVALID_ARGUMENT"),
        (MODEL, Some(key), data("image/png", "&&"), 400, "INVALID_ARGUMENT"),
        (MODEL, Some(key), data("image/png", "aGk="), 400, "INVALID_ARGUMENT"),
        (MODEL, Some(key), part(json!({ "fileData": { "fileUri": "files/a" } })), 403, "PERMISSION_DENIED"),
        (MODEL, Some(key), large, 400, "INVALID_ARGUMENT"),
    ];
    for (model, key, body, code, name) in cases {
        let start: String = body.chars().take(80).collect();
        let (status, answer) = call(&fal, model, key, body).await;
        let error = &answer["error"];
        assert_eq!((status, &error["code"], &error["status"]), (code, &json!(code), &json!(name)), "{start} {answer}");
        assert!(error["message"].is_string());
        assert_eq!(error["details"][0]["reason"] == "API_KEY_INVALID", key == Some("wrong"));
    }
    let counters = fal.running.counters();
    assert_eq!((counters.submits, counters.accepted, fal.running.requests().len()), (7, 0, 0));
}

#[tokio::test]
async fn calls_are_listed_among_the_requests_in_order() {
    let fal = Fal::start(Config { scale: 0.05, ..Config::default() }).await;
    let first = fal.submit("fal-ai/flux/schnell", json!({ "prompt": "first" })).await;
    let (second, third) = tokio::join!(ask(&fal, asking("second")), ask(&fal, asking("second")));
    assert_eq!((second.0, third.0), (200, 200));
    fal.result(&first).await;
    fal.run("fal-ai/flux/schnell", json!({ "prompt": "last" })).await;
    let records = fal.running.requests();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.endpoint.as_str(), record.prompt.as_deref().unwrap(), record.inputs))
        .collect();
    let gemini = ("gemini/gemini-2.0-flash", "second", 1);
    assert_eq!(seen, [("fal-ai/flux/schnell", "first", 0), gemini, gemini, ("fal-ai/flux/schnell", "last", 0)]);
    let (one, other) = (&records[1], &records[2]);
    assert_eq!((one.status, one.status_code, one.billable_units), (Status::Completed, Some(200), Some(1.0)));
    // Calls do not queue: both were in progress at once.
    assert!(other.started_ms.unwrap() <= one.ended_ms.unwrap() && one.started_ms.unwrap() <= other.ended_ms.unwrap());
    assert!(one.ended_ms.unwrap() - one.started_ms.unwrap() >= 90);
    let counters = fal.running.counters();
    let own = &counters.by_endpoint["gemini/gemini-2.0-flash"];
    assert_eq!((own.submits, own.accepted, own.completions, own.billed_completions), (2, 2, 2, 2));
    assert_eq!((counters.submits, counters.billed_completions), (4, 4));
    let (_, shown) = fal.get(&format!("{}/_control/requests", fal.running.url())).await;
    assert_eq!((&shown[1]["endpoint"], &shown[1]["inputs"]), (&json!("gemini/gemini-2.0-flash"), &json!(1)));
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_billed() {
    let fal = Fal::start(Config { scale: 0.2, ..Config::default() }).await;
    let url = format!("{}/v1beta/models/{MODEL}:generateContent", fal.running.gemini_url());
    let request = fal.http.post(url).header("x-goog-api-key", fal.running.gemini_key()).json(&asking("x"));
    let caller = tokio::spawn(request.send());
    until("the call is accepted", async || fal.running.counters().accepted == 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    until("the call ends", async || fal.running.counters().billed_completions == 1).await;
}
