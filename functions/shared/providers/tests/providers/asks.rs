//! Questions about jobs: status and result, the list, cancellation.

use fresco_pipeline::error::ErrorName;
use fresco_pipeline::media::FieldMedia;
use fresco_pipeline::request::GenerationRequest;
use fresco_providers::{CancelAnswer, CheckError, JobReport, JobState, Provider};
use serde_json::json;

use super::script::{Script, Step, answer};
use super::{fal, object, request};

const ENDPOINT: &str = "fal-ai/flux/schnell";
const COMPLETED: &str = r#"{"status":"COMPLETED","request_id":"r-1","logs":null,"metrics":{"inference_time":1.25}}"#;
const RESULT: &str =
    r#"{"images":[{"url":"https://v3.fal.media/a.png","content_type":"image/png"}],"has_nsfw_concepts":[false]}"#;

async fn check(steps: Vec<Step>) -> (Result<JobState, CheckError>, Vec<String>) {
    let script = Script::start(steps).await;
    let state = fal(&script.base).check(ENDPOINT, "r-1").await;
    (state, script.lines())
}

#[tokio::test]
async fn a_job_is_asked_about_by_its_app() {
    let queued = r#"{"status":"IN_QUEUE","queue_position":2,"response_url":"http://169.254.169.254/"}"#;
    let (state, lines) = check(vec![answer(202, &[], queued)]).await;
    assert_eq!(state, Ok(JobState::Queued { position: Some(2) }));
    assert_eq!(lines, ["GET /fal-ai/flux/requests/r-1/status"]);
    let (state, _) = check(vec![answer(202, &[], r#"{"status":"IN_PROGRESS","logs":[]}"#)]).await;
    assert_eq!(state, Ok(JobState::Running));
    let (state, _) = check(vec![answer(404, &[], r#"{"status":"NOT_FOUND"}"#)]).await;
    assert_eq!(state, Ok(JobState::Missing));
}

#[tokio::test]
async fn a_result_is_fetched_when_the_job_is_over() {
    let (state, lines) =
        check(vec![answer(200, &[], COMPLETED), answer(200, &[("x-fal-billable-units", "2.5")], RESULT)]).await;
    assert_eq!(lines, ["GET /fal-ai/flux/requests/r-1/status", "GET /fal-ai/flux/requests/r-1"]);
    let Ok(JobState::Ended(JobReport::Succeeded { media, billable_units, seconds, .. })) = state else {
        panic!("{state:?}")
    };
    assert_eq!((media.len(), billable_units, seconds), (1, Some(2.5), Some(1.25)));
}

#[tokio::test]
async fn the_end_of_a_job_is_read() {
    let failed = r#"{"status":"COMPLETED","error":"it broke","error_type":"runner_server_error","metrics":{}}"#;
    let cancelled = r#"{"status":"COMPLETED","error":"Request was cancelled","error_type":"client_cancelled"}"#;
    let odd = r#"{"status":"COMPLETED","error":"Invalid status code: 500"}"#;
    let policy = r#"{"detail":[{"loc":["body","prompt"],"msg":"no","type":"content_policy_violation","input":"x"}]}"#;
    let nsfw = r#"{"images":[{"url":"https://v3.fal.media/a.png"}],"has_nsfw_concepts":[true]}"#;
    let inline = r#"{"images":[{"url":"data:image/png;base64,AAAA"}]}"#;
    let huge = Step::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{".to_vec());
    let done = || answer(200, &[], COMPLETED);
    let of_request = [("x-fal-request-id", "r-1")];
    let model = r#"{"detail":[{"loc":["body"],"msg":"broke","type":"internal_server_error"}]}"#;
    let throttled = r#"{"detail":[{"loc":["body"],"msg":"busy","type":"downstream_service_unavailable"}]}"#;
    for (steps, name, billed) in [
        // The infrastructure's error is whole in the status: one request.
        (vec![answer(200, &[], failed)], ErrorName::ProviderUnavailable, false),
        (vec![done(), answer(422, &[], policy)], ErrorName::ProviderContentPolicy, true),
        (vec![done(), answer(200, &[], nsfw)], ErrorName::ProviderContentPolicy, true),
        (vec![done(), answer(200, &[], "{}")], ErrorName::ProviderFailed, true),
        (vec![done(), answer(200, &[], inline)], ErrorName::OutputInvalid, true),
        (vec![done(), huge], ErrorName::OutputInvalid, true),
        (vec![done(), answer(429, &[], throttled)], ErrorName::ProviderUnavailable, false),
        (vec![done(), answer(500, &of_request, model)], ErrorName::ProviderUnavailable, false),
        // The status says that it failed, and the result cannot be read.
        (vec![answer(200, &[], odd), answer(500, &[], "oops")], ErrorName::ProviderUnavailable, false),
    ] {
        let requests = steps.len();
        let (state, lines) = check(steps).await;
        let Ok(JobState::Ended(JobReport::Failed { failure, billed: was })) = state else {
            panic!("{name}: {state:?}")
        };
        assert_eq!((failure.name, was, lines.len()), (name, billed, requests));
    }
    let (state, _) = check(vec![answer(200, &[], cancelled)]).await;
    assert_eq!(state, Ok(JobState::Ended(JobReport::Cancelled { billed: false })));
    let (state, _) = check(vec![done(), answer(400, &[], r#"{"detail":"Request is still in progress"}"#)]).await;
    assert_eq!(state, Ok(JobState::Running));
    let (state, _) = check(vec![done(), answer(404, &[], r#"{"status":"NOT_FOUND"}"#)]).await;
    assert_eq!(state, Ok(JobState::Missing));
}

#[tokio::test]
async fn an_answer_that_is_not_about_the_job_does_not_end_it() {
    let nginx = "<html><center>nginx</center></html>";
    let timeout = r#"{"detail":"timed out","error_type":"request_timeout"}"#;
    let done = || answer(200, &[], COMPLETED);
    let cut = || Step::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec());
    for (steps, name) in [
        (vec![Step::HangUp], ErrorName::ProviderUnavailable),
        (vec![cut()], ErrorName::ProviderUnavailable),
        (vec![answer(200, &[], "<html>")], ErrorName::ProviderUnavailable),
        (vec![answer(200, &[], r#"{"status":"FAILED"}"#)], ErrorName::ProviderUnavailable),
        (vec![answer(502, &[], nginx)], ErrorName::ProviderUnavailable),
        (vec![answer(401, &[], "")], ErrorName::ProviderUnauthorized),
        (vec![answer(429, &[], "")], ErrorName::ProviderThrottled),
        (vec![answer(404, &[], r#"{"detail":"Application not found"}"#)], ErrorName::ProviderNotFound),
        (vec![done(), Step::HangUp], ErrorName::ProviderUnavailable),
        (vec![done(), cut()], ErrorName::ProviderUnavailable),
        (vec![done(), answer(200, &[], "<html>")], ErrorName::ProviderUnavailable),
        (vec![done(), answer(502, &[], nginx)], ErrorName::ProviderUnavailable),
        (vec![done(), answer(500, &[], "oops")], ErrorName::ProviderUnavailable),
        // A server error without a model's own detail is the route's, also where it names the request or the infrastructure:
        // what is done must not be paid for again.
        (vec![done(), answer(500, &[("x-fal-request-id", "r-1")], "oops")], ErrorName::ProviderUnavailable),
        (vec![done(), answer(504, &[("x-fal-request-id", "r-1")], timeout)], ErrorName::ProviderUnavailable),
        (vec![done(), answer(500, &[], r#"{"detail":"Internal Server Error"}"#)], ErrorName::ProviderUnavailable),
        (vec![done(), answer(401, &[], r#"{"detail":"No user found"}"#)], ErrorName::ProviderUnauthorized),
        (vec![done(), answer(429, &[], r#"{"detail":"slow down"}"#)], ErrorName::ProviderThrottled),
    ] {
        let (state, _) = check(steps).await;
        assert_eq!(state.unwrap_err().failure.name, name);
    }
    let script = Script::start(Vec::new()).await;
    let error = fal(&script.base).check(ENDPOINT, "../../admin").await.unwrap_err();
    assert_eq!(error.failure.name, ErrorName::Internal);
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn cancellation_is_answered() {
    for (step, expected) in [
        (answer(202, &[], r#"{"status":"CANCELLATION_REQUESTED"}"#), Ok(CancelAnswer::Requested)),
        (answer(200, &[], r#"{"success":true}"#), Ok(CancelAnswer::Requested)),
        (answer(400, &[], r#"{"status":"ALREADY_COMPLETED"}"#), Ok(CancelAnswer::TooLate)),
        (answer(404, &[], r#"{"status":"NOT_FOUND"}"#), Ok(CancelAnswer::Missing)),
        (answer(404, &[], ""), Err(ErrorName::ProviderNotFound)),
        (answer(400, &[], ""), Err(ErrorName::ProviderRejected)),
        (answer(503, &[], ""), Err(ErrorName::ProviderUnavailable)),
    ] {
        let script = Script::start(vec![step]).await;
        let answer = fal(&script.base).cancel(ENDPOINT, "r-1").await;
        assert_eq!(answer.map_err(|error| error.failure.name), expected);
        assert_eq!(script.lines(), ["PUT /fal-ai/flux/requests/r-1/cancel"]);
        assert!(script.asked()[0].to_ascii_lowercase().matches("content-length: 0").count() == 1);
    }
}

const NOT_BEFORE: i64 = 1_767_225_600_000;

fn ours() -> GenerationRequest {
    request(ENDPOINT, json!({"prompt": "a fox", "num_images": 1}))
}

fn page(ids: &[(&str, &str)], cursor: Option<&str>) -> Step {
    let item = |(id, prompt): &(&str, &str)| {
        json!({"request_id": id, "endpoint_id": ENDPOINT, "sent_at": format!("2026-01-01T00:00:0{}Z", &id[2..]),
            "ended_at": null, "json_input": {"prompt": prompt, "num_images": 1.0}})
    };
    let items: Vec<_> = ids.iter().map(item).collect();
    answer(200, &[], &json!({"items": items, "next_cursor": cursor, "has_more": cursor.is_some()}).to_string())
}

#[tokio::test]
async fn the_list_is_read_page_by_page() {
    let script = Script::start(vec![
        page(&[("r-7", "a fox"), ("r-6", "a cat")], Some("c 1")),
        page(&[("r-3", "a fox")], Some("c2")),
        page(&[("r-2", "a dog")], None),
    ])
    .await;
    let found = fal(&script.base).find(&ours(), NOT_BEFORE).await.unwrap();
    let ids: Vec<_> = found.iter().map(|job| (job.request_id.as_str(), job.sent_at_ms, job.ended)).collect();
    assert_eq!(ids, [("r-3", 1_767_225_603_000, false), ("r-7", 1_767_225_607_000, false)]);
    let query = "endpoint_id=fal-ai%2Fflux%2Fschnell&start=2026-01-01T00%3A00%3A00Z&end=2026-01-01T01%3A00%3A00Z\
        &expand=payloads&limit=100";
    let first = format!("GET /v1/models/requests/by-endpoint?{query}");
    assert_eq!(script.lines(), [first.clone(), format!("{first}&cursor=c+1"), format!("{first}&cursor=c2")]);
}

#[tokio::test]
async fn a_job_with_media_is_found_by_the_objects_and_not_by_their_signatures() {
    let item = |id: &str, image: serde_json::Value| {
        json!({"request_id": id, "endpoint_id": ENDPOINT, "sent_at": "2026-01-01T00:00:01Z", "ended_at": null,
            "json_input": {"prompt": "a fox", "num_images": 1, "image_url": image}})
    };
    let signed = |key: &str, signature: u32| {
        json!(format!("https://inputs.s3.eu-west-1.amazonaws.com/{key}?X-Amz-Signature={signature}"))
    };
    let mut wanted = ours();
    let media = vec![object("inputs/ab/cd.png")];
    wanted.inputs = vec![FieldMedia { to: "image_url".to_owned(), list: false, media }];
    let page = |items: Vec<serde_json::Value>| {
        answer(200, &[], &json!({"items": items, "next_cursor": null, "has_more": false}).to_string())
    };
    let others = || vec![item("r-1", signed("inputs/ab/ce.png", 1)), item("r-2", signed("x-inputs/ab/cd.png", 1))];
    let ours = [item("r-3", signed("inputs/ab/cd.png", 1)), item("r-4", signed("inputs/ab/cd.png", 2))];
    let script = Script::start(vec![page([others(), ours.to_vec()].concat()), page(others())]).await;
    let fal = fal(&script.base);
    let found = fal.find(&wanted, NOT_BEFORE).await.unwrap();
    assert_eq!(found.iter().map(|job| job.request_id.as_str()).collect::<Vec<_>>(), ["r-3", "r-4"]);
    assert_eq!(fal.find(&wanted, NOT_BEFORE).await, Ok(Vec::new()));
    // What is there instead of the URL may have been any: the job is not proven to be absent.
    let script = Script::start(vec![page(vec![item("r-5", json!("<removed>"))])]).await;
    let error = super::fal(&script.base).find(&wanted, NOT_BEFORE).await.unwrap_err();
    assert_eq!(error.failure.name, ErrorName::ProviderUnavailable);
}

#[tokio::test]
async fn a_list_that_was_not_read_to_its_end_proves_no_absence() {
    let endless = |with: &'static str| (0..9).map(|_| page(&[("r-1", with)], Some("next"))).collect::<Vec<_>>();
    let script = Script::start(endless("a cat")).await;
    assert_eq!(
        fal(&script.base).find(&ours(), NOT_BEFORE).await.unwrap_err().failure.name,
        ErrorName::ProviderUnavailable
    );
    assert_eq!(script.asked().len(), 5);
    let script = Script::start(endless("a fox")).await;
    assert_eq!(fal(&script.base).find(&ours(), NOT_BEFORE).await.unwrap().len(), 1);
    let script = Script::start(vec![page(&[("r-1", "a cat")], None)]).await;
    assert_eq!(fal(&script.base).find(&ours(), NOT_BEFORE).await.unwrap(), []);
    let without_input = json!({"items": [{"request_id": "r-1", "sent_at": "2026-01-01T00:00:01Z", "json_input": null}],
        "next_cursor": null, "has_more": false});
    for step in [
        answer(200, &[], "{}"),
        answer(200, &[], "<html>"),
        answer(200, &[], r#"{"items":[],"has_more":true,"next_cursor":null}"#),
        answer(200, &[], &without_input.to_string()),
        answer(500, &[], ""),
        Step::HangUp,
    ] {
        let script = Script::start(vec![step]).await;
        assert_eq!(
            fal(&script.base).find(&ours(), NOT_BEFORE).await.unwrap_err().failure.name,
            ErrorName::ProviderUnavailable
        );
    }
}
