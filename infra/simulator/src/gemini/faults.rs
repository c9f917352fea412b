//! Which faults strike a call of Gemini, and how Google words those that refuse it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Refusal, TYPES, wrong_key};
use crate::faults::{Fault, SubmitFault, WorkFault};
use crate::wire::Wire;

pub(super) fn submit(fault: &Fault) -> Option<SubmitFault> {
    let Fault::Submit(fault) = fault else { return None };
    match fault {
        SubmitFault::ContentPolicySubmit
        | SubmitFault::Throttled200
        | SubmitFault::Infrastructure { .. }
        | SubmitFault::NoRequestId => None,
        fault => Some(fault.clone()),
    }
}

pub(super) fn work(fault: &Fault) -> Option<WorkFault> {
    match fault {
        Fault::Work(
            fault @ (WorkFault::Slow { .. }
            | WorkFault::Blocked { .. }
            | WorkFault::Safety
            | WorkFault::Empty
            | WorkFault::MaxTokens { .. }),
        ) => Some(fault.clone()),
        _ => None,
    }
}

/// The refusal of a call; `None` where the fault lets it be accepted.
pub(super) fn refusal(fault: &SubmitFault, model: &str, wire: &Wire) -> Option<Response> {
    let refusal = match fault {
        SubmitFault::Unauthorized => wrong_key(),
        SubmitFault::ExhaustedBalance => {
            let message = "Gemini API free tier is not available in your country. Please enable billing on your \
                           project in Google AI Studio.";
            Refusal::new(StatusCode::BAD_REQUEST, "FAILED_PRECONDITION", message)
        }
        SubmitFault::Forbidden => {
            Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", "The caller does not have permission")
        }
        SubmitFault::NotFound => {
            let message = format!("models/{model} is not found for API version v1beta.");
            Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
        }
        SubmitFault::Validation => Refusal::invalid("Request contains an invalid argument."),
        SubmitFault::Throttled { retry_after } => {
            quota(model, "GenerateRequestsPerMinutePerProjectPerModel", *retry_after)
        }
        SubmitFault::DailyQuota => quota(model, "GenerateRequestsPerDayPerProjectPerModel", None),
        SubmitFault::ServerError { status } => {
            let code = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let (status, message) = match code.as_u16() {
                502 | 503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
                504 => ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
                _ => ("INTERNAL", "An internal error has occurred. Please retry or report in the developer forum."),
            };
            Refusal::new(code, status, message)
        }
        SubmitFault::Html502 => return Some(page()),
        SubmitFault::CutBefore => return Some(wire.cut()),
        SubmitFault::CutAfter
        | SubmitFault::ReplyNever { .. }
        | SubmitFault::SlowReply { .. }
        | SubmitFault::BrokenJson
        | SubmitFault::ContentPolicySubmit
        | SubmitFault::Throttled200
        | SubmitFault::Infrastructure { .. }
        | SubmitFault::NoRequestId => return None,
    };
    Some(refusal.into_response())
}

fn quota(model: &str, id: &str, retry_after: Option<u64>) -> Refusal {
    let message = "You exceeded your current quota, please check your plan and billing details.";
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", message);
    let detail = |kind: &str, mut value: Value| {
        value["@type"] = json!(format!("{TYPES}/google.rpc.{kind}"));
        value
    };
    let violation = json!({ "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": id, "quotaDimensions": { "location": "global", "model": model }, "quotaValue": "10" });
    refusal.details.push(detail("QuotaFailure", json!({ "violations": [violation] })));
    let link = json!({ "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits" });
    refusal.details.push(detail("Help", json!({ "links": [link] })));
    if let Some(seconds) = retry_after {
        refusal.details.push(detail("RetryInfo", json!({ "retryDelay": format!("{seconds}s") })));
    }
    refusal
}

/// The page of Google's front end.
fn page() -> Response {
    let html = "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>Error 502 (Server Error)!!1</title>\n  \
                <p><b>502.</b> <ins>That\u{2019}s an error.</ins>\n  <p>The server encountered a temporary error and could \
                not complete your request.<p>Please try again in 30 seconds.\n";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], html).into_response()
}
