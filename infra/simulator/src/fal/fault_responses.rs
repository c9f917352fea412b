//! The wording of faults: status, headers and body in the form that fal's documentation and clients have them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::answer::{Answer, answer, detail, status_code, unknown_request, wrong_key};
use super::endpoint::Endpoint;
use super::model_error;
use crate::broken_connection::ConnectionHandle;
use crate::faults::Fault;

/// The limit that a refusal for too many requests names; it is that of a new account.
const CONCURRENCY: u64 = 2;

/// Whether a fault applies to submissions.
pub(super) fn is_of_submission(fault: &Fault) -> bool {
    is_of_reply(fault)
        || matches!(
            fault,
            Fault::Unauthorized
                | Fault::ExhaustedBalance
                | Fault::Forbidden
                | Fault::NotFound
                | Fault::Validation
                | Fault::ContentPolicySubmit
                | Fault::Throttled { .. }
                | Fault::Throttled200
                | Fault::ServerError { .. }
                | Fault::Html502
                | Fault::Infrastructure { .. }
                | Fault::CutBefore
        )
}

/// Whether a fault lets a submission be accepted.
fn is_of_reply(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::CutAfter | Fault::ReplyNever { .. } | Fault::SlowReply { .. } | Fault::BrokenJson | Fault::NoRequestId
    )
}

/// Whether a fault applies to the work of an endpoint.
pub(super) fn is_of_work(fault: &Fault, endpoint: &Endpoint) -> bool {
    match fault {
        Fault::Nsfw { .. } => endpoint.has_output("has_nsfw_concepts"),
        Fault::ModelError { .. }
        | Fault::InfrastructureEnd { .. }
        | Fault::PayloadNull { .. }
        | Fault::PayloadError
        | Fault::NoMedia
        | Fault::FewMedia { .. }
        | Fault::NeverStarts
        | Fault::NeverEnds
        | Fault::Slow { .. } => true,
        _ => false,
    }
}

/// Whether a fault applies to reads of a status, or else of a result.
pub(super) fn is_of_read(fault: &Fault, is_status: bool) -> bool {
    match fault {
        Fault::StatusError { .. } | Fault::StatusHtml | Fault::StatusCut => is_status,
        Fault::ResultError { .. } | Fault::ResultHtml | Fault::ResultCut => !is_status,
        Fault::Missing => true,
        _ => false,
    }
}

/// The refusal of a submission; `None` where the fault lets it be accepted.
pub(super) fn refusal(
    fault: &Fault,
    endpoint: &Endpoint,
    input: &Map<String, Value>,
    connection: &ConnectionHandle,
) -> Option<Response> {
    let model_error = |kind: &str| {
        let body = model_error::body(kind, &Value::Object(input.clone()));
        answer(StatusCode::UNPROCESSABLE_ENTITY, body).header("x-fal-retryable", false)
    };
    let refusal = match fault {
        Fault::Unauthorized => wrong_key(),
        Fault::ExhaustedBalance => {
            let text = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing";
            detail(StatusCode::FORBIDDEN, text)
        }
        Fault::Forbidden => detail(StatusCode::FORBIDDEN, "Access denied to this application"),
        Fault::NotFound => {
            let name = endpoint.app().rsplit('/').next().unwrap_or_default();
            detail(StatusCode::NOT_FOUND, &format!("Application '{name}' not found"))
        }
        Fault::Validation => model_error("value_error"),
        Fault::ContentPolicySubmit => model_error("content_policy_violation"),
        Fault::Throttled { retry_after: None } => throttled(StatusCode::TOO_MANY_REQUESTS),
        Fault::Throttled { retry_after: Some(seconds) } => {
            throttled(StatusCode::TOO_MANY_REQUESTS).header("retry-after", seconds)
        }
        Fault::Throttled200 => throttled(StatusCode::OK),
        Fault::ServerError { status } => server_error(*status),
        Fault::Html502 => return Some(nginx_page()),
        Fault::Infrastructure { error_type } => {
            let body = json!({ "detail": error_type.message(), "error_type": error_type.error_type() });
            let refusal = answer(status_code(error_type.status()), body);
            let refusal = refusal.header("x-fal-error-type", error_type.error_type());
            refusal.header("x-fal-retryable", error_type.is_retryable())
        }
        Fault::CutBefore => return Some(connection.cut()),
        _ => return None,
    };
    Some(refusal.into_response())
}

fn throttled(status: StatusCode) -> Answer {
    let body = json!({ "detail": format!("Reached concurrent requests limit of {CONCURRENCY}"),
        "type": "concurrent_requests_limit", "data": { "limit": CONCURRENCY } });
    answer(status, body).header("x-fal-needs-retry", 1)
}

fn server_error(status: u16) -> Answer {
    let status = status_code(status);
    detail(status, status.canonical_reason().unwrap_or("Internal Server Error"))
}

/// The answer to a read of a status, a result, a listing or the keys.
pub(super) fn failed_read(fault: &Fault, connection: &ConnectionHandle) -> Response {
    match fault {
        Fault::StatusError { status }
        | Fault::ResultError { status }
        | Fault::ListingError { status }
        | Fault::KeysError { status } => server_error(*status).into_response(),
        Fault::StatusHtml | Fault::ResultHtml => nginx_page(),
        Fault::StatusCut | Fault::ResultCut => connection.cut(),
        _ => unknown_request().into_response(),
    }
}

/// The page of the ingress; fal's own client recognises it by `nginx`.
fn nginx_page() -> Response {
    let html = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], html).into_response()
}
