//! Parameters that several routes share: the id in the path, the idempotency key, and the first step to show.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path};
use bytes::Bytes;
use fresco_engine::IdempotencyKey;
use fresco_pipeline::ids::{ContentKey, RunId};
use http::HeaderMap;
use http::request::Parts;

use crate::body::{Query, number};
use crate::problem::HttpProblem;

/// The longest idempotency key.
const MAX_KEY: usize = 255;

/// The run of the path. An invalid id is the id of no run.
pub(crate) struct RunPath(pub(crate) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        id_of(parts, state).await.map(RunPath).ok_or_else(HttpProblem::no_run)
    }
}

/// The batch of the path. An invalid id is the id of no batch.
pub(crate) struct BatchPath(pub(crate) RunId);

impl<S: Send + Sync> FromRequestParts<S> for BatchPath {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        id_of(parts, state).await.map(BatchPath).ok_or_else(HttpProblem::no_batch)
    }
}

async fn id_of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<RunId> {
    let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
    let id = path.ok().and_then(|Path(mut path)| path.remove("id"))?;
    RunId::parse(id).ok()
}

/// Reads the idempotency key, with a hash of the request: content type, query and body.
pub(crate) fn idempotency_key(
    headers: &HeaderMap,
    query: &Query,
    body: &Bytes,
) -> Result<Option<IdempotencyKey>, HttpProblem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let Some(key) = key else {
        let detail = format!("Idempotency-Key has to be 1 to {MAX_KEY} printable ASCII characters");
        return Err(HttpProblem::bad_request("bad_idempotency_key", detail));
    };
    let content_type = headers.get(http::header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    // JSON has no line feed outside of its texts and escapes those within: each part ends where it says.
    let query = serde_json::to_vec(&query.sorted()).unwrap_or_default();
    let request_hash = ContentKey::digest(&[content_type, b"\n", &query, b"\n", body].concat());
    Ok(Some(IdempotencyKey { key: key.to_owned(), request_hash: request_hash.to_string() }))
}

/// Reads the index of the first step to show.
pub(crate) fn first_step(from: Option<String>) -> Result<usize, HttpProblem> {
    let from = number("from", from, 0..=i64::from(u32::MAX))?.unwrap_or(0);
    Ok(usize::try_from(from).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_checked_and_stands_for_the_whole_request() {
        let with = |key: &'static str, content_type: &'static str| {
            HeaderMap::from_iter([
                ("idempotency-key".parse().unwrap(), key.parse().unwrap()),
                (http::header::CONTENT_TYPE, content_type.parse().unwrap()),
            ])
        };
        let body = Bytes::from_static(b"{}");
        let none = Query::of("");
        assert_eq!(idempotency_key(&HeaderMap::new(), &none, &body), Ok(None));
        let asked = |key, content_type, query: &str, body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            idempotency_key(&with(key, content_type), &Query::of(query), &body).unwrap().unwrap().request_hash
        };
        let base = asked("k", "application/yaml", "input=a+cat&x=1", b"{}");
        for same in ["input=a+cat&x=1", "x=1&input=a+cat", "x=1&input=a%20cat"] {
            assert_eq!(asked("other", "application/yaml", same, b"{}"), base, "{same}");
        }
        for other in
            ["", "input=a+dog&x=1", "input=a+cat", "input=a+cat&x=1&x=1", "input=a+cat%26x%3D1", "input&a+cat=x=1"]
        {
            assert_ne!(asked("k", "application/yaml", other, b"{}"), base, "{other}");
        }
        assert_ne!(asked("k", "application/json", "input=a+cat&x=1", b"{}"), base);
        assert_ne!(asked("k", "application/yaml", "input=a+cat&x=1", b"[]"), base);
        let bad = idempotency_key(&with("", "text/plain"), &none, &body);
        assert_eq!(bad.unwrap_err().code, "bad_idempotency_key");
    }
}
