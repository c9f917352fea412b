//! Faults of calls of Gemini, in Google's envelope.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Fal, until};
use crate::{FullAnswer, raw};

const MODEL: &str = "gemini-2.0-flash";

fn body() -> Value {
    json!({ "contents": [{ "parts": [{ "text": "What is a fox?" }] }] })
}

async fn call(fal: &Fal) -> FullAnswer {
    let url = format!("{}/v1beta/models/{MODEL}:generateContent", fal.running.gemini_url());
    let request = fal.http.post(url).header("x-goog-api-key", fal.running.gemini_key()).json(&body());
    FullAnswer::read(request.send().await.unwrap()).await.unwrap()
}

async fn call_raw(fal: &Fal) -> Vec<u8> {
    let path = format!("/gemini/v1beta/models/{MODEL}:generateContent");
    let headers = [("x-goog-api-key", fal.running.gemini_key()), ("content-type", "application/json")];
    raw(fal, "POST", &path, &headers, &body().to_string()).await
}

fn detail<'a>(error: &'a Value, kind: &str) -> &'a Value {
    let kind = format!("type.googleapis.com/google.rpc.{kind}");
    error["details"].as_array().and_then(|all| all.iter().find(|one| one["@type"] == kind)).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_refusal_has_googles_form_and_bills_nothing() {
    let fal = Fal::instant().await;
    let cases = [
        (json!({ "fault": "unauthorized" }), 400, "INVALID_ARGUMENT"),
        (json!({ "fault": "exhausted_balance" }), 400, "FAILED_PRECONDITION"),
        (json!({ "fault": "forbidden" }), 403, "PERMISSION_DENIED"),
        (json!({ "fault": "not_found" }), 404, "NOT_FOUND"),
        (json!({ "fault": "validation" }), 400, "INVALID_ARGUMENT"),
        (json!({ "fault": "throttled" }), 429, "RESOURCE_EXHAUSTED"),
        (json!({ "fault": "throttled", "retry_after": 37 }), 429, "RESOURCE_EXHAUSTED"),
        (json!({ "fault": "daily_quota" }), 429, "RESOURCE_EXHAUSTED"),
        (json!({ "fault": "server_error" }), 500, "INTERNAL"),
        (json!({ "fault": "server_error", "status": 503 }), 503, "UNAVAILABLE"),
        (json!({ "fault": "server_error", "status": 504 }), 504, "DEADLINE_EXCEEDED"),
    ];
    for (rule, code, status) in &cases {
        fal.fault(rule.clone());
        let got = call(&fal).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, &error["code"], &error["status"]), (*code, &json!(code), &json!(status)), "{rule}");
        assert!(error["message"].is_string());
        let quota = detail(error, "QuotaFailure")["violations"][0]["quotaId"].as_str().unwrap_or_default();
        assert_eq!(quota.contains("PerDay"), rule["fault"] == "daily_quota", "{rule}");
        assert_eq!(quota.contains("PerMinute"), rule["fault"] == "throttled", "{rule}");
        let delay = &detail(error, "RetryInfo")["retryDelay"];
        assert_eq!(delay == "37s", !rule["retry_after"].is_null(), "{rule} {delay}");
        assert_eq!(detail(error, "ErrorInfo")["reason"] == "API_KEY_INVALID", rule["fault"] == "unauthorized");
        let says_billing = error["message"].as_str().unwrap().contains("enable billing");
        assert_eq!(says_billing, rule["fault"] == "exhausted_balance");
    }
    fal.fault(json!({ "fault": "html_502" }));
    let got = call(&fal).await;
    assert_eq!((got.status, got.header("content-type")), (502, Some("text/html; charset=UTF-8")));
    fal.fault(json!({ "fault": "cut_before" }));
    assert!(call_raw(&fal).await.is_empty());
    let counters = fal.running.counters();
    assert_eq!((counters.submits, counters.accepted), (cases.len() as u64 + 2, 0));
    assert!(fal.running.requests().is_empty());
}

#[tokio::test]
async fn faults_of_fal_do_not_apply_to_gemini() {
    let fal = Fal::instant().await;
    let rules = json!([
        { "fault": "throttled_200" }, { "fault": "content_policy_submit" }, { "fault": "no_request_id" },
        { "fault": "infrastructure", "error_type": "internal_error" }, { "fault": "never_ends" }, { "fault": "nsfw" },
        { "fault": "throttled", "endpoint": "fal-ai/*" },
    ]);
    fal.control("faults", rules).await;
    assert_eq!((call(&fal).await.status, fal.hits()), (200, 0));
    // Faults of Gemini do not apply to fal either.
    fal.control("faults", json!([{ "fault": "daily_quota" }, { "fault": "blocked" }, { "fault": "safety" }])).await;
    assert_eq!(fal.run(crate::FLUX, json!({ "prompt": "x" })).await.0, 200);
    assert_eq!(fal.hits(), 0);
}

#[tokio::test]
async fn a_lost_answer_is_billed() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "cut_after" }));
    assert!(call_raw(&fal).await.is_empty());
    fal.fault(json!({ "fault": "reply_never", "seconds": 0.1 }));
    assert!(call_raw(&fal).await.is_empty());
    fal.fault(json!({ "fault": "broken_json" }));
    let got = call(&fal).await;
    assert!(got.status == 200 && serde_json::from_str::<Value>(&got.text).is_err());
    fal.fault(json!({ "fault": "slow_reply", "seconds": 0.2 }));
    let started = Instant::now();
    assert!(call(&fal).await.json()["candidates"].is_array());
    assert!(started.elapsed() >= Duration::from_millis(150));
    until("all are done", async || fal.running.counters().billed_completions == 4).await;
    assert_eq!(fal.running.counters().accepted, 4);
    let struck: Vec<_> = fal.running.requests().iter().map(|record| record.faults.join(" ")).collect();
    assert_eq!(struck, ["cut_after", "reply_never", "broken_json", "slow_reply"]);
}

#[tokio::test]
async fn an_answer_can_have_no_text() {
    let fal = Fal::instant().await;
    let cases = [
        (json!({ "fault": "blocked" }), None, "", 0),
        (json!({ "fault": "safety" }), Some("SAFETY"), "", 0),
        (json!({ "fault": "empty" }), Some("STOP"), "", 0),
        (json!({ "fault": "max_tokens" }), Some("MAX_TOKENS"), "", 0),
        (json!({ "fault": "max_tokens", "characters": 12 }), Some("MAX_TOKENS"), "No image was", 3),
    ];
    for (rule, reason, text, tokens) in &cases {
        fal.fault(rule.clone());
        let got = call(&fal).await;
        let answer = got.json();
        assert_eq!(got.status, 200);
        assert_eq!(answer.pointer("/candidates/0/finishReason").and_then(Value::as_str), *reason, "{rule}");
        let said = answer.pointer("/candidates/0/content/parts/0/text").and_then(Value::as_str);
        assert_eq!(said.unwrap_or_default(), *text, "{rule}");
        assert_eq!(answer.get("candidates").is_none(), reason.is_none(), "{rule}");
        let blocked = answer.pointer("/promptFeedback/blockReason").and_then(Value::as_str);
        assert_eq!(blocked, reason.is_none().then_some("SAFETY"), "{rule}");
        let usage = &answer["usageMetadata"];
        assert_eq!(usage["candidatesTokenCount"].as_u64().unwrap_or_default(), *tokens, "{rule}");
        assert_eq!(usage["totalTokenCount"].as_u64().unwrap(), usage["promptTokenCount"].as_u64().unwrap() + tokens);
    }
    fal.fault(json!({ "fault": "blocked", "reason": "PROHIBITED_CONTENT" }));
    assert_eq!(call(&fal).await.json()["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    // An answer is billed even without a text.
    assert_eq!(fal.running.counters().billed_completions, cases.len() as u64 + 1);
}

#[tokio::test]
async fn slow_work_delays_a_call() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "slow", "seconds": 0.2 }));
    let started = Instant::now();
    assert_eq!(call(&fal).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
}
