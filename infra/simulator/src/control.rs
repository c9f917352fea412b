//! The control routes, by which tests and people observe and steer the simulator. They are no part of any provider's API
//! and need no key, as the listener is on loopback only.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::counters::Counters;
use crate::fal::forged_webhook::{self, Mutation, ResendError};
use crate::fal::webhook;
use crate::faults::{FaultRule, FaultStatus};
use crate::request_record::RequestRecord;
use crate::state::{Settings, SettingsChange, State};

/// All routes below `/_control`.
pub(crate) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/_control/counters", get(counters))
        .route("/_control/requests", get(requests))
        .route("/_control/identity", get(identity))
        .route("/_control/reset", post(reset))
        .route("/_control/settings", get(settings).post(change))
        .route("/_control/faults", get(faults).post(set_faults).delete(delete_faults))
        .route("/_control/webhooks/release", post(release))
        .route("/_control/webhooks/resend", post(resend))
}

async fn counters(Shared(state): Shared<Arc<State>>) -> Json<Counters> {
    Json(state.counters())
}

async fn requests(Shared(state): Shared<Arc<State>>) -> Json<Vec<RequestRecord>> {
    Json(state.records())
}

async fn identity(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(json!({ "user_id": state.identity.user_id(), "public_key": state.identity.public_key_base64url() }))
}

async fn reset(Shared(state): Shared<Arc<State>>) -> Json<Counters> {
    state.reset_counters();
    Json(state.counters())
}

async fn settings(Shared(state): Shared<Arc<State>>) -> Json<Settings> {
    Json(state.settings())
}

async fn change(Shared(state): Shared<Arc<State>>, Json(change): Json<SettingsChange>) -> Response {
    match state.change(change) {
        Ok(settings) => Json(settings).into_response(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn faults(Shared(state): Shared<Arc<State>>) -> Json<Vec<FaultStatus>> {
    Json(state.faults.status())
}

async fn set_faults(Shared(state): Shared<Arc<State>>, Json(rules): Json<Vec<Value>>) -> Response {
    let rules: Result<Vec<FaultRule>, _> = rules.into_iter().map(FaultRule::read).collect();
    match rules.and_then(|rules| state.faults.set(rules)) {
        Ok(()) => Json(state.faults.status()).into_response(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn delete_faults(Shared(state): Shared<Arc<State>>) -> Response {
    set_faults(Shared(state), Json(Vec::new())).await
}

async fn release(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(json!({ "released": webhook::release(&state) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resend {
    request_id: String,
    mutate: Option<Mutation>,
}

async fn resend(Shared(state): Shared<Arc<State>>, Json(resend): Json<Resend>) -> Response {
    match forged_webhook::resend(&state, &resend.request_id, resend.mutate).await {
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
