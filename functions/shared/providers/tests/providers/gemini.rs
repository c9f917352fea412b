//! Gemini against scripted answers: what is sent, that it is sent once, and what each outcome proves.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_providers::gemini::{Gemini, GeminiConfig};
use fresco_providers::{
    Accepted, CancelAnswer, InputData, InputForm, JobReport, JobState, Provider, Submission, SubmitError, WebhookError,
    WebhookRequest,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::script::{Script, Step, answer};
use super::{add_media, keys, request};

const ANSWER: &str = r#"{"candidates":[{"content":{"parts":[{"text":"A fox."}],"role":"model"},"finishReason":"STOP"}],
    "usageMetadata":{"promptTokenCount":264,"candidatesTokenCount":51,"totalTokenCount":315}}"#;

fn config(base: &str) -> GeminiConfig {
    GeminiConfig { url: base.to_owned(), key_name: "/fresco/gemini-key".to_owned() }
}

fn gemini(base: &str) -> Gemini {
    Gemini::new(config(base), keys("AIzaSecret")).unwrap()
}

fn picture(content_type: &str, bytes: &'static [u8]) -> InputData {
    InputData::Bytes { content_type: content_type.to_owned(), bytes: bytes.into() }
}

fn submission(input: Value, media: Vec<InputData>) -> Submission {
    let request = request("gemini-2.5-flash", input);
    let mut submission =
        Submission { request, media: BTreeMap::new(), webhook_url: None, deadline: std::time::Duration::from_secs(60) };
    add_media(&mut submission, "image", true, media);
    submission
}

fn question() -> Submission {
    submission(json!({"prompt": "What is a secret?"}), Vec::new())
}

async fn refusal(gemini: &Gemini, submission: &Submission) -> (Failure, Option<Duration>) {
    match gemini.submit(submission).await {
        Err(SubmitError::Rejected { failure, retry_after, billed: false }) => (failure, retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_question_is_one_post_with_the_pictures_in_it() {
    let script = Script::start(vec![answer(200, &[], ANSWER)]).await;
    let input = json!({"prompt": "What is it?", "engine": "gemini-2.5-flash", "temperature": 0.1,
        "max_output_tokens": 1024});
    let media = vec![picture("image/png", &[1, 2]), picture("image/jpeg", &[3])];
    let accepted = gemini(&script.base).submit(&submission(input, media)).await.unwrap();
    let Accepted::Done(JobReport::TextOutput { text, input_tokens, output_tokens, seconds, cut: false }) = accepted
    else {
        panic!("{accepted:?}")
    };
    assert_eq!((text.as_str(), input_tokens, output_tokens), ("A fox.", Some(264), Some(51)));
    assert!(seconds.is_some_and(|seconds| (0.0..60.0).contains(&seconds)));
    assert_eq!(script.lines(), ["POST /v1beta/models/gemini-2.5-flash:generateContent"]);
    let asked = script.asked();
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-goog-api-key: AIzaSecret") && head.contains("content-type: application/json"), "{head}");
    let expected = json!({
        "contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "AQI="}},
            {"inlineData": {"mimeType": "image/jpeg", "data": "Aw=="}},
            {"text": "What is it?"},
        ]}],
        "generationConfig": {"temperature": 0.1, "maxOutputTokens": 1024, "thinkingConfig": {"thinkingBudget": 0}},
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn the_engine_is_the_model_and_an_older_one_is_not_told_to_think_less() {
    let script = Script::start(vec![answer(200, &[], ANSWER)]).await;
    let input = json!({"prompt": "What is it?", "engine": "gemini-2.0-flash"});
    gemini(&script.base).submit(&submission(input, Vec::new())).await.unwrap();
    assert_eq!(script.lines(), ["POST /v1beta/models/gemini-2.0-flash:generateContent"]);
    let asked = script.asked();
    let body: Value = serde_json::from_str(asked[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["generationConfig"], json!({}));
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let script = Script::start(Vec::new()).await;
    let gemini = gemini(&script.base);
    let url = InputData::Url("https://b.example/a.png?X-Amz-Signature=secret".to_owned());
    let large = InputData::Bytes { content_type: "image/png".to_owned(), bytes: vec![0; 15_000_000].into() };
    let prompt = || json!({"prompt": "x"});
    let mut nowhere = submission(prompt(), Vec::new());
    nowhere.request.endpoint = "../x".to_owned();
    for (submission, name) in [
        (submission(prompt(), vec![url]), ErrorName::ProviderRejected),
        (submission(prompt(), vec![large]), ErrorName::ProviderRejected),
        (submission(json!({}), Vec::new()), ErrorName::ProviderRejected),
        (nowhere, ErrorName::ProviderNotFound),
    ] {
        let (failure, hint) = refusal(&gemini, &submission).await;
        assert_eq!((failure.name, hint), (name, None));
        assert!(!failure.message.contains("secret"), "{failure}");
    }
    assert!(script.asked().is_empty());
}

/// The deadline is the submission's, whatever other calls of the same client may take.
#[tokio::test]
async fn a_call_ends_at_the_deadline_of_its_submission() {
    let script = Script::start(vec![Step::Open(Vec::new())]).await;
    let submission = Submission { deadline: Duration::from_millis(200), ..question() };
    let begin = std::time::Instant::now();
    let outcome = gemini(&script.base).submit(&submission).await;
    assert!(matches!(&outcome, Err(SubmitError::Unknown { message }) if message.contains("timed out")), "{outcome:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_answer_without_a_text_is_an_end() {
    for (body, name) in [
        (r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#, ErrorName::ProviderContentPolicy),
        (r#"{"candidates":[{"finishReason":"SAFETY"}]}"#, ErrorName::ProviderContentPolicy),
        (r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, ErrorName::ProviderFailed),
        ("{}", ErrorName::ProviderNoResult),
    ] {
        let script = Script::start(vec![answer(200, &[], body)]).await;
        match gemini(&script.base).submit(&question()).await {
            Ok(Accepted::Done(JobReport::Failed { failure, billed: true })) => assert_eq!(failure.name, name),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn after_the_request_has_left_only_an_answer_proves_anything() {
    let raw = |text: &str| Step::Bytes(text.as_bytes().to_vec());
    for step in [
        Step::HangUp,
        raw("HTTP/1.1 200 OK\r\n"),
        raw("complete nonsense\r\n\r\n"),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"candidates\":["),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}"),
        answer(200, &[], ""),
        answer(200, &[], "<html>ok</html>"),
        answer(200, &[], "[]"),
        answer(204, &[], ""),
    ] {
        let script = Script::start(vec![step]).await;
        match gemini(&script.base).submit(&question()).await {
            Err(SubmitError::Unknown { message }) => assert!(!message.contains("secret"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(script.asked().len(), 1, "sent once");
    }
}

#[tokio::test]
async fn a_refusal_proves_that_nothing_was_billed_even_if_its_body_is_lost() {
    let throttled = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow down","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#;
    let daily = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"RequestsPerDayPerProject"}]},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#;
    let key = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid: AIzaSecret","details":[
        {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
    let cut = |status: u16| Step::Bytes(format!("HTTP/1.1 {status} X\r\ncontent-length: 9\r\n\r\n{{").into_bytes());
    for (step, name, hint) in [
        (answer(429, &[], throttled), ErrorName::ProviderThrottled, Some(37)),
        (answer(429, &[("retry-after", "12")], ""), ErrorName::ProviderThrottled, Some(12)),
        (answer(429, &[("retry-after", "9999")], ""), ErrorName::ProviderThrottled, Some(300)),
        (answer(429, &[], daily), ErrorName::ProviderCredit, None),
        (answer(400, &[], key), ErrorName::ProviderUnauthorized, None),
        (answer(400, &[], ""), ErrorName::ProviderRejected, None),
        (answer(404, &[], ""), ErrorName::ProviderNotFound, None),
        (answer(413, &[], ""), ErrorName::ProviderRejected, None),
        (answer(500, &[], ""), ErrorName::ProviderUnavailable, None),
        (answer(504, &[], ""), ErrorName::ProviderUnavailable, None),
        (answer(307, &[("location", "http://169.254.169.254/")], ""), ErrorName::ProviderRejected, None),
        (cut(401), ErrorName::ProviderUnauthorized, None),
        (cut(503), ErrorName::ProviderUnavailable, None),
    ] {
        let script = Script::start(vec![step]).await;
        let (failure, pause) = refusal(&gemini(&script.base), &question()).await;
        assert_eq!((failure.name, pause), (name, hint.map(Duration::from_secs)), "{failure}");
        assert!(!failure.message.contains("AIza"), "{failure}");
        assert_eq!(script.asked().len(), 1);
    }
}

#[tokio::test]
async fn before_a_connection_stands_nothing_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (failure, _) = refusal(&gemini(&format!("http://{address}")), &question()).await;
    assert_eq!(failure.name, ErrorName::ProviderUnavailable);
    assert!(failure.message.contains("could not connect"), "{failure}");
}

#[tokio::test]
async fn the_key_is_read_at_first_use_and_again_after_it_was_refused() {
    let invalid = r#"{"error":{"code":400,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"API_KEY_INVALID"}]}}"#;
    let steps = vec![
        answer(200, &[], ANSWER),
        answer(400, &[], invalid),
        answer(403, &[], ""),
        answer(503, &[], ""),
        answer(200, &[], ANSWER),
    ];
    let script = Script::start(steps).await;
    let keys = keys("AIzaSecret");
    let gemini = Gemini::new(config(&script.base), keys.clone()).unwrap();
    let mut reads = vec![keys.1.load(Ordering::SeqCst)];
    for _ in 0..5 {
        let _outcome = gemini.submit(&question()).await;
        reads.push(keys.1.load(Ordering::SeqCst));
    }
    assert_eq!(reads, [0, 1, 1, 2, 3, 3]);
}

#[tokio::test]
async fn there_are_no_jobs_and_no_webhooks() {
    let script = Script::start(Vec::new()).await;
    let gemini = gemini(&script.base);
    assert_eq!((gemini.name(), gemini.can_find()), (ProviderName::Gemini, false));
    assert_eq!(gemini.input_form(), InputForm::Bytes);
    assert_eq!(gemini.check("gemini-2.5-flash", "r-1").await, Ok(JobState::Missing));
    assert_eq!(gemini.cancel("gemini-2.5-flash", "r-1").await, Ok(CancelAnswer::Missing));
    assert_eq!(gemini.find(&request("gemini-2.5-flash", json!({})), 0).await, Ok(Vec::new()));
    let webhook = WebhookRequest { headers: Vec::new(), body: "{}".into(), now_ms: 0 };
    assert_eq!(gemini.read_webhook(&webhook).await, Err(WebhookError::Unsigned));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn the_key_does_not_go_out_in_clear() {
    for bad in ["http://generativelanguage.googleapis.com", "https://u:p@x.y", "x.y", ""] {
        let failure = Gemini::new(config(bad), keys("AIzaSecret")).err().unwrap();
        assert_eq!(failure.name, ErrorName::Internal);
    }
}
