//! Runs: started, listed, shown, stopped.

use std::collections::BTreeMap;
use std::future::ready;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fresco_engine::platform::Platform;
use fresco_engine::wire::{RunAccepted, RunPage, RunView, StopView};
use fresco_engine::{Begun, Once};
use fresco_ledger::rows::RunRow;
use fresco_ledger::traits::{Clock, ListPlace, Runs};
use fresco_pipeline::ids::{ContentKey, RunId};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::body::{Query, number};
use crate::problem::Problem;
use crate::routes::App;
use crate::{document, show};

/// The longest idempotency key.
const MAX_KEY: usize = 255;
const PAGE: i64 = 20;
const MOST: i64 = 100;

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

fn once(headers: &HeaderMap, body: &Bytes) -> Result<Option<Once>, Problem> {
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
    let [limit, cursor] = query.take(["limit", "cursor"])?;
    let limit = u32::try_from(number("limit", limit, 1..=MOST)?.unwrap_or(PAGE)).unwrap_or(0);
    let behind = cursor.map(|cursor| place_of(&cursor)).transpose()?;
    let platform = &app.engine.platform;
    // One more than is shown says whether there is another page.
    let mut runs: Vec<RunRow> = platform
        .ledger()
        .list_runs(limit + 1, behind.as_ref(), platform.clock().now())
        .await
        .map_err(|error| Problem::from(error.0))?;
    let more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| more).map(cursor_of);
    Ok(Json(RunPage { runs: runs.iter().map(show::summary).collect(), next }))
}

/// What a cursor of this listing begins with.
const LISTING: &str = "runs:";

fn cursor_of(run: &RunRow) -> String {
    URL_SAFE_NO_PAD.encode(format!("{LISTING}{}#{}", run.created_at, run.id))
}

fn place_of(cursor: &str) -> Result<ListPlace, Problem> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (created_at, run) = text.strip_prefix(LISTING)?.split_once('#')?;
        Some(ListPlace { created_at: created_at.parse().ok()?, run: RunId::parse(run).ok()? })
    };
    read().ok_or_else(|| Problem::bad_request("bad_cursor", "`cursor` is not one that this listing gave"))
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
    let stopped = app.engine.stop(&run).await?;
    Ok(Json(StopView {
        id: stopped.run_id.to_string(),
        was_running: stopped.was_running,
        done: stopped.done,
        going_on: stopped.going_on,
        cancelled: stopped.cancelled,
        spent: stopped.spent.as_micros(),
        held: stopped.held.as_micros(),
    }))
}

/// The run of the path. An id that cannot be one is that of no run.
pub(crate) struct OfRun(pub(crate) RunId);

impl<S: Send + Sync> FromRequestParts<S> for OfRun {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(mut path)| path.remove("id"));
        id.and_then(|id| RunId::parse(id).ok()).map(OfRun).ok_or_else(Problem::no_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_of_this_listing_are_read() {
        let place = place_of(&URL_SAFE_NO_PAD.encode("runs:1764000000000#run-00000001")).unwrap();
        assert_eq!((place.created_at, place.run.as_str()), (1_764_000_000_000, "run-00000001"));
        for bad in ["batches:1#run-00000001", "runs:x#run-00000001", "runs:1#../x", "runs:1", ""] {
            assert_eq!(place_of(&URL_SAFE_NO_PAD.encode(bad)).unwrap_err().code, "bad_cursor", "{bad}");
        }
        assert_eq!(place_of("%%%").unwrap_err().code, "bad_cursor");
    }

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
