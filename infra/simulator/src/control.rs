//! The control routes: what a test or a person asks of the simulator itself. They are no part of any provider's API and
//! need no key, as the listener is on loopback only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::counters::Counters;
use crate::fal::forge::{self, Mutation, ResendError};
use crate::fal::webhook;
use crate::faults::{FaultRule, FaultStatus};
use crate::records::RequestRecord;
use crate::world::{Settings, SettingsChange, World};

/// All routes beneath `/_control`.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/_control/counters", get(counters))
        .route("/_control/requests", get(requests))
        .route("/_control/identity", get(identity))
        .route("/_control/reset", post(reset))
        .route("/_control/settings", get(settings).post(change))
        .route("/_control/faults", get(faults).post(set_faults).delete(forget_faults))
        .route("/_control/webhooks/release", post(release))
        .route("/_control/webhooks/resend", post(resend))
}

async fn counters(State(world): State<Arc<World>>) -> Json<Counters> {
    Json(world.counters())
}

async fn requests(State(world): State<Arc<World>>) -> Json<Vec<RequestRecord>> {
    Json(world.records())
}

async fn identity(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!({ "user_id": world.identity.user_id(), "public_key": world.identity.public_key_base64url() }))
}

async fn reset(State(world): State<Arc<World>>) -> Json<Counters> {
    world.reset();
    Json(world.counters())
}

async fn settings(State(world): State<Arc<World>>) -> Json<Settings> {
    Json(world.settings())
}

async fn change(State(world): State<Arc<World>>, Json(change): Json<SettingsChange>) -> Response {
    match world.change(change) {
        Ok(settings) => Json(settings).into_response(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn faults(State(world): State<Arc<World>>) -> Json<Vec<FaultStatus>> {
    Json(world.faults.status())
}

async fn set_faults(State(world): State<Arc<World>>, Json(rules): Json<Vec<Value>>) -> Response {
    let rules: Result<Vec<FaultRule>, _> = rules.into_iter().map(FaultRule::read).collect();
    match rules.and_then(|rules| world.faults.set(rules)) {
        Ok(()) => Json(world.faults.status()).into_response(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn forget_faults(State(world): State<Arc<World>>) -> Response {
    set_faults(State(world), Json(Vec::new())).await
}

async fn release(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!({ "released": webhook::release(&world) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resend {
    request_id: String,
    mutate: Option<Mutation>,
}

async fn resend(State(world): State<Arc<World>>, Json(resend): Json<Resend>) -> Response {
    match forge::resend(&world, &resend.request_id, resend.mutate).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let status = match error {
                ResendError::Unknown(_) => StatusCode::NOT_FOUND,
                ResendError::NotEnded(_) | ResendError::NoWebhook(_) | ResendError::Address(_) => StatusCode::CONFLICT,
                ResendError::NoAnswer(_) => StatusCode::BAD_GATEWAY,
            };
            refuse(status, &error)
        }
    }
}

fn refuse(status: StatusCode, error: &dyn std::error::Error) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}
