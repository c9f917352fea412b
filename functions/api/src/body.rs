//! Reads a request: the length and the format of its body, its JSON, its query. Each error has a code of its own.

use axum::extract::FromRequestParts;
use bytes::Bytes;
use fresco_pipeline::text::{shown, shown_in};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::problem::HttpProblem;

/// The longest body. Lambda takes 6 MB with a base64 body, which is four and a half as it was sent.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// The format of a body, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    Json,
    Yaml,
}

/// Returns the format of a body. A body that is too long, or of another format, is a problem.
pub(crate) fn format_of(headers: &HeaderMap, body: &Bytes) -> Result<BodyFormat, HttpProblem> {
    if body.len() > MAX_BODY {
        let detail = format!("the body has {} bytes; expected at most {MAX_BODY}", body.len());
        let advice = "Ask POST /uploads for a place to put it, and name that upload.";
        return Err(HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail, advice));
    }
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(BodyFormat::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(BodyFormat::Yaml),
        _ => Err(HttpProblem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            if given.is_empty() {
                "the body has no content type".to_owned()
            } else {
                format!("the content type is `{}`", shown(&essence))
            },
            "Send application/json, or a pipeline document as application/yaml.",
        )),
    }
}

/// Reads a body that has to be JSON.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, HttpProblem> {
    if format_of(headers, body)? != BodyFormat::Json {
        return Err(HttpProblem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body is not JSON",
            "Send application/json.",
        ));
    }
    parse(body)
}

/// Parses JSON of this form.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpProblem> {
    serde_json::from_slice(body).map_err(|error| {
        // Its place is the body's own: a document inside has places of its own.
        let detail = format!("the body cannot be read: {}", shown_in(&error.to_string()));
        HttpProblem::bad_request("bad_json", detail)
    })
}

/// The parameters of a query.
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpProblem> {
        Ok(Query::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    /// Parses the query of a URI.
    pub(crate) fn of(query: &str) -> Self {
        Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns the parameters in an order that does not depend on the request's.
    pub(crate) fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Returns the values of these parameters, in this order. Repeated and unknown parameters are problems.
    pub(crate) fn read<const N: usize>(self, names: [&str; N]) -> Result<[Option<String>; N], HttpProblem> {
        let mut values = [const { None }; N];
        for (name, value) in self.0 {
            let Some(place) = names.iter().position(|known| *known == name) else {
                let detail = format!("unknown parameter `{}`; expected one of {}", shown(&name), names.join(", "));
                return Err(HttpProblem::bad_request("unknown_parameter", detail));
            };
            if values[place].replace(value).is_some() {
                return Err(HttpProblem::bad_request("repeated_parameter", format!("`{name}` is given twice")));
            }
        }
        Ok(values)
    }
}

/// Parses the value of a parameter, a number within bounds.
pub(crate) fn number(
    name: &str,
    value: Option<String>,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, HttpProblem> {
    let Some(text) = value else { return Ok(None) };
    match text.parse::<i64>().ok().filter(|number| bounds.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let detail = format!("`{name}` has to be a whole number from {} to {}", bounds.start(), bounds.end());
            Err(HttpProblem::bad_request("bad_parameter", detail))
        }
    }
}
