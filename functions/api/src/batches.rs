//! Batches: start, list, show, stop, redrive, results.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_api_types::{BatchAccepted, BatchBody, BatchPage, BatchResults, BatchView};
use fresco_engine::StartedRun;
use fresco_pipeline::error::{ErrorName, Failure};
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::body::{self, Query};
use crate::listing::PageRequest;
use crate::parameters::{BatchPath, idempotency_key};
use crate::problem::HttpProblem;

/// `POST /batches`.
pub(crate) async fn start(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, HttpProblem> {
    let once = idempotency_key(&headers, &query, &bytes)?;
    let [] = query.read([])?;
    let body: BatchBody = body::json(&headers, &bytes)?;
    let StartedRun { run, existing } = app.engine.batches.start(once.as_ref(), body, &app.fetcher).await?;
    let accepted = BatchAccepted { id: run.to_string(), existing, this: format!("/batches/{run}") };
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// `GET /batches`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<BatchPage>, HttpProblem> {
    let page = PageRequest::read("batches:", query)?;
    let mut batches = app.engine.batches.list(page.to_read(), page.behind.as_ref()).await?;
    let next = page.cut(&mut batches, |batch| (batch.created_at, &batch.id));
    Ok(Json(BatchPage { batches, next }))
}

/// `GET /batches/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    BatchPath(batch): BatchPath,
    query: Query,
) -> Result<Json<BatchView>, HttpProblem> {
    let [] = query.read([])?;
    Ok(Json(app.engine.batches.view(&batch).await.map_err(batch_problem)?))
}

/// `GET /batches/{id}/results`.
pub(crate) async fn results(
    State(app): State<App>,
    BatchPath(batch): BatchPath,
    query: Query,
) -> Result<Json<BatchResults>, HttpProblem> {
    let [] = query.read([])?;
    Ok(Json(app.engine.batches.results(&batch).await.map_err(ended_batch_problem)?))
}

/// `POST /batches/{id}/redrive`.
pub(crate) async fn redrive(State(app): State<App>, BatchPath(batch): BatchPath) -> Result<Response, HttpProblem> {
    let view = app.engine.batches.redrive(&batch).await.map_err(ended_batch_problem)?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// `DELETE /batches/{id}`.
pub(crate) async fn stop(State(app): State<App>, BatchPath(batch): BatchPath) -> Result<Json<BatchView>, HttpProblem> {
    Ok(Json(app.engine.batches.stop(&batch).await.map_err(batch_problem)?))
}

/// The problem of a request that requires the batch to have ended.
fn ended_batch_problem(failure: Failure) -> HttpProblem {
    match failure.name {
        ErrorName::InputInvalid => {
            let advice = "Look at GET /batches/{id}, and ask again at its end.";
            HttpProblem::new(StatusCode::CONFLICT, "batch_goes_on", failure.message, advice)
        }
        _ => batch_problem(failure),
    }
}

/// The problem of a request for a batch. The engine has one error name for a missing run and a missing batch.
fn batch_problem(failure: Failure) -> HttpProblem {
    match failure.name {
        ErrorName::RunNotFound => HttpProblem::no_batch(),
        _ => failure.into(),
    }
}
