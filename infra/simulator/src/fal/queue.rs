//! The routes of the queue: submit, status, result, cancel. The application judges the body, so the refusal of an input
//! shows in the result only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::answer::{Answer, answer, authorize, detail, status_code, unknown_request};
use super::endpoint::{self, Endpoint, app_of};
use super::output::Plan;
use super::platform_error::PlatformError;
use super::request_store::{EndReason, Job, Request};
use super::{fault_responses, result, validation_error, webhook, work};
use crate::broken_connection::ConnectionHandle;
use crate::broken_reply;
use crate::clock::now_ms;
use crate::faults::Fault;
use crate::request_record::Status;
use crate::state::State;

/// `POST /fal/queue/{owner}/{app}[/{sub…}]`
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path(path): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Answer> {
    authorize(&state, &headers)?;
    let endpoint = find_endpoint(&path)?;
    state.count(|counters| counters.submitted(&endpoint.id));
    let input = parse_object(&body)?;
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    check_queue_length(&state, parameter("fal_max_queue_length"))?;
    let prompt = input.get("prompt").and_then(Value::as_str);
    let fault = state.strike(&endpoint.id, prompt, fault_responses::is_of_submission);
    let refusal = |fault| fault_responses::refusal(fault, endpoint, &input, &connection);
    if let Some(refusal) = fault.as_ref().and_then(refusal) {
        return Ok(refusal);
    }
    let webhook = parameter("fal_webhook");
    let is_before_reply = |fault: &Fault| matches!(fault, Fault::WebhookBeforeReply { .. });
    let before_reply = webhook.as_ref().and_then(|_| state.strike(&endpoint.id, prompt, is_before_reply));
    let (job, reply) = accept(&state, endpoint, input, webhook, &headers);
    for fault in [&fault, &before_reply].into_iter().flatten() {
        state.requests.add_fault(&job.id, fault);
    }
    if let Some(Fault::WebhookBeforeReply { seconds }) = before_reply {
        webhook::wait_for_delivery(&state, &job.id, Duration::from_secs_f64(seconds)).await;
    }
    if fault == Some(Fault::NoRequestId) {
        let reply = json!({ "status": reply["status"], "queue_position": reply["queue_position"] });
        return Ok(answer(StatusCode::OK, reply).into_response());
    }
    let reply = broken_reply::send(&state.shutdown, &connection, fault.as_ref(), &reply).await;
    Ok(([("x-fal-request-id", job.id.clone())], reply).into_response())
}

/// Refuses a submission where more requests wait than the caller allows.
fn check_queue_length(state: &State, limit: Option<String>) -> Result<(), Answer> {
    let waiting = state.concurrency.waiting();
    match limit.and_then(|limit| limit.parse::<usize>().ok()) {
        Some(limit) if waiting > limit => {
            let text = format!("Queue length {waiting} exceeds the requested maximum of {limit}");
            Err(detail(StatusCode::TOO_MANY_REQUESTS, &text).header("x-fal-needs-retry", 1))
        }
        _ => Ok(()),
    }
}

/// Adds a request to the queue; gives it and the body of the reply.
fn accept(
    state: &Arc<State>,
    endpoint: &'static Endpoint,
    input: Map<String, Value>,
    webhook: Option<String>,
    headers: &HeaderMap,
) -> (Arc<Job>, Value) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let start_within = header("x-fal-request-timeout").or_else(|| header("x-fal-request-start-timeout"));
    let start_within =
        start_within.and_then(|text| text.parse().ok()).and_then(|secs| Duration::try_from_secs_f64(secs).ok());

    let plan = Plan::new(endpoint, &input, &state.random);
    let prompt = input.get("prompt").and_then(Value::as_str);
    // An input that the application refuses is not worked on, so no fault of the work applies to it.
    let of_stage = |fault: &Fault| plan.is_ok() && fault_responses::is_of_work(fault, endpoint);
    let fault = state.strike(&endpoint.id, prompt, of_stage);
    let (job, ticket) = state.requests.add(&state.concurrency, |sequence, ticket| Job {
        sequence,
        id: state.random.uuid(),
        endpoint,
        input: Value::Object(input),
        plan,
        webhook,
        keeps_payloads: header("x-fal-store-io") != Some("0"),
        ticket,
        sent_ms: now_ms(),
        fault,
        cancelled: Notify::new(),
    });
    let position = state.concurrency.position(job.ticket);
    state.count(|counters| counters.accepted(&endpoint.id));
    if let Some(fault) = &job.fault {
        state.requests.add_fault(&job.id, fault);
    }
    // Before the reply, so that no accepted request is lost.
    state.journal.accepted(&job);
    work::begin(state, job.clone(), ticket, start_within);

    let mut reply = json!({ "status": "IN_QUEUE", "request_id": job.id, "gateway_request_id": job.id,
        "queue_position": position });
    add_addresses(&mut reply, state, &job);
    (job, reply)
}

/// `GET …/requests/{id}`, `…/response`, `…/status`
pub(super) async fn read(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    authorize(&state, &headers)?;
    let (request, action) = find_request(&state, &path)?;
    let of_stage = |fault: &Fault| fault_responses::is_of_read(fault, action == "status");
    if let Some(fault) = state.strike_job(&request.job, of_stage) {
        return Ok(fault_responses::failed_read(&fault, &connection));
    }
    match action {
        "status" => Ok(status(&state, &request).into_response()),
        "" | "response" => Ok(result(&state, &request).await?.into_response()),
        _ => Err(detail(StatusCode::NOT_FOUND, &format!("Path /{action} not found"))),
    }
}

/// `PUT …/requests/{id}/cancel`
pub(super) async fn cancel(
    Shared(state): Shared<Arc<State>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    authorize(&state, &headers)?;
    let (request, action) = find_request(&state, &path)?;
    if action != "cancel" {
        return Err(detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let too_late = || answer(StatusCode::BAD_REQUEST, json!({ "status": "ALREADY_COMPLETED" }));
    let requested = || answer(StatusCode::ACCEPTED, json!({ "status": "CANCELLATION_REQUESTED" }));
    let job = &request.job;
    if request.end.is_some() {
        return Err(too_late());
    }
    let cancelled = match state.strike_job(job, |fault| fault.name().starts_with("cancel_")) {
        Some(Fault::CancelTooLate) => return Err(too_late()),
        Some(Fault::CancelNotFound) => return Err(unknown_request()),
        Some(Fault::CancelIgnored) => return Ok(requested()),
        Some(Fault::Cancel200) => answer(StatusCode::OK, json!({ "success": true })),
        _ => requested(),
    };
    if !work::end(&state, &job.id, EndReason::PlatformError(PlatformError::ClientCancelled)) {
        return Err(too_late());
    }
    job.cancelled.notify_one();
    Ok(cancelled)
}

fn status(state: &State, request: &Request) -> Answer {
    let job = &request.job;
    let mut body = json!({ "status": request.status(), "request_id": job.id });
    let code = match request.status() {
        Status::InQueue => {
            body["queue_position"] = json!(state.concurrency.position(job.ticket));
            StatusCode::ACCEPTED
        }
        Status::InProgress => {
            body["logs"] = json!([]);
            StatusCode::ACCEPTED
        }
        Status::Completed => {
            body["logs"] = Value::Null;
            body["metrics"] = match request.inference_seconds() {
                Some(seconds) => json!({ "inference_time": seconds }),
                None => json!({}),
            };
            // The error of a model shows in the result only.
            if let Some(error) = request.platform_error() {
                body["error"] = json!(error.message());
                body["error_type"] = json!(error.error_type());
            }
            StatusCode::OK
        }
    };
    add_addresses(&mut body, state, job);
    answer(code, body).header("x-fal-request-id", &job.id)
}

async fn result(state: &Arc<State>, request: &Request) -> Result<Answer, Answer> {
    let job = &request.job;
    let Some(end) = &request.end else {
        let waiting = detail(StatusCode::BAD_REQUEST, "Request is still in progress");
        return Err(waiting.header("x-fal-request-id", &job.id));
    };
    if let (EndReason::Output(_), Some(Fault::PayloadNull { status: code @ 400.. })) = (&end.reason, &job.fault) {
        let lost = detail(status_code(*code), "Internal Server Error");
        return Err(lost.header("x-fal-request-id", &job.id));
    }
    let Some(body) = result::body(state, request).await else {
        return Err(detail(StatusCode::INTERNAL_SERVER_ERROR, "The output cannot be encoded"));
    };
    let reply = answer(status_code(end.reason.status()), body).header("x-fal-request-id", &job.id);
    Ok(match &end.reason {
        EndReason::Output(output) => reply.header("x-fal-billable-units", output.billable_units),
        EndReason::ModelError { is_retryable, .. } => reply.header("x-fal-retryable", is_retryable),
        EndReason::PlatformError(error) => {
            let reply = reply.header("x-fal-error-type", error.error_type());
            let reply = reply.header("x-fal-retryable", error.is_retryable());
            // A timeout that a fault caused is not the user's deadline.
            let is_deadline = *error == PlatformError::RequestTimeout && job.fault.is_none();
            if is_deadline { reply.header("x-fal-request-timeout-type", "user") } else { reply }
        }
    })
}

/// Adds the addresses of a request, which hold `owner/app` only, whatever the endpoint's full id.
fn add_addresses(body: &mut Value, state: &State, job: &Job) {
    let base = format!("{}/fal/queue/{}/requests/{}", state.base(), job.endpoint.app(), job.id);
    body["status_url"] = json!(format!("{base}/status"));
    body["cancel_url"] = json!(format!("{base}/cancel"));
    body["response_url"] = json!(base);
}

fn find_endpoint(path: &str) -> Result<&'static Endpoint, Answer> {
    let path = path.trim_end_matches('/');
    endpoint::find(path).ok_or_else(|| {
        let app = app_of(path);
        let text = match app.split_once('/') {
            _ if endpoint::is_app(app) => format!("Path {} not found", &path[app.len()..]),
            Some((_, name)) => format!("Application '{name}' not found"),
            None => format!("Application '{path}' not found"),
        };
        detail(StatusCode::NOT_FOUND, &text)
    })
}

/// Finds the request that a path names, under `owner/app` or under the full id, and the rest of the path.
fn find_request<'a>(state: &State, path: &'a str) -> Result<(Request, &'a str), Answer> {
    let (model, rest) = path.trim_end_matches('/').split_once("/requests/").ok_or_else(unknown_request)?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let request = state.requests.get(id).ok_or_else(unknown_request)?;
    let endpoint = request.job.endpoint;
    if model != endpoint.app() && model != endpoint.id {
        return Err(unknown_request());
    }
    Ok((request, action))
}

/// Reads the body of a submission. A body that is no object is refused at once.
fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Answer> {
    let refuse = |kind: &str, message: &str, context, input: &Value| {
        let entry = validation_error::entry(json!(["body"]), kind, message, context, input);
        let refusal = answer(StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": [entry] }));
        refusal.header("x-fal-retryable", false)
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let message = "Input should be a valid dictionary or object to extract fields from";
            Err(refuse("model_attributes_type", message, None, &other))
        }
        Err(error) => {
            let context = Some(json!({ "error": error.to_string() }));
            Err(refuse("json_invalid", "JSON decode error", context, &json!({})))
        }
    }
}
