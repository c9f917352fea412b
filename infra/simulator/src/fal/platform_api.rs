//! The platform API, as far as a client needs it to reconcile, to price and to verify: the listing of requests by endpoint,
//! the list prices, and the public keys of webhooks.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::{Answer, answer, authorize};
use super::request_store::Request;
use super::{endpoint, fault_responses, result};
use crate::broken_connection::ConnectionHandle;
use crate::clock::{now_ms, parse_instant, rfc3339};
use crate::faults::Fault;
use crate::state::State;

const DAY_MS: i64 = 86_400_000;
const DEFAULT_LIMIT: usize = 50;
const HIGHEST_LIMIT: usize = 100;

type Parameters = Query<Vec<(String, String)>>;

/// The parameters of a listing.
struct Listing {
    endpoint_ids: Vec<String>,
    request_id: Option<String>,
    /// Submission in milliseconds since the Unix epoch.
    sent: Range<i64>,
    status: Option<Range<u16>>,
    limit: usize,
    /// The sequence number that the page is before.
    before: Option<u64>,
    is_expanded: bool,
}

impl Listing {
    fn read(query: &[(String, String)]) -> Result<Self, Answer> {
        let one = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let all = |name: &str| query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
        let endpoint_ids: Vec<String> = all("endpoint_id");
        if endpoint_ids.is_empty() {
            return Err(invalid("endpoint_id is required"));
        }
        let instant = |name: &str, default: i64| match one(name) {
            Some(text) => parse_instant(text).ok_or_else(|| invalid(&format!("{name} is not an ISO 8601 instant"))),
            None => Ok(default),
        };
        let request_id = one("request_id").map(str::to_owned);
        let window = if request_id.is_some() { 90 * DAY_MS } else { DAY_MS };
        let status = match one("status") {
            None => None,
            Some("success") => Some(200..300),
            Some("user_error") => Some(400..500),
            Some("error") => Some(500..600),
            Some(_) => return Err(invalid("status is not one of success, error, user_error")),
        };
        let limit = one("limit").map_or(Ok(DEFAULT_LIMIT), str::parse).ok();
        let limit = limit.filter(|limit| (1..=HIGHEST_LIMIT).contains(limit));
        let before = one("cursor").map(|cursor| read_cursor(cursor).ok_or_else(|| invalid("cursor is not valid")));
        let is_expanded =
            |(key, value): &(String, String)| key == "expand" && value.split(',').any(|part| part == "payloads");
        Ok(Self {
            endpoint_ids,
            request_id,
            sent: instant("start", now_ms() - window)?..instant("end", i64::MAX)?,
            status,
            limit: limit.ok_or_else(|| invalid("limit is not between 1 and 100"))?,
            before: before.transpose()?,
            is_expanded: query.iter().any(is_expanded),
        })
    }

    fn includes(&self, request: &Request) -> bool {
        let job = &request.job;
        let is_of_status = |range: &Range<u16>| request.status_code().is_some_and(|code| range.contains(&code));
        self.endpoint_ids.contains(&job.endpoint.id)
            && self.request_id.as_ref().is_none_or(|id| *id == job.id)
            && self.sent.contains(&job.sent_ms)
            && self.status.as_ref().is_none_or(is_of_status)
    }
}

/// `GET /fal/api/v1/models/requests/by-endpoint`: the newest first. Requests that have not ended have `null` for the
/// members that are not known yet.
pub(super) async fn requests(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    authorize(&state, &headers)?;
    let listing = Listing::read(&query)?;
    let is_failure = |fault: &Fault| matches!(fault, Fault::ListingError { .. });
    if let Some(fault) = listing.endpoint_ids.iter().find_map(|id| state.strike(id, None, is_failure)) {
        return Ok(fault_responses::failed_read(&fault, &connection));
    }
    let mut found = state.requests.newest(listing.before, |request| listing.includes(request), listing.limit + 1);
    let has_more = found.len() > listing.limit;
    found.truncate(listing.limit);
    let next_cursor = found.last().filter(|_| has_more).map(|request| cursor(request.job.sequence));
    let mut items = Vec::with_capacity(found.len());
    for request in &found {
        let is_hidden = state.strike_job(&request.job, |fault| *fault == Fault::ListingHides).is_some();
        if !is_hidden {
            items.push(item(&state, request, listing.is_expanded).await);
        }
    }
    let body = json!({ "items": items, "next_cursor": next_cursor, "has_more": has_more });
    Ok(answer(StatusCode::OK, body).into_response())
}

async fn item(state: &Arc<State>, request: &Request, is_expanded: bool) -> Value {
    let job = &request.job;
    let mut item = json!({
        "request_id": job.id,
        "endpoint_id": job.endpoint.id,
        "sent_at": rfc3339(job.sent_ms),
        "started_at": request.started_ms.map(rfc3339),
        "ended_at": request.end.as_ref().map(|end| rfc3339(end.at_ms)),
        "status_code": request.status_code(),
        "duration": request.inference_seconds(),
    });
    if is_expanded {
        let is_inline = job.plan.as_ref().is_ok_and(|plan| plan.is_inline);
        item["json_input"] = if job.keeps_payloads { job.input.clone() } else { Value::Null };
        item["json_output"] = match job.keeps_payloads && !is_inline {
            true => result::body(state, request).await.unwrap_or(Value::Null),
            false => Value::Null,
        };
    }
    item
}

/// `GET /fal/api/v1/models/pricing?endpoint_id=…`
pub(super) async fn pricing(
    Shared(state): Shared<Arc<State>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    authorize(&state, &headers)?;
    let mut prices = Vec::new();
    for id in query.iter().filter(|(key, _)| key == "endpoint_id").flat_map(|(_, ids)| ids.split(',')) {
        let Some(endpoint) = endpoint::find(id) else {
            let error = json!({ "error": { "type": "not_found", "message": format!("Endpoint id '{id}' not found") } });
            return Err(answer(StatusCode::NOT_FOUND, error));
        };
        prices.push(json!({ "endpoint_id": id, "unit_price": endpoint.price.usd,
            "unit": endpoint.price.unit, "currency": "USD" }));
    }
    if prices.is_empty() {
        return Err(invalid("endpoint_id is required"));
    }
    Ok(answer(StatusCode::OK, json!({ "prices": prices, "next_cursor": null, "has_more": false })))
}

/// `GET /fal/rest/.well-known/jwks.json`: the public keys that webhooks are signed with.
pub(super) async fn keys(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
) -> Response {
    // No request is meant, so only a rule without prompt and endpoint applies.
    if let Some(fault) = state.strike("", None, |fault| matches!(fault, Fault::KeysError { .. })) {
        return fault_responses::failed_read(&fault, &connection);
    }
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": state.identity.public_key_base64url() });
    Json(json!({ "keys": [key] })).into_response()
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
