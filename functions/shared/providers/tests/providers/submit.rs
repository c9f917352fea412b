//! Submission: what is sent, that it is sent once, and what each outcome proves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fresco_pipeline::error::ErrorName;
use fresco_providers::fal::Fal;
use fresco_providers::{Accepted, InputData, InputForm, Provider, SubmitError};
use tokio::net::TcpListener;

use super::script::{Script, Step, answer};
use super::{add_media, config, fal, keys, submission};

const ACCEPTED: &str = r#"{"status":"IN_QUEUE","request_id":"r-1","queue_position":0,
    "status_url":"http://169.254.169.254/","response_url":"http://169.254.169.254/","cancel_url":"http://169.254.169.254/"}"#;

#[tokio::test]
async fn a_submission_is_one_post_of_the_bare_input() {
    let script = Script::start(vec![answer(200, &[], ACCEPTED)]).await;
    let hook = "https://hooks.example/fal/to?ken=a&b=c d";
    let accepted = fal(&script.base).submit(&submission(Some(hook))).await;
    assert_eq!(accepted, Ok(Accepted::Queued { request_id: "r-1".to_owned() }));
    let asked = script.asked();
    assert_eq!(asked.len(), 1);
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert_eq!(
        script.lines(),
        ["POST /fal-ai/flux/schnell?fal_webhook=https%3A%2F%2Fhooks.example%2Ffal%2Fto%3Fken%3Da%26b%3Dc+d"]
    );
    let head = head.to_ascii_lowercase();
    for line in ["authorization: key id:secret", "x-fal-queue-priority: normal", "content-type: application/json"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("no-retry"));
    assert_eq!(body, r#"{"num_images":1,"prompt":"a fox"}"#);
}

#[tokio::test]
async fn a_submission_without_a_webhook_names_none() {
    let script = Script::start(vec![answer(200, &[], ACCEPTED)]).await;
    fal(&script.base).submit(&submission(None)).await.unwrap();
    assert_eq!(script.lines(), ["POST /fal-ai/flux/schnell"]);
}

#[tokio::test]
async fn media_go_into_the_fields_that_want_them() {
    let script = Script::start(vec![answer(200, &[], ACCEPTED)]).await;
    let url = |name: &str| InputData::Url(format!("https://b.example/{name}?X-Amz-Signature=s"));
    let bytes = InputData::Bytes { content_type: "image/png".to_owned(), bytes: "\u{1}\u{2}".into() };
    let mut submission = submission(None);
    add_media(&mut submission, "image_urls", true, vec![url("a.png"), bytes]);
    add_media(&mut submission, "mask_url", false, vec![url("m.png")]);
    add_media(&mut submission, "end_image_url", false, Vec::new());
    let fal = fal(&script.base);
    assert_eq!(fal.input_form(), InputForm::Url);
    fal.submit(&submission).await.unwrap();
    let asked = script.asked();
    let body: serde_json::Value = serde_json::from_str(asked[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected = serde_json::json!({"prompt": "a fox", "num_images": 1,
        "image_urls": ["https://b.example/a.png?X-Amz-Signature=s", "data:image/png;base64,AQI="],
        "mask_url": "https://b.example/m.png?X-Amz-Signature=s"});
    assert_eq!(body, expected);
    // What cannot be sent as it is meant is not sent.
    for (to, media) in [("mask_url", vec![url("a"), url("b")]), ("prompt", vec![url("a")])] {
        submission.request.inputs.clear();
        add_media(&mut submission, to, false, media);
        match fal.submit(&submission).await {
            Err(SubmitError::Rejected { failure, billed: false, .. }) => {
                assert_eq!(failure.name, ErrorName::Internal);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn after_the_request_has_left_only_an_answer_proves_anything() {
    let broken = |text: &str| Step::Bytes(text.as_bytes().to_vec());
    for step in [
        Step::HangUp,
        broken("HTTP/1.1 200 OK\r\n"),
        broken("complete nonsense\r\n\r\n"),
        broken("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"request_id\":\"r-1\""),
        broken("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}"),
        answer(200, &[], ""),
        answer(200, &[], "<html>ok</html>"),
        answer(200, &[], "{}"),
        answer(200, &[], r#"{"request_id":""}"#),
        answer(200, &[], r#"{"request_id":"../../evil"}"#),
        answer(200, &[], r#"{"request_id":7}"#),
        answer(204, &[], ""),
        answer(500, &[], r#"{"detail":"Internal Server Error"}"#),
        answer(502, &[], "<html><center>nginx</center></html>"),
        answer(503, &[], "<html><center>nginx</center></html>"),
        answer(504, &[], ""),
        broken("HTTP/1.1 503 X\r\ncontent-length: 500\r\n\r\n{\"error_type\":"),
    ] {
        let script = Script::start(vec![step]).await;
        match fal(&script.base).submit(&submission(Some("https://hooks.example/token"))).await {
            Err(SubmitError::Unknown { message }) => assert!(!message.contains("token"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(script.asked().len(), 1, "sent once");
    }
}

#[tokio::test]
async fn a_connection_that_dies_under_a_submission_is_not_tried_again() {
    let kept = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ACCEPTED}", ACCEPTED.len());
    let script = Script::start(vec![Step::Open(kept.into_bytes()), Step::HangUp, answer(200, &[], ACCEPTED)]).await;
    let fal = fal(&script.base);
    assert!(fal.submit(&submission(None)).await.is_ok());
    // On the pooled connection: read by the other side, which then hangs up.
    assert!(matches!(fal.submit(&submission(None)).await, Err(SubmitError::Unknown { .. })));
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn a_refusal_proves_that_nothing_runs_even_if_its_body_is_lost() {
    let infrastructure = r#"{"detail":"no runner","error_type":"runner_scheduling_failure"}"#;
    let limit = r#"{"detail":"Reached concurrent requests limit of 2","type":"concurrent_requests_limit"}"#;
    let cut = |status: u16| Step::Bytes(format!("HTTP/1.1 {status} X\r\ncontent-length: 9\r\n\r\n{{").into_bytes());
    for (step, name, retry_after) in [
        (answer(429, &[("retry-after", "12")], ""), ErrorName::ProviderThrottled, Some(12)),
        (answer(429, &[("retry-after", "9999")], limit), ErrorName::ProviderThrottled, Some(300)),
        (answer(200, &[("retry-after", "4")], limit), ErrorName::ProviderThrottled, Some(4)),
        (answer(503, &[], infrastructure), ErrorName::ProviderUnavailable, None),
        (answer(404, &[], ""), ErrorName::ProviderNotFound, None),
        (answer(307, &[("location", "http://169.254.169.254/")], ""), ErrorName::ProviderRejected, None),
        (cut(401), ErrorName::ProviderUnauthorized, None),
        (cut(422), ErrorName::ProviderRejected, None),
    ] {
        let script = Script::start(vec![step]).await;
        match fal(&script.base).submit(&submission(None)).await {
            Err(SubmitError::Rejected { failure, retry_after: hint, billed: false }) => {
                assert_eq!((failure.name, hint), (name, retry_after.map(Duration::from_secs)), "{failure}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(script.asked().len(), 1);
    }
}

#[tokio::test]
async fn before_a_connection_stands_nothing_is_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // Nothing listens there; and a listener that does not speak TLS.
    let not_tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls_address = not_tls.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = not_tls.accept().await {
            drop(connection);
        }
    });
    for base in [format!("http://{address}"), format!("https://{tls_address}")] {
        match fal(&base).submit(&submission(Some("https://hooks.example/token"))).await {
            Err(SubmitError::Rejected { failure, billed: false, .. }) => {
                assert_eq!(failure.name, ErrorName::ProviderUnavailable);
                assert!(
                    failure.message.contains("could not connect") && !failure.message.contains("token"),
                    "{failure}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_invalid_endpoint_is_not_sent() {
    let script = Script::start(Vec::new()).await;
    for endpoint in ["flux", "../x", "fal-ai/flux?x=1", "fal-ai/flux#x", "https://evil.example/x", ""] {
        let mut submission = submission(None);
        submission.request.endpoint = endpoint.to_owned();
        let Err(SubmitError::Rejected { failure, .. }) = fal(&script.base).submit(&submission).await else { panic!() };
        assert_eq!(failure.name, ErrorName::ProviderNotFound);
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn the_key_is_read_at_first_use_and_again_after_it_was_refused() {
    let script =
        Script::start(vec![answer(200, &[], ACCEPTED), answer(401, &[], ""), answer(200, &[], ACCEPTED)]).await;
    let keys = keys("id:secret");
    let fal = Fal::new(config(&script.base), keys.clone()).unwrap();
    let mut reads = vec![keys.1.load(Ordering::SeqCst)];
    for _ in 0..3 {
        let _outcome = fal.submit(&submission(None)).await;
        reads.push(keys.1.load(Ordering::SeqCst));
    }
    assert_eq!(reads, [0, 1, 1, 2]);
}
