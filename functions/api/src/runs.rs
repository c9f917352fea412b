//! Runs: start, list, show, stop, recollect.

use std::future::ready;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_api_types::{RecollectView, RunAccepted, RunPage, RunView, StopView};
use fresco_engine::StartedRun;
use fresco_engine::platform::Platform;
use fresco_ledger::records::RunRecord;
use fresco_ledger::traits::{Clock, Runs};
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::body::Query;
use crate::listing::PageRequest;
use crate::parameters::{RunPath, first_step, idempotency_key};
use crate::problem::HttpProblem;
use crate::{run_body, run_view};

/// `POST /runs`.
pub(crate) async fn start(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, HttpProblem> {
    let once = idempotency_key(&headers, &query, &bytes)?;
    let body = run_body::read(&headers, query, &bytes)?;
    let body = ready(Ok::<_, HttpProblem>(body));
    let StartedRun { run, existing } = app.engine.intake.start(once.as_ref(), None, &app.fetcher, body).await?;
    let links = run_view::links(&app, &run).await?;
    Ok((StatusCode::ACCEPTED, Json(RunAccepted { id: run.to_string(), existing, links })).into_response())
}

/// `GET /runs`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<RunPage>, HttpProblem> {
    let page = PageRequest::read("runs:", query)?;
    let platform = &app.engine.platform;
    let now = platform.clock().now();
    let mut runs: Vec<RunRecord> = platform.ledger().list_runs(page.to_read(), page.behind.as_ref(), now).await?;
    let next = page.cut(&mut runs, |run| (run.created_at, run.id.as_str()));
    Ok(Json(RunPage { runs: runs.iter().map(run_view::summary).collect(), next }))
}

/// `GET /runs/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    RunPath(run): RunPath,
    query: Query,
) -> Result<Json<RunView>, HttpProblem> {
    let [from] = query.read(["from"])?;
    Ok(Json(run_view::run(&app, &run, first_step(from)?).await?))
}

/// `DELETE /runs/{id}`.
pub(crate) async fn stop(State(app): State<App>, RunPath(run): RunPath) -> Result<Json<StopView>, HttpProblem> {
    Ok(Json(app.engine.runs.stop(&run).await?))
}

/// `POST /runs/{id}/recollect`.
pub(crate) async fn recollect(
    State(app): State<App>,
    RunPath(run): RunPath,
) -> Result<Json<RecollectView>, HttpProblem> {
    Ok(Json(app.engine.runs.recollect(&run).await?))
}
