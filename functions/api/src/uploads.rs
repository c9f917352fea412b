//! Uploads.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_api_types::{UploadBody, UploadView};
use fresco_engine::platform::Platform;
use fresco_ledger::traits::Clock;
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::body::{self, Query};
use crate::problem::HttpProblem;

/// `POST /uploads`.
pub(crate) async fn create(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, HttpProblem> {
    let [] = query.read([])?;
    let body: UploadBody = body::json(&headers, &bytes)?;
    let (id, link, seconds) = app.engine.intake.new_upload(body.kind, body.bytes, body.sha256.as_deref()).await?;
    let now = app.engine.platform.clock().now();
    let view = UploadView {
        id: id.to_string(),
        method: "PUT".to_owned(),
        url: link.url,
        headers: link.headers,
        url_expires_at: now + i64::try_from(seconds).unwrap_or(0) * 1_000,
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}
