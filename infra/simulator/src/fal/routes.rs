//! The routes of fal.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;

use super::{media_host, platform_api, queue};
use crate::state::State;

/// Inputs may carry media as data URIs.
const LARGEST_BODY: usize = 64 << 20;

/// All routes below `/fal`.
pub(crate) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/fal/queue/{*path}", get(queue::read).post(queue::submit).put(queue::cancel))
        .route("/fal/api/v1/models/requests/by-endpoint", get(platform_api::requests))
        .route("/fal/api/v1/models/pricing", get(platform_api::pricing))
        .route("/fal/rest/.well-known/jwks.json", get(platform_api::keys))
        .route("/fal/media/files/{id}/{name}", get(media_host::serve))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}
