//! The faults of a call, and Google's wording of the refusals.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use crate::broken_connection::ConnectionHandle;
use crate::faults::Fault;

/// Whether a fault applies to submissions.
pub(super) fn is_of_submission(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Unauthorized
            | Fault::ExhaustedBalance
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Validation
            | Fault::Throttled { .. }
            | Fault::DailyQuota
            | Fault::ServerError { .. }
            | Fault::Html502
            | Fault::CutBefore
            | Fault::CutAfter
            | Fault::ReplyNever { .. }
            | Fault::SlowReply { .. }
            | Fault::BrokenJson
    )
}

/// Whether a fault applies to the work.
pub(super) fn is_of_work(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Slow { .. } | Fault::Blocked { .. } | Fault::Safety { .. } | Fault::Empty | Fault::MaxTokens { .. }
    )
}

/// The refusal of a call; `None` where the fault lets it be accepted.
pub(super) fn refusal(fault: &Fault, model: &str, connection: &ConnectionHandle) -> Option<Response> {
    let refusal = match fault {
        Fault::Unauthorized => Refusal::wrong_key(),
        Fault::ExhaustedBalance => {
            let message = "Gemini API free tier is not available in your country. Please enable billing on your \
                           project in Google AI Studio.";
            Refusal::new(StatusCode::BAD_REQUEST, "FAILED_PRECONDITION", message)
        }
        Fault::Forbidden => {
            Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", "The caller does not have permission")
        }
        Fault::NotFound => {
            let message = format!("models/{model} is not found for API version v1beta.");
            Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
        }
        Fault::Validation => Refusal::invalid("Request contains an invalid argument."),
        Fault::Throttled { retry_after } => quota(model, "GenerateRequestsPerMinutePerProjectPerModel", *retry_after),
        Fault::DailyQuota => quota(model, "GenerateRequestsPerDayPerProjectPerModel", None),
        Fault::ServerError { status } => server_error(*status),
        Fault::Html502 => return Some(front_end_page()),
        Fault::CutBefore => return Some(connection.cut()),
        _ => return None,
    };
    Some(refusal.into_response())
}

fn server_error(status: u16) -> Refusal {
    let (name, message) = match status {
        502 | 503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        _ => ("INTERNAL", "An internal error has occurred. Please retry or report in the developer forum."),
    };
    Refusal::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), name, message)
}

fn quota(model: &str, id: &str, retry_after: Option<u64>) -> Refusal {
    let message = "You exceeded your current quota, please check your plan and billing details.";
    let violation = json!({ "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": id, "quotaDimensions": { "location": "global", "model": model }, "quotaValue": "10" });
    let link = json!({ "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits" });
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", message)
        .detail("QuotaFailure", json!({ "violations": [violation] }))
        .detail("Help", json!({ "links": [link] }));
    match retry_after {
        Some(seconds) => refusal.detail("RetryInfo", json!({ "retryDelay": format!("{seconds}s") })),
        None => refusal,
    }
}

/// The page of Google's front end.
fn front_end_page() -> Response {
    let html = "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>Error 502 (Server Error)!!1</title>\n  \
                <p><b>502.</b> <ins>That\u{2019}s an error.</ins>\n  <p>The server encountered a temporary error and could \
                not complete your request.<p>Please try again in 30 seconds.\n";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], html).into_response()
}
