//! The routes of Gemini.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

use super::generate::generate;
use crate::state::State;

/// Larger than an inline request may be, so that the refusal is in Google's words.
const LARGEST_BODY: usize = 64 << 20;

/// All routes below `/gemini`.
pub(crate) fn router() -> Router<Arc<State>> {
    Router::new().route("/gemini/v1beta/models/{call}", post(generate)).layer(DefaultBodyLimit::max(LARGEST_BODY))
}
