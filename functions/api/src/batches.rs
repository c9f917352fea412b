//! Batches: started, listed, shown, stopped, and what they came to.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_api_types::{BatchAccepted, BatchBody, BatchPage, BatchResults, BatchView};
use fresco_engine::Begun;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::body::{self, Query};
use crate::listing::Wanted;
use crate::problem::Problem;
use crate::routes::App;
use crate::runs::{id_of, once};

/// `POST /batches`.
pub(crate) async fn start(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let [] = query.take([])?;
    let once = once(&headers, &bytes)?;
    let body: BatchBody = body::json(&headers, &bytes)?;
    let Begun { run, existing } = app.engine.start_batch(once.as_ref(), body, &app.fetcher).await?;
    let accepted = BatchAccepted { id: run.to_string(), existing, this: format!("/batches/{run}") };
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// `GET /batches`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<BatchPage>, Problem> {
    let wanted = Wanted::read("batches:", query)?;
    let mut batches = app.engine.batches(wanted.to_read(), wanted.behind.as_ref()).await?;
    let next = wanted.cut(&mut batches, |batch| (batch.created_at, &batch.id));
    Ok(Json(BatchPage { batches, next }))
}

/// `GET /batches/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    OfBatch(batch): OfBatch,
    query: Query,
) -> Result<Json<BatchView>, Problem> {
    let [] = query.take([])?;
    Ok(Json(app.engine.batch(&batch).await.map_err(of_batch)?))
}

/// `GET /batches/{id}/results`.
pub(crate) async fn results(
    State(app): State<App>,
    OfBatch(batch): OfBatch,
    query: Query,
) -> Result<Json<BatchResults>, Problem> {
    let [] = query.take([])?;
    Ok(Json(app.engine.batch_results(&batch).await.map_err(of_ended)?))
}

/// `POST /batches/{id}/redrive`.
pub(crate) async fn redrive(State(app): State<App>, OfBatch(batch): OfBatch) -> Result<Response, Problem> {
    let view = app.engine.redrive_batch(&batch).await.map_err(of_ended)?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// What went wrong where the batch has to have ended.
fn of_ended(failure: Failure) -> Problem {
    match failure.name {
        ErrorName::InputInvalid => {
            let advice = "Look at GET /batches/{id}, and ask again at its end.";
            Problem::new(StatusCode::CONFLICT, "batch_is_running", failure.message, advice)
        }
        _ => of_batch(failure),
    }
}

/// `DELETE /batches/{id}`.
pub(crate) async fn stop(State(app): State<App>, OfBatch(batch): OfBatch) -> Result<Json<BatchView>, Problem> {
    Ok(Json(app.engine.stop_batch(&batch).await.map_err(of_batch)?))
}

/// What went wrong with a batch that was named. The engine has one name for what is not there.
fn of_batch(failure: Failure) -> Problem {
    match failure.name {
        ErrorName::RunNotFound => Problem::no_batch(),
        _ => failure.into(),
    }
}

/// The batch of the path. An id that cannot be one is that of no batch.
pub(crate) struct OfBatch(RunId);

impl<S: Send + Sync> FromRequestParts<S> for OfBatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_of(parts, state).await.map(OfBatch).ok_or_else(Problem::no_batch)
    }
}
