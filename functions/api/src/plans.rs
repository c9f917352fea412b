//! Plans of runs that do not start.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use fresco_api_types::Preview;
use http::HeaderMap;

use crate::app::App;
use crate::body::Query;
use crate::problem::HttpProblem;
use crate::run_body;

/// `POST /plans`.
pub(crate) async fn plan(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Preview>, HttpProblem> {
    let body = run_body::read(&headers, query, &bytes)?;
    let request = app.engine.intake.request(body, None, &app.fetcher).await?;
    let (_, plan) = app.engine.intake.compile(&request)?;
    Ok(Json(app.engine.planner.preview(&plan).await?))
}
