//! Runs: started, listed, shown, stopped.

use std::collections::BTreeMap;
use std::future::ready;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_api_types::{RunAccepted, RunPage, RunView, StopView};
use fresco_engine::platform::Platform;
use fresco_engine::{Begun, Once};
use fresco_ledger::records::RunRecord;
use fresco_ledger::traits::{Clock, Runs};
use fresco_pipeline::ids::{ContentKey, RunId};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::body::{Query, number};
use crate::listing::Wanted;
use crate::problem::Problem;
use crate::routes::App;
use crate::{document, show};

/// The longest idempotency key.
const MAX_KEY: usize = 255;

/// `POST /runs`.
pub(crate) async fn start(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let once = once(&headers, &bytes)?;
    let body = document::read(&headers, query, &bytes)?;
    let body = ready(Ok::<_, Problem>(body));
    let Begun { run, existing } = app.engine.start_order(once.as_ref(), None, &app.fetcher, body).await?;
    let links = show::links(&app, &run).await?;
    Ok((StatusCode::ACCEPTED, Json(RunAccepted { id: run.to_string(), existing, links })).into_response())
}

/// The idempotency key, with a hash of what is asked under it.
pub(crate) fn once(headers: &HeaderMap, body: &Bytes) -> Result<Option<Once>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let Some(key) = key else {
        let detail = format!("Idempotency-Key has to be 1 to {MAX_KEY} printable ASCII characters");
        return Err(Problem::bad_request("bad_idempotency_key", detail));
    };
    let kind = headers.get(http::header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let asked = ContentKey::digest(&[kind, b"\n", body].concat());
    Ok(Some(Once { key: key.to_owned(), asked: asked.to_string() }))
}

/// `GET /runs`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<RunPage>, Problem> {
    let wanted = Wanted::read("runs:", query)?;
    let platform = &app.engine.platform;
    let mut runs: Vec<RunRecord> = platform
        .ledger()
        .list_runs(wanted.to_read(), wanted.behind.as_ref(), platform.clock().now())
        .await
        .map_err(|error| Problem::from(error.0))?;
    let next = wanted.cut(&mut runs, |run| (run.created_at, run.id.as_str()));
    Ok(Json(RunPage { runs: runs.iter().map(show::summary).collect(), next }))
}

/// `GET /runs/{id}`.
pub(crate) async fn show(State(app): State<App>, OfRun(run): OfRun, query: Query) -> Result<Json<RunView>, Problem> {
    let [from] = query.take(["from"])?;
    Ok(Json(show::run(&app, &run, first(from)?).await?))
}

/// The first step that is shown.
pub(crate) fn first(from: Option<String>) -> Result<usize, Problem> {
    let from = number("from", from, 0..=i64::from(u32::MAX))?.unwrap_or(0);
    Ok(usize::try_from(from).unwrap_or(0))
}

/// `DELETE /runs/{id}`.
pub(crate) async fn stop(State(app): State<App>, OfRun(run): OfRun) -> Result<Json<StopView>, Problem> {
    Ok(Json(app.engine.stop(&run).await?))
}

/// The run of the path. An id that cannot be one is that of no run.
pub(crate) struct OfRun(pub(crate) RunId);

impl<S: Send + Sync> FromRequestParts<S> for OfRun {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_of(parts, state).await.map(OfRun).ok_or_else(Problem::no_run)
    }
}

/// The path's id, if it has the form of one.
pub(crate) async fn id_of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<RunId> {
    let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
    let id = path.ok().and_then(|Path(mut path)| path.remove("id"))?;
    RunId::parse(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_checked_and_stands_for_the_whole_request() {
        let with = |key: &'static str, kind: &'static str| {
            HeaderMap::from_iter([
                ("idempotency-key".parse().unwrap(), key.parse().unwrap()),
                (http::header::CONTENT_TYPE, kind.parse().unwrap()),
            ])
        };
        let body = Bytes::from_static(b"{}");
        assert_eq!(once(&HeaderMap::new(), &body), Ok(None));
        let asked = |key, kind, body: &Bytes| once(&with(key, kind), body).unwrap().unwrap().asked;
        assert_eq!(asked("k", "application/json", &body), asked("other", "application/json", &body));
        assert_ne!(asked("k", "application/json", &body), asked("k", "application/yaml", &body));
        assert_ne!(asked("k", "application/json", &body), asked("k", "application/json", &Bytes::from_static(b"[]")));
        assert_eq!(once(&with("", "text/plain"), &body).unwrap_err().code, "bad_idempotency_key");
    }
}
