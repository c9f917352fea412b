//! Converts events of API Gateway (HTTP API, payload 2.0) to requests, and responses back. An invalid event is answered with a
//! problem, never with a failed function.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body as EventBody;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Uri};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::problem::HttpProblem;

/// Answers an event.
pub(crate) async fn answer(router: Router, event: ApiGatewayV2httpRequest) -> ApiGatewayV2httpResponse {
    let asked = (event.request_context.http.method.clone(), event.request_context.request_id.clone());
    let response = match request(event) {
        // A router cannot fail.
        Ok(request) => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => problem.into_response(),
    };
    let status = response.status().as_u16();
    tracing::info!(http.method = %asked.0, http.status = status, request.id = asked.1, "answered");
    event_of(response).await
}

fn request(event: ApiGatewayV2httpRequest) -> Result<Request<Body>, HttpProblem> {
    let bytes = match (event.body, event.is_base64_encoded) {
        (None, _) => Vec::new(),
        (Some(text), false) => text.into_bytes(),
        (Some(text), true) => {
            STANDARD.decode(text).map_err(|_| HttpProblem::bad_request("bad_base64", "the body is not base64"))?
        }
    };
    let path = event.raw_path.unwrap_or_else(|| "/".to_owned());
    let target = match event.raw_query_string.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // API Gateway decodes the path; an invalid one matches no route.
    let uri: Uri = target.parse().map_err(|_| HttpProblem::not_found())?;
    let mut request = Request::new(Body::from(bytes));
    *request.method_mut() = event.request_context.http.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = event.headers;
    Ok(request)
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
