//! Reading what a request holds: its length, its kind, then its JSON, each with a problem of its own.

use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::problem::Problem;

/// The longest body. Lambda takes 6 MB with a base64 body, which is four and a half as it was sent.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// What a body says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Yaml,
}

/// What the body is, if its length and kind will do.
pub(crate) fn kind(headers: &HeaderMap, body: &Bytes) -> Result<Kind, Problem> {
    if body.len() > MAX_BODY {
        let detail = format!("the body has {} bytes; {MAX_BODY} are taken", body.len());
        let advice = "Ask POST /uploads for a place to put it, and name that upload.";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail, advice));
    }
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Kind::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(Kind::Yaml),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            if given.is_empty() {
                "the body has no content type".to_owned()
            } else {
                format!("`{essence}` is not taken")
            },
            "Send application/json, or a pipeline document as application/yaml.",
        )),
    }
}

/// The body as JSON of this form.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    if kind(headers, body)? != Kind::Json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "only JSON is taken here",
            "Send application/json.",
        ));
    }
    parse(body)
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // Its place is the body's own: a document inside has places of its own.
        let detail = format!("the body is not what it should be: {error}");
        Problem::bad_request("bad_json", detail)
    })
}

/// The parameters of a query, each at most once and none that is not known.
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// The values of these parameters, in this order.
    pub(crate) fn take<const N: usize>(self, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
        let mut taken = [const { None }; N];
        for (name, value) in self.0 {
            let Some(place) = names.iter().position(|known| *known == name) else {
                let detail = format!("there is no parameter `{name}`; there are {}", names.join(", "));
                return Err(Problem::bad_request("unknown_parameter", detail));
            };
            if taken[place].replace(value).is_some() {
                return Err(Problem::bad_request("repeated_parameter", format!("`{name}` is given twice")));
            }
        }
        Ok(taken)
    }
}

/// A number of a parameter, within bounds.
pub(crate) fn number(
    name: &str,
    value: Option<String>,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, Problem> {
    let Some(text) = value else { return Ok(None) };
    match text.parse::<i64>().ok().filter(|number| bounds.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let detail = format!("`{name}` has to be a whole number from {} to {}", bounds.start(), bounds.end());
            Err(Problem::bad_request("bad_parameter", detail))
        }
    }
}
