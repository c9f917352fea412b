//! The queue routes: submit, status, result, cancel. What a caller gets before a request runs is decided here; the body
//! is judged by the application, so a refusal of the input shows only in the result.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::endpoints::{self, Endpoint, app_of};
use super::infrastructure::Infrastructure;
use super::output::Plan;
use super::requests::{Job, Outcome, Request};
use super::{Answer, answer, authorize, faults, schema, status_code, webhook, work};
use crate::clock::now_ms;
use crate::faults::{CancelFault, WorkFault};
use crate::records::Status;
use crate::reply;
use crate::wire::Wire;
use crate::world::World;

type Parameters = Query<Vec<(String, String)>>;

/// `POST /fal/queue/{owner}/{app}[/{sub…}]`
pub(crate) async fn submit(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path(path): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Answer> {
    authorize(&world, &headers)?;
    let endpoint = endpoint(&path)?;
    world.count(|counters| {
        counters.submits += 1;
        counters.endpoint(endpoint.id).submits += 1;
    });
    let input = object(&body)?;
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    if let Some(limit) = parameter("fal_max_queue_length").and_then(|limit| limit.parse::<usize>().ok()) {
        let waiting = world.gate.waiting();
        if waiting > limit {
            let detail = format!("Queue length {waiting} exceeds the requested maximum of {limit}");
            let refusal = answer(StatusCode::TOO_MANY_REQUESTS, json!({ "detail": detail }));
            return Err(refusal.header("x-fal-needs-retry", "1"));
        }
    }
    let prompt = input.get("prompt").and_then(Value::as_str);
    let fault = world.strike(endpoint.id, prompt, faults::submit);
    if let Some(refusal) = fault.as_ref().and_then(|hit| faults::refusal(&hit.fault, endpoint, &input, &wire)) {
        return Ok(refusal);
    }
    let webhook = parameter("fal_webhook");
    let before_reply = webhook.as_ref().and_then(|_| world.strike(endpoint.id, prompt, faults::before_reply));
    let struck = [fault.as_ref().map(|hit| hit.name), before_reply.as_ref().map(|hit| hit.name)];
    let (job, mut reply) = accept(&world, endpoint, input, webhook, &headers);
    for name in struck.into_iter().flatten() {
        world.requests.struck(&job.id, name);
    }
    if let Some(hit) = before_reply {
        webhook::delivered(&world, &job.id, Duration::from_secs_f64(hit.fault)).await;
    }
    let fault = fault.and_then(|hit| reply::Fault::of(&hit.fault));
    if fault == Some(reply::Fault::Nameless) {
        reply = json!({ "status": reply["status"], "queue_position": reply["queue_position"] });
        return Ok(answer(StatusCode::OK, reply).into_response());
    }
    let reply = reply::send(&world, &wire, fault.as_ref(), &reply).await;
    Ok(([("x-fal-request-id", job.id.clone())], reply).into_response())
}

/// Takes a request into the queue; gives it and the body of the reply.
fn accept(
    world: &Arc<World>,
    endpoint: &'static Endpoint,
    input: Map<String, Value>,
    webhook: Option<String>,
    headers: &HeaderMap,
) -> (Arc<Job>, Value) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let start_within = header("x-fal-request-timeout").or_else(|| header("x-fal-request-start-timeout"));
    let start_within =
        start_within.and_then(|text| text.parse().ok()).and_then(|secs| Duration::try_from_secs_f64(secs).ok());

    let plan = plan(world, endpoint, &input);
    let prompt = input.get("prompt").and_then(Value::as_str);
    // What the application refuses is not worked on, so nothing can go wrong with it.
    let hit = plan.as_ref().ok().and_then(|_| world.strike(endpoint.id, prompt, |fault| faults::work(fault, endpoint)));
    let struck = hit.as_ref().map(|hit| hit.name);
    let latency = latency(world, endpoint);
    let (job, ticket) = world.requests.add(&world.gate, |sequence, ticket| Job {
        sequence,
        id: world.chance.uuid(),
        endpoint,
        input: Value::Object(input),
        plan,
        webhook,
        keeps_payloads: header("x-fal-store-io") != Some("0"),
        ticket,
        sent_ms: now_ms(),
        fault: hit.map(|hit| hit.fault),
        cancelled: Notify::new(),
    });
    let position = world.gate.position(job.ticket);
    world.count(|counters| {
        counters.accepted += 1;
        counters.endpoint(endpoint.id).accepted += 1;
    });
    if let Some(name) = struck {
        world.requests.struck(&job.id, name);
    }
    // Before the answer: what was accepted is not forgotten.
    world.journal.accepted(&job);
    work::begin(world, job.clone(), ticket, latency, start_within);

    let mut reply = json!({ "status": "IN_QUEUE", "request_id": job.id, "gateway_request_id": job.id,
        "queue_position": position });
    add_addresses(&mut reply, world, &job);
    (job, reply)
}

/// `GET …/requests/{id}`, `…/response`, `…/status`
pub(crate) async fn read(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    authorize(&world, &headers)?;
    let (request, action) = find(&world, &path)?;
    let job = &request.job;
    if let Some(hit) = world.strike(job.endpoint.id, job.prompt(), |fault| faults::poll(fault, action)) {
        world.requests.struck(&job.id, hit.name);
        return Ok(faults::no_news(&hit.fault, &wire));
    }
    match action {
        "status" => Ok(status(&world, &request).into_response()),
        "" | "response" => Ok(result(&world, &request).await?.into_response()),
        _ => Err(answer(StatusCode::NOT_FOUND, json!({ "detail": format!("Path /{action} not found") }))),
    }
}

/// `PUT …/requests/{id}/cancel`
pub(crate) async fn cancel(
    State(world): State<Arc<World>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    authorize(&world, &headers)?;
    let (request, action) = find(&world, &path)?;
    if action != "cancel" {
        return Err(answer(StatusCode::METHOD_NOT_ALLOWED, json!({ "detail": "Method Not Allowed" })));
    }
    let too_late = || answer(StatusCode::BAD_REQUEST, json!({ "status": "ALREADY_COMPLETED" }));
    let requested = || answer(StatusCode::ACCEPTED, json!({ "status": "CANCELLATION_REQUESTED" }));
    let job = &request.job;
    if request.end.is_some() {
        return Err(too_late());
    }
    let hit = world.strike(job.endpoint.id, job.prompt(), faults::cancel);
    if let Some(hit) = &hit {
        world.requests.struck(&job.id, hit.name);
    }
    let carried_out = match hit.map(|hit| hit.fault) {
        Some(CancelFault::TooLate) => return Err(too_late()),
        Some(CancelFault::NotFound) => return Err(unknown()),
        Some(CancelFault::Ignored) => return Ok(requested()),
        Some(CancelFault::Removed) => answer(StatusCode::OK, json!({ "success": true })),
        None => requested(),
    };
    if !work::settle(&world, &job.id, Outcome::Ended(Infrastructure::ClientCancelled)) {
        return Err(too_late());
    }
    job.cancelled.notify_one();
    Ok(carried_out)
}

fn status(world: &World, request: &Request) -> Answer {
    let job = &request.job;
    let mut body = json!({ "status": request.status(), "request_id": job.id });
    let code = match request.status() {
        Status::InQueue => {
            body["queue_position"] = json!(world.gate.position(job.ticket));
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
            // What the application refused shows in the result only.
            if let Some(Outcome::Ended(reason)) = request.end.as_ref().map(|end| &end.outcome) {
                body["error"] = json!(reason.message());
                body["error_type"] = json!(reason.error_type());
            }
            StatusCode::OK
        }
    };
    add_addresses(&mut body, world, job);
    answer(code, body).header("x-fal-request-id", job.id.clone())
}

async fn result(world: &Arc<World>, request: &Request) -> Result<Answer, Answer> {
    let id = request.job.id.clone();
    let Some(end) = &request.end else {
        let waiting = answer(StatusCode::BAD_REQUEST, json!({ "detail": "Request is still in progress" }));
        return Err(waiting.header("x-fal-request-id", id));
    };
    if let (Outcome::Made(_), Some(WorkFault::PayloadNull { status: code @ 400.. })) =
        (&end.outcome, &request.job.fault)
    {
        let lost = answer(status_code(*code), json!({ "detail": "Internal Server Error" }));
        return Err(lost.header("x-fal-request-id", id));
    }
    let Some(body) = work::result(world, request).await else {
        return Err(answer(StatusCode::INTERNAL_SERVER_ERROR, json!({ "detail": "The output cannot be encoded" })));
    };
    let reply = answer(status_code(end.outcome.status()), body).header("x-fal-request-id", id);
    Ok(match &end.outcome {
        Outcome::Made(output) => reply.header("x-fal-billable-units", output.billable_units.to_string()),
        Outcome::Refused { retryable, .. } => reply.header("x-fal-retryable", retryable.to_string()),
        Outcome::Ended(reason) => {
            let reply = reply.header("x-fal-error-type", reason.error_type());
            let reply = reply.header("x-fal-retryable", reason.is_retryable().to_string());
            // One that a fault made was nobody's wish.
            let is_users = *reason == Infrastructure::RequestTimeout && request.job.fault.is_none();
            if is_users { reply.header("x-fal-request-timeout-type", "user") } else { reply }
        }
    })
}

/// The addresses hold only `owner/app`, whatever the endpoint's full id.
fn add_addresses(body: &mut Value, world: &World, job: &Job) {
    let base = format!("{}/fal/queue/{}/requests/{}", world.base(), job.endpoint.app(), job.id);
    body["status_url"] = json!(format!("{base}/status"));
    body["cancel_url"] = json!(format!("{base}/cancel"));
    body["response_url"] = json!(base);
}

/// What a request will make, or the body of its refusal.
pub(crate) fn plan(world: &World, endpoint: &'static Endpoint, input: &Map<String, Value>) -> Result<Plan, Value> {
    match schema::check(endpoint.fields, input) {
        Ok(values) => Ok(Plan::new(endpoint, values, &world.chance)),
        Err(problems) => Err(json!({ "detail": problems })),
    }
}

/// How long a request is worked on.
pub(crate) fn latency(world: &World, endpoint: &Endpoint) -> Duration {
    let (low, high) = endpoint.seconds;
    Duration::from_secs_f64(world.chance.between(low, high) * world.scale())
}

fn endpoint(path: &str) -> Result<&'static Endpoint, Answer> {
    let path = path.trim_end_matches('/');
    endpoints::find(path).ok_or_else(|| {
        let app = app_of(path);
        let detail = match (endpoints::is_app(app), app.split_once('/')) {
            (true, _) => format!("Path {} not found", &path[app.len()..]),
            (false, Some((_, name))) => format!("Application '{name}' not found"),
            (false, None) => format!("Application '{path}' not found"),
        };
        answer(StatusCode::NOT_FOUND, json!({ "detail": detail }))
    })
}

fn unknown() -> Answer {
    answer(StatusCode::NOT_FOUND, json!({ "status": "NOT_FOUND" }))
}

/// Finds the request that a path names, under `owner/app` or under the full id, and what is wanted of it.
fn find<'a>(world: &World, path: &'a str) -> Result<(Request, &'a str), Answer> {
    let (model, rest) = path.trim_end_matches('/').split_once("/requests/").ok_or_else(unknown)?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let request = world.requests.get(id).ok_or_else(unknown)?;
    let endpoint = request.job.endpoint;
    if model != endpoint.app() && model != endpoint.id {
        return Err(unknown());
    }
    Ok((request, action))
}

/// The submitted object. What is no object at all is refused at once.
fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Answer> {
    let refuse = |entry: Value| {
        let refusal = answer(StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": [entry] }));
        refusal.header("x-fal-retryable", "false")
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let message = "Input should be a valid dictionary or object to extract fields from";
            Err(refuse(schema::problem(&["body"], "model_attributes_type", message, None, &other)))
        }
        Err(error) => {
            let context = Some(json!({ "error": error.to_string() }));
            Err(refuse(schema::problem(&["body"], "json_invalid", "JSON decode error", context, &json!({}))))
        }
    }
}
