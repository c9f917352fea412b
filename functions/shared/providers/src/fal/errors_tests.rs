//! Every row of the classification, for a submission and as the end of a job.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::*;

/// A status, headers and a body, and what they mean, if they decide anything.
type Row<T> = (u16, Vec<(&'static str, &'static str)>, String, Option<T>);

fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ErrorReply {
    let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
    ErrorReply::read(status, &headers, body.as_bytes())
}

fn model(kind: &str) -> String {
    json!({"detail": [{"loc": ["body", "prompt"], "msg": "it is refused", "type": kind, "input": "a secret prompt",
        "ctx": {"x": "a secret prompt"}, "url": "https://docs.fal.ai/errors"}]})
    .to_string()
}

fn infrastructure(kind: &str) -> String {
    json!({"detail": "it broke", "error_type": kind}).to_string()
}

const NGINX: &str = "<html><head><title>502 Bad Gateway</title></head><body><hr><center>nginx</center></body></html>";

#[test]
fn submissions() {
    use ErrorName::*;
    let locked =
        r#"{"detail":"User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing"}"#;
    let limit =
        r#"{"detail":"Reached concurrent requests limit of 2","type":"concurrent_requests_limit","data":{"limit":2}}"#;
    // (status, headers, body, the name and whether it is billed; nothing for an unknown outcome)
    let rows: Vec<Row<(ErrorName, bool)>> = vec![
        (301, vec![], String::new(), Some((ProviderRejected, false))),
        (400, vec![], infrastructure("bad_request"), Some((ProviderRejected, false))),
        (400, vec![], "nonsense".into(), Some((ProviderRejected, false))),
        (400, vec![("x-fal-retryable", "true")], model("downstream_service_error"), Some((ProviderUnavailable, false))),
        (
            401,
            vec![],
            r#"{"detail":"No user found for Key ID and Secret"}"#.into(),
            Some((ProviderUnauthorized, false)),
        ),
        (402, vec![], String::new(), Some((ProviderCredit, false))),
        (403, vec![], locked.into(), Some((ProviderCredit, false))),
        (403, vec![], r#"{"detail":"Forbidden"}"#.into(), Some((ProviderUnauthorized, false))),
        (404, vec![], r#"{"detail":"Application 'x' not found"}"#.into(), Some((ProviderNotFound, false))),
        (408, vec![], String::new(), Some((ProviderUnavailable, false))),
        (413, vec![], "<html>too large</html>".into(), Some((ProviderRejected, false))),
        (422, vec![], model("missing"), Some((ProviderRejected, false))),
        (422, vec![], r#"{"detail":"not like this"}"#.into(), Some((ProviderRejected, false))),
        (422, vec![], model("content_policy_violation"), Some((ProviderContentPolicy, true))),
        (429, vec![], limit.into(), Some((ProviderThrottled, false))),
        (429, vec![("x-fal-needs-retry", "1")], String::new(), Some((ProviderThrottled, false))),
        (499, vec![], String::new(), None),
        (500, vec![], String::new(), None),
        (500, vec![], infrastructure("internal_error"), None),
        (500, vec![], model("internal_server_error"), None),
        (502, vec![], NGINX.into(), None),
        (503, vec![], NGINX.into(), None),
        (503, vec![], infrastructure("something_new"), None),
        (503, vec![], infrastructure("runner_scheduling_failure"), Some((ProviderUnavailable, false))),
        (503, vec![("x-fal-error-type", "runner_connection_refused")], "".into(), Some((ProviderUnavailable, false))),
        (504, vec![], infrastructure("startup_timeout"), None),
        (504, vec![], NGINX.into(), None),
    ];
    for (status, headers, body, expected) in rows {
        match (submit_error(&reply(status, &headers, &body)), expected) {
            (SubmitError::Rejected { failure, billed, .. }, Some(expected)) => {
                assert_eq!((failure.name, billed), expected, "{status} {body}");
                assert!(!failure.message.contains("secret"), "{failure}");
            }
            (SubmitError::Unknown { message }, None) => assert!(message.contains(&status.to_string())),
            (other, _) => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[test]
fn ends_of_jobs() {
    use ErrorName::*;
    let failed = |name, billed| Some(Some((name, billed)));
    let cancelled = Some(None);
    let yes = ("x-fal-retryable", "true");
    let no = ("x-fal-retryable", "false");
    let of_request = ("x-fal-request-id", "r-1");
    let mut rows: Vec<Row<Option<(ErrorName, bool)>>> = vec![
        (422, vec![no], model("content_policy_violation"), failed(ProviderContentPolicy, true)),
        (422, vec![no], model("no_media_generated"), failed(ProviderFailed, true)),
        (422, vec![], r#"{"detail":"a plain text"}"#.into(), failed(ProviderRejected, true)),
        (400, vec![yes], model("downstream_service_error"), failed(ProviderUnavailable, false)),
        (400, vec![no], model("downstream_service_error"), failed(ProviderFailed, false)),
        (500, vec![], model("internal_server_error"), failed(ProviderUnavailable, false)),
        (500, vec![no], model("internal_server_error"), failed(ProviderFailed, false)),
        (504, vec![no], model("generation_timeout"), failed(ProviderFailed, false)),
        (504, vec![yes], model("generation_timeout"), failed(ProviderUnavailable, false)),
        (500, vec![], model("downstream_service_unavailable"), failed(ProviderUnavailable, false)),
        (500, vec![], model("something_new"), failed(ProviderUnavailable, false)),
        (500, vec![no], model("something_new"), failed(ProviderFailed, false)),
        (400, vec![], infrastructure("bad_request"), failed(ProviderRejected, false)),
        (499, vec![no], infrastructure("client_cancelled"), cancelled),
        (499, vec![], String::new(), cancelled),
        (
            504,
            vec![("x-fal-request-timeout-type", "user")],
            infrastructure("request_timeout"),
            failed(ProviderFailed, false),
        ),
        (503, vec![no], infrastructure("runner_disconnected"), failed(ProviderFailed, false)),
        // Nothing says that it is the request's own: the job may well have a result, which is paid.
        (500, vec![], r#"{"detail":"Internal Server Error"}"#.into(), None),
        (500, vec![of_request], r#"{"detail":"Internal Server Error"}"#.into(), failed(ProviderUnavailable, false)),
        (500, vec![of_request], "Internal Server Error".into(), failed(ProviderUnavailable, false)),
        (500, vec![of_request, no], "Internal Server Error".into(), failed(ProviderFailed, false)),
        (404, vec![], r#"{"detail":"gone"}"#.into(), failed(ProviderNotFound, true)),
        (418, vec![of_request], "short and stout".into(), failed(ProviderRejected, false)),
        // The gateway's, not the job's.
        (500, vec![], "Internal Server Error".into(), None),
        (502, vec![of_request], NGINX.into(), None),
        (418, vec![], "short and stout".into(), None),
        (302, vec![], String::new(), None),
    ];
    for kind in [
        "missing",
        "value_error",
        "value_error.missing",
        "string_type",
        "int_parsing",
        "one_of",
        "multiple_of",
        "greater_than",
        "less_than_equal",
        "sequence_too_long",
        "feature_not_supported",
        "literal_error",
    ] {
        rows.push((422, vec![no], model(kind), failed(ProviderRejected, false)));
    }
    for kind in [
        "image_too_small",
        "image_load_error",
        "file_download_error",
        "face_detection_error",
        "file_too_large",
        "audio_duration_too_long",
        "unsupported_image_format",
        "invalid_archive",
        "something_new",
    ] {
        rows.push((422, vec![no], model(kind), failed(ProviderRejected, true)));
    }
    for (status, kind) in [
        (504, "request_timeout"),
        (504, "startup_timeout"),
        (503, "runner_scheduling_failure"),
        (503, "runner_connection_timeout"),
        (503, "runner_disconnected"),
        (503, "runner_connection_refused"),
        (503, "runner_connection_error"),
        (502, "runner_incomplete_response"),
        (500, "runner_server_error"),
        (499, "client_disconnected"),
        (500, "internal_error"),
    ] {
        rows.push((status, vec![], infrastructure(kind), failed(ProviderUnavailable, false)));
        rows.push((status, vec![yes], infrastructure(kind), failed(ProviderUnavailable, false)));
    }
    for (status, headers, body, expected) in rows {
        let end = job_error(&reply(status, &headers, &body)).map(|report| match report {
            JobReport::Failed { failure, billed } => {
                assert!(!failure.message.contains("secret"), "{failure}");
                Some((failure.name, billed))
            }
            JobReport::Cancelled { billed: false } => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(end, expected, "{status} {headers:?} {body}");
    }
}

#[test]
fn questions() {
    for (status, body, name) in [
        (401, "", ErrorName::ProviderUnauthorized),
        (403, r#"{"detail":"User is locked. Reason: Exhausted balance."}"#, ErrorName::ProviderCredit),
        (404, "", ErrorName::ProviderNotFound),
        (429, "", ErrorName::ProviderThrottled),
        (400, "", ErrorName::ProviderRejected),
        (500, "", ErrorName::ProviderUnavailable),
        (502, NGINX, ErrorName::ProviderUnavailable),
        (408, "", ErrorName::ProviderUnavailable),
    ] {
        assert_eq!(call_error(&reply(status, &[], body)).failure.name, name, "{status}");
    }
    let error = call_error(&reply(429, &[("retry-after", "7")], ""));
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn a_job_ends_by_its_status_alone() {
    let end = status_error(Some("it was cancelled"), Some("client_cancelled"));
    assert_eq!(end, Some(JobReport::Cancelled { billed: false }));
    for kind in ["request_timeout", "runner_server_error"] {
        let Some(JobReport::Failed { failure, billed: false }) = status_error(None, Some(kind)) else {
            panic!("{kind}")
        };
        assert_eq!(failure.name, ErrorName::ProviderUnavailable);
    }
    assert_eq!(status_in("Invalid status code: 422"), Some(422));
    for none in ["", "timed out after 300", "42", "Invalid status code: 4222", "abc", "99999999999"] {
        assert_eq!(status_in(none).filter(|status| *status != 300), None, "{none}");
    }
}

#[test]
fn a_refusal_by_policy_outweighs_other_details() {
    let body = json!({"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required"},
        {"type": "content_policy_violation", "loc": ["body", "prompt"], "msg": "no"}]});
    let SubmitError::Rejected { failure, .. } = submit_error(&reply(422, &[], &body.to_string())) else { panic!() };
    assert_eq!(failure.name, ErrorName::ProviderContentPolicy);
    assert_eq!(failure.message, "fal answered 422: content_policy_violation at body.prompt: no");
}

#[test]
fn messages_hold_neither_addresses_nor_whole_stories() {
    let long = format!(
        "could not load https://bucket.s3.amazonaws.com/in.png?X-Amz-Signature=abc or (HTTP://x/?key=1)\n data:image/png;base64,AAAA {}",
        "word ".repeat(200)
    );
    let body =
        json!({"detail": [{"type": "file_download_error", "loc": ["body", "image_url", 0, {"a": "b"}], "msg": long}]});
    let SubmitError::Rejected { failure, .. } = submit_error(&reply(422, &[], &body.to_string())) else { panic!() };
    assert!(!failure.message.contains("Signature") && !failure.message.contains("key=1"), "{failure}");
    assert!(!failure.message.contains("AAAA") && !failure.message.contains('\n'), "{failure}");
    assert!(failure.message.contains("<url>") && failure.message.chars().count() < 420, "{failure}");
}

#[test]
fn a_limit_under_status_200_is_a_refusal() {
    let body = json!({"detail": "Reached concurrent requests limit of 2", "type": "concurrent_requests_limit"});
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("9"));
    let Some(SubmitError::Rejected { failure, retry_after, billed }) = throttled_in_disguise(200, &headers, &body)
    else {
        panic!()
    };
    assert_eq!(
        (failure.name, retry_after, billed),
        (ErrorName::ProviderThrottled, Some(Duration::from_secs(9)), false)
    );
    assert_eq!(throttled_in_disguise(200, &headers, &json!({"status": "IN_QUEUE"})), None);
}
