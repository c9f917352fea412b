//! fal.ai on loopback: the queue with its webhooks, the platform API as far as a client needs it to reconcile, the key
//! set, and the media host. Hosts of the real thing are path prefixes here; the rest of every path is the same.

pub(crate) mod endpoints;
mod faults;
pub(crate) mod forge;
pub(crate) mod infrastructure;
pub(crate) mod inputs;
pub(crate) mod journal;
pub(crate) mod media;
mod media_faults;
pub(crate) mod model_errors;
mod output;
mod platform;
mod queue;
pub(crate) mod requests;
mod schema;
mod sizes;
mod values;
pub(crate) mod webhook;
pub(crate) mod work;

use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::wire::Wire;
use crate::world::World;

/// Inputs may carry media as data URIs.
const LARGEST_BODY: usize = 64 << 20;

/// All routes beneath `/fal`.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/fal/queue/{*path}", get(queue::read).post(queue::submit).put(queue::cancel))
        .route("/fal/api/v1/models/requests/by-endpoint", get(platform::requests))
        .route("/fal/api/v1/models/pricing", get(platform::pricing))
        .route("/fal/rest/.well-known/jwks.json", get(jwks))
        .route("/fal/media/files/{id}/{name}", get(media::serve))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// The public keys that webhooks are signed with.
async fn jwks(State(world): State<Arc<World>>, ConnectInfo(wire): ConnectInfo<Wire>) -> Response {
    // No request is meant, so only a rule that means every one strikes.
    if let Some(hit) = world.strike("", None, faults::keys) {
        return faults::no_news(&hit.fault, &wire);
    }
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": world.identity.public_key_base64url() });
    Json(json!({ "keys": [key] })).into_response()
}

/// A status, a JSON body and headers: small enough to be an error.
#[derive(Debug)]
pub(crate) struct Answer(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

pub(crate) fn answer(status: StatusCode, body: Value) -> Answer {
    Answer(Box::new(Parts { status, body, headers: Vec::new() }))
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Parts { status, body, headers } = *self.0;
        let mut response = (status, Json(body)).into_response();
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Lets only the one key pass: `Authorization: Key <id>:<secret>`.
fn authorize(world: &World, headers: &HeaderMap) -> Result<(), Answer> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Key ")) {
        Some(key) if key == world.fal_key => Ok(()),
        _ => Err(answer(StatusCode::UNAUTHORIZED, json!({ "detail": "No user found for Key ID and Secret" }))),
    }
}

/// The status for a number that is one; 499 is not registered but valid.
fn status_code(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
