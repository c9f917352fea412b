//! The platform API, as far as a client needs it to find lost requests and to price: the listing of requests by
//! endpoint, and the list prices.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::requests::Request;
use super::{Answer, answer, authorize, endpoints, faults, work};
use crate::clock::{now_ms, parse_instant, rfc3339};
use crate::wire::Wire;
use crate::world::World;

const DAY_MS: i64 = 86_400_000;
const USUAL_LIMIT: usize = 50;
const HIGHEST_LIMIT: usize = 100;

type Parameters = Query<Vec<(String, String)>>;

/// `GET /fal/api/v1/models/requests/by-endpoint`: the newest first. Requests that have not ended are listed, too, with
/// `null` for what is not known yet.
pub(crate) async fn requests(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    authorize(&world, &headers)?;
    let all = |name: &str| query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
    let one = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let endpoint_ids: Vec<String> = all("endpoint_id");
    if endpoint_ids.is_empty() {
        return Err(invalid("endpoint_id is required"));
    }
    if let Some(hit) = endpoint_ids.iter().find_map(|id| world.strike(id, None, faults::listing)) {
        return Ok(faults::no_news(&hit.fault, &wire));
    }
    let request_id = one("request_id");
    let instant = |name: &str| match one(name) {
        Some(text) => {
            parse_instant(text).map(Some).ok_or_else(|| invalid(&format!("{name} is not an ISO 8601 instant")))
        }
        None => Ok(None),
    };
    let window = if request_id.is_some() { 90 * DAY_MS } else { DAY_MS };
    let start = instant("start")?.unwrap_or_else(|| now_ms() - window);
    let end = instant("end")?.unwrap_or(i64::MAX);
    let status = match one("status") {
        None => None,
        Some("success") => Some(200..300),
        Some("user_error") => Some(400..500),
        Some("error") => Some(500..600),
        Some(_) => return Err(invalid("status is not one of success, error, user_error")),
    };
    let limit = match one("limit") {
        None => USUAL_LIMIT,
        Some(text) => match text.parse() {
            Ok(limit) if (1..=HIGHEST_LIMIT).contains(&limit) => limit,
            _ => return Err(invalid("limit is not between 1 and 100")),
        },
    };
    let before = match one("cursor") {
        None => None,
        Some(cursor) => Some(read_cursor(cursor).ok_or_else(|| invalid("cursor is not valid"))?),
    };
    let expand = query.iter().any(|(key, value)| key == "expand" && value.split(',').any(|part| part == "payloads"));

    let keep = |request: &Request| {
        let job = &request.job;
        let code = request.end.as_ref().map(|end| end.outcome.status());
        endpoint_ids.iter().any(|id| id == job.endpoint.id)
            && request_id.is_none_or(|id| id == job.id)
            && (start..end).contains(&job.sent_ms)
            && status.as_ref().is_none_or(|range| code.is_some_and(|code| range.contains(&code)))
    };
    let mut found = world.requests.newest(before, keep, limit + 1);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| has_more).map(|request| cursor(request.job.sequence));
    let mut items = Vec::with_capacity(found.len());
    for request in &found {
        let job = &request.job;
        if let Some(hit) = world.strike(job.endpoint.id, job.prompt(), faults::hides) {
            world.requests.struck(&job.id, hit.name);
            continue;
        }
        items.push(item(&world, request, expand).await);
    }
    let body = json!({ "items": items, "next_cursor": next_cursor, "has_more": has_more });
    Ok(answer(StatusCode::OK, body).into_response())
}

async fn item(world: &Arc<World>, request: &Request, expand: bool) -> Value {
    let job = &request.job;
    let mut item = json!({
        "request_id": job.id,
        "endpoint_id": job.endpoint.id,
        "sent_at": rfc3339(job.sent_ms),
        "started_at": request.started_ms.map(rfc3339),
        "ended_at": request.end.as_ref().map(|end| rfc3339(end.at_ms)),
        "status_code": request.end.as_ref().map(|end| end.outcome.status()),
        "duration": request.inference_seconds(),
    });
    if expand {
        let kept = job.keeps_payloads;
        let inline = job.plan.as_ref().is_ok_and(|plan| plan.inline);
        item["json_input"] = if kept { job.input.clone() } else { Value::Null };
        item["json_output"] = match kept && !inline {
            true => work::result(world, request).await.unwrap_or(Value::Null),
            false => Value::Null,
        };
    }
    item
}

/// `GET /fal/api/v1/models/pricing?endpoint_id=…`
pub(crate) async fn pricing(
    State(world): State<Arc<World>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    authorize(&world, &headers)?;
    let mut prices = Vec::new();
    for id in query.iter().filter(|(key, _)| key == "endpoint_id").flat_map(|(_, ids)| ids.split(',')) {
        let Some(endpoint) = endpoints::find(id) else {
            let error = json!({ "error": { "type": "not_found", "message": format!("Endpoint id '{id}' not found") } });
            return Err(answer(StatusCode::NOT_FOUND, error));
        };
        prices.push(json!({ "endpoint_id": id, "unit_price": endpoint.price.unit_price,
            "unit": endpoint.price.unit.name(), "currency": "USD" }));
    }
    if prices.is_empty() {
        return Err(invalid("endpoint_id is required"));
    }
    Ok(answer(StatusCode::OK, json!({ "prices": prices, "next_cursor": null, "has_more": false })))
}

fn invalid(message: &str) -> Answer {
    answer(StatusCode::BAD_REQUEST, json!({ "error": { "type": "validation_error", "message": message } }))
}

fn cursor(sequence: u64) -> String {
    URL_SAFE_NO_PAD.encode(sequence.to_be_bytes())
}

fn read_cursor(cursor: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
