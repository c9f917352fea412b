//! The content of the bucket, and its clean-up, each in parts that fit into the gateway's 29 seconds.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fresco_api_types::{CleanBody, CleanTotals, CleanView, MIN_CLEAN_AGE, StorageView};
use fresco_engine::PruneOptions;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::app::App;
use crate::body::{self, Query};
use crate::problem::HttpProblem;

/// The time after which a part ends. The last page and its removals come on top.
const PART: Duration = Duration::from_secs(15);
/// Prefixes of cursors: a cursor of one route is invalid in another.
const STORAGE: &str = "storage:";
const CLEAN: &str = "clean:";

/// `GET /storage`.
pub(crate) async fn show(State(app): State<App>, query: Query) -> Result<Json<StorageView>, HttpProblem> {
    let [cursor] = query.read(["cursor"])?;
    let after = after(STORAGE, cursor)?;
    let view = app.engine.upkeep.storage(&after, Instant::now() + PART).await?;
    Ok(Json(StorageView { cursor: view.cursor.map(|key| cursor_of(STORAGE, &key)), ..view }))
}

/// `POST /clean`.
pub(crate) async fn clean(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<CleanView>, HttpProblem> {
    let [] = query.read([])?;
    let body: CleanBody = body::json(&headers, &bytes)?;
    let options = options(&body)?;
    let after = after(CLEAN, body.cursor)?;
    let until = Instant::now() + PART;
    let planning = app.engine.upkeep.is_planning().await?;
    if planning && !body.while_planning {
        return Ok(Json(CleanView { totals: CleanTotals::default(), planning, cursor: None }));
    }
    let (totals, rest) = app.engine.upkeep.prune(options, &after, until).await?;
    Ok(Json(CleanView { totals, planning, cursor: rest.map(|key| cursor_of(CLEAN, &key)) }))
}

fn options(body: &CleanBody) -> Result<PruneOptions, HttpProblem> {
    if body.older_than_ms < MIN_CLEAN_AGE {
        let detail = format!("`older_than_ms` is {}; expected at least {MIN_CLEAN_AGE}, an hour", body.older_than_ms);
        let advice = "Younger objects may be on their way into the ledger. Give a longer age.";
        return Err(HttpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_age", detail, advice));
    }
    Ok(PruneOptions { older_than: body.older_than_ms, dry_run: body.dry_run })
}

fn cursor_of(prefix: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{prefix}{key}"))
}

/// Returns the object key after which a part begins.
fn after(prefix: &str, cursor: Option<String>) -> Result<String, HttpProblem> {
    let Some(cursor) = cursor else { return Ok(String::new()) };
    let text = URL_SAFE_NO_PAD.decode(&cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text.as_deref().and_then(|text| text.strip_prefix(prefix));
    key.map(str::to_owned).ok_or_else(|| HttpProblem::bad_request("bad_cursor", "`cursor` is not one of this route"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_route_only() {
        let cursor = cursor_of(CLEAN, "outputs/image/a/1/0.png");
        assert_eq!(after(CLEAN, Some(cursor.clone())).unwrap(), "outputs/image/a/1/0.png");
        assert_eq!(after(CLEAN, None).unwrap(), "");
        assert_eq!(after(STORAGE, Some(cursor)).unwrap_err().code, "bad_cursor");
        assert_eq!(after(CLEAN, Some("%%%".to_owned())).unwrap_err().code, "bad_cursor");
    }

    #[test]
    fn an_age_under_an_hour_is_refused() {
        let body = |older_than_ms| CleanBody { older_than_ms, dry_run: true, while_planning: false, cursor: None };
        let allowed = options(&body(MIN_CLEAN_AGE)).unwrap();
        assert_eq!((allowed.older_than, allowed.dry_run), (MIN_CLEAN_AGE, true));
        for age in [MIN_CLEAN_AGE - 1, 0, -1, i64::MIN] {
            assert_eq!(options(&body(age)).unwrap_err().code, "bad_age", "{age}");
        }
    }
}
