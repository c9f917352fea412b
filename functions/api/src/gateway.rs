//! Converts events of API Gateway (HTTP API, payload 2.0) to requests, and responses back. An invalid event is answered with a
//! problem, never with a failed function.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body as EventBody;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tower::ServiceExt;

use crate::problem::HttpProblem;
use crate::routes::{Access, PREFLIGHT_KEY, Routers};

/// What is escaped in a segment of a path: all but unreserved characters (RFC 3986).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is escaped in a path.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');
/// What is escaped in a query, whose own escapes and separators stay.
const QUERY: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Answers an event.
pub(crate) async fn answer(routers: &Routers, event: ApiGatewayV2httpRequest) -> ApiGatewayV2httpResponse {
    let asked = (event.request_context.http.method.clone(), event.request_context.request_id.clone());
    if event.route_key.as_deref() == Some(PREFLIGHT_KEY) {
        return event_of(StatusCode::NO_CONTENT.into_response()).await;
    }
    let response = match request(event) {
        // A router cannot fail.
        Ok((access, request)) => routers.of(access).oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => problem.into_response(),
    };
    let status = response.status().as_u16();
    tracing::info!(http.method = %asked.0, http.status = status, request.id = asked.1, "answered");
    event_of(response).await
}

/// Converts an event to a request, and returns the access that its route gives.
fn request(event: ApiGatewayV2httpRequest) -> Result<(Access, Request<Body>), HttpProblem> {
    let (access, path) = route_of(&event).ok_or_else(HttpProblem::not_found)?;
    let bytes = match (event.body, event.is_base64_encoded) {
        (None, _) => Vec::new(),
        (Some(text), false) => text.into_bytes(),
        (Some(text), true) => {
            STANDARD.decode(text).map_err(|_| HttpProblem::bad_request("bad_base64", "the body is not base64"))?
        }
    };
    let target = match event.raw_query_string.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{}", utf8_percent_encode(&query, QUERY)),
        None => path,
    };
    let uri: Uri = target.parse().map_err(|_| HttpProblem::not_found())?;
    let mut request = Request::new(Body::from(bytes));
    *request.method_mut() = event.request_context.http.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = event.headers;
    Ok((access, request))
}

/// Returns the access of an event and its path as a URI has it. API Gateway decodes the raw path, so that a `#` or a `?` in it is a
/// character of a name; without escapes it would end the path, and another route would match than the one that was authorised. The
/// path of an open route is made of its key and its parameters.
fn route_of(event: &ApiGatewayV2httpRequest) -> Option<(Access, String)> {
    let key = event.route_key.as_deref()?;
    let access = Access::of_key(key)?;
    let path = match access {
        Access::Authorised => utf8_percent_encode(event.raw_path.as_deref().unwrap_or("/"), PATH).to_string(),
        Access::Open => {
            let segments = key.split_once(' ')?.1.split('/').map(|segment| {
                let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
                let value = name.map_or(Some(segment), |name| event.path_parameters.get(name).map(String::as_str))?;
                Some(utf8_percent_encode(value, SEGMENT).to_string())
            });
            segments.collect::<Option<Vec<_>>>()?.join("/")
        }
    };
    path.starts_with('/').then_some((access, path))
}

async fn event_of(response: Response) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    // The body is in memory; reading it cannot fail.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut event = ApiGatewayV2httpResponse::default();
    event.status_code = i64::from(parts.status.as_u16());
    event.headers = parts.headers;
    // Every answer is text.
    event.body = Some(EventBody::Text(String::from_utf8_lossy(&bytes).into_owned()));
    event.is_base64_encoded = false;
    event
}
