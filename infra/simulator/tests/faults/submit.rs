//! Faults of submissions to fal: those that refuse, and those that accept and break the reply.

use std::time::{Duration, Instant};

use fresco_simulator::{Fault, FaultRule};
use serde_json::{Value, json};

use crate::common::{Fal, until};
use crate::{FLUX, raw};

type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn a_refusal_has_fals_form_and_accepts_nothing() {
    let fal = Fal::instant().await;
    let limit = json!({ "detail": "Reached concurrent requests limit of 2", "type": "concurrent_requests_limit",
        "data": { "limit": 2 } });
    let locked = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing";
    let cases: [(Value, u16, Headers, Value); 15] = [
        (json!({ "fault": "unauthorized" }), 401, &[], json!({ "detail": "No user found for Key ID and Secret" })),
        (json!({ "fault": "exhausted_balance" }), 403, &[], json!({ "detail": locked })),
        (json!({ "fault": "forbidden" }), 403, &[], json!({ "detail": "Access denied to this application" })),
        (json!({ "fault": "not_found" }), 404, &[], json!({ "detail": "Application 'flux' not found" })),
        (json!({ "fault": "throttled" }), 429, &[("x-fal-needs-retry", "1"), ("retry-after", "")], limit.clone()),
        (
            json!({ "fault": "throttled", "retry_after": 31536000 }),
            429,
            &[("x-fal-needs-retry", "1"), ("retry-after", "31536000")],
            limit.clone(),
        ),
        (json!({ "fault": "throttled_200" }), 200, &[("x-fal-needs-retry", "1")], limit),
        (json!({ "fault": "server_error" }), 500, &[], json!({ "detail": "Internal Server Error" })),
        (json!({ "fault": "server_error", "status": 502 }), 502, &[], json!({ "detail": "Bad Gateway" })),
        (json!({ "fault": "server_error", "status": 503 }), 503, &[], json!({ "detail": "Service Unavailable" })),
        (json!({ "fault": "server_error", "status": 504 }), 504, &[], json!({ "detail": "Gateway Timeout" })),
        (
            json!({ "fault": "infrastructure", "error_type": "runner_scheduling_failure" }),
            503,
            &[("x-fal-error-type", "runner_scheduling_failure"), ("x-fal-retryable", "true")],
            json!({ "detail": "Failed to schedule a runner", "error_type": "runner_scheduling_failure" }),
        ),
        (
            json!({ "fault": "infrastructure", "error_type": "bad_request" }),
            400,
            &[("x-fal-error-type", "bad_request"), ("x-fal-retryable", "false")],
            json!({ "detail": "The request could not be handled", "error_type": "bad_request" }),
        ),
        (json!({ "fault": "validation" }), 422, &[("x-fal-retryable", "false")], json!("value_error")),
        (
            json!({ "fault": "content_policy_submit" }),
            422,
            &[("x-fal-retryable", "false")],
            json!("content_policy_violation"),
        ),
    ];
    let number = cases.len() as u64;
    for (rule, status, headers, body) in cases {
        fal.fault(rule.clone());
        let got = fal.ask(FLUX).await.unwrap();
        assert_eq!((got.status, fal.hits()), (status, 1), "{rule}");
        assert_eq!(got.header("content-type"), Some("application/json"), "{rule}");
        assert_eq!(got.header("x-fal-request-id"), None, "{rule}");
        for (name, value) in headers {
            assert_eq!(got.header(name).unwrap_or_default(), *value, "{rule} {name}");
        }
        match body.as_str() {
            None => assert_eq!(got.json(), body, "{rule}"),
            Some(kind) => {
                let entry = &got.json()["detail"][0];
                assert_eq!((&entry["type"], &entry["loc"]), (&json!(kind), &json!(["body", "prompt"])), "{rule}");
                assert_eq!(entry["url"], format!("https://docs.fal.ai/errors#{kind}"));
                assert_eq!(entry["input"]["prompt"], "a red fox");
            }
        }
    }
    let counters = fal.running.counters();
    assert_eq!((counters.submits, counters.accepted, counters.completions), (number, 0, 0));
    assert_eq!((counters.by_fault["throttled"], counters.by_fault["server_error"]), (2, 4));
    assert!(fal.running.requests().is_empty());
}

#[tokio::test]
async fn the_ingress_can_answer_with_an_html_page() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "html_502" }));
    let got = fal.ask(FLUX).await.unwrap();
    assert_eq!((got.status, got.header("content-type")), (502, Some("text/html")));
    assert!(got.text.contains("<center>nginx</center>"), "{}", got.text);
    assert_eq!(fal.running.counters().accepted, 0);
}

/// The bytes that a submission gets back, and the number of accepted submissions.
async fn submitted(fal: &Fal) -> (Vec<u8>, u64) {
    let authorization = fal.authorization();
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let bytes = raw(fal, "POST", &format!("/fal/queue/{FLUX}"), &headers, "{\"prompt\":\"a red fox\"}").await;
    (bytes, fal.running.counters().accepted)
}

#[tokio::test]
async fn a_cut_connection_sends_no_byte() {
    let fal = Fal::instant().await;
    for (fault, accepted) in [(Fault::CutBefore, 0), (Fault::CutAfter, 1)] {
        fal.running.reset();
        fal.running.set_faults(vec![FaultRule::new(fault.clone()).times(1)]).unwrap();
        assert_eq!(submitted(&fal).await, (Vec::new(), accepted), "{fault:?}");
        // The next connection works.
        let (bytes, all) = submitted(&fal).await;
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(all, accepted + 1);
        until("what was accepted is done", async || fal.running.counters().billed_completions == accepted + 1).await;
        assert_eq!(fal.running.counters().submits, 2);
    }
    let records = fal.running.requests();
    assert_eq!(records.iter().map(|record| record.faults.join(" ")).collect::<Vec<_>>(), ["", "cut_after", ""]);
    let error = {
        fal.fault(json!({ "fault": "cut_before" }));
        fal.ask(FLUX).await.err().unwrap()
    };
    assert!(error.is_request() && !error.is_connect() && !error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn a_reply_can_be_withheld() {
    let fal = Fal::instant().await;
    // The client gives up first.
    fal.fault(json!({ "fault": "reply_never" }));
    let url = format!("{}/{FLUX}", fal.running.fal_queue_url());
    let patient = fal.http.post(url).header("authorization", fal.authorization()).timeout(Duration::from_millis(100));
    assert!(patient.json(&json!({ "prompt": "x" })).send().await.unwrap_err().is_timeout());
    // The simulator gives up first.
    fal.fault(json!({ "fault": "reply_never", "seconds": 0.1 }));
    let started = Instant::now();
    assert_eq!(submitted(&fal).await, (Vec::new(), 2));
    assert!(started.elapsed() >= Duration::from_millis(100));
    until("both are done", async || fal.running.counters().billed_completions == 2).await;
}

#[tokio::test]
async fn the_end_of_the_simulator_ends_a_withheld_reply() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "reply_never", "seconds": 86400 }));
    let url = format!("{}/{FLUX}", fal.running.fal_queue_url());
    let request = fal.http.post(url).header("authorization", fal.authorization()).json(&json!({ "prompt": "x" }));
    let caller = tokio::spawn(request.send());
    until("it is accepted", async || fal.running.counters().accepted == 1).await;
    fal.running.stop().await;
    assert!(caller.await.unwrap().is_err());
}

#[tokio::test]
async fn a_reply_can_be_slow() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "slow_reply", "seconds": 0.4 }));
    let url = format!("{}/{FLUX}", fal.running.fal_queue_url());
    let request = fal.http.post(url).header("authorization", fal.authorization()).json(&json!({ "prompt": "x" }));
    let started = Instant::now();
    let mut answer = request.send().await.unwrap();
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let (mut pieces, mut bytes) = (0, Vec::new());
    while let Some(piece) = answer.chunk().await.unwrap() {
        pieces += 1;
        bytes.extend_from_slice(&piece);
    }
    assert!(pieces > 3 && started.elapsed() >= Duration::from_millis(350), "{pieces} {:?}", started.elapsed());
    assert_eq!(bytes.len(), length);
    let reply: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(reply["request_id"], fal.running.requests()[0].request_id);
}

#[tokio::test]
async fn a_reply_can_be_cut_in_half_or_lack_the_request_id() {
    let fal = Fal::instant().await;
    fal.fault(json!({ "fault": "broken_json" }));
    let got = fal.ask(FLUX).await.unwrap();
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/json")));
    assert_eq!(got.header("content-length"), Some(got.text.len().to_string().as_str()));
    assert!(got.text.starts_with('{') && serde_json::from_str::<Value>(&got.text).is_err(), "{}", got.text);
    fal.fault(json!({ "fault": "no_request_id" }));
    let got = fal.ask(FLUX).await.unwrap();
    assert_eq!((got.status, got.header("x-fal-request-id")), (200, None));
    assert_eq!(got.json(), json!({ "status": "IN_QUEUE", "queue_position": 0 }));
    until("both are done", async || fal.running.counters().billed_completions == 2).await;
    assert_eq!(fal.running.counters().accepted, 2);
}
