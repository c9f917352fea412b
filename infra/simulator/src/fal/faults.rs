//! Which faults strike at which stage of fal, and how fal words those that refuse: status, headers and body as its
//! documentation and its clients have them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoint, Shape};
use super::{Answer, answer, model_errors, status_code};
use crate::faults::{CancelFault, Fault, MediaFault, PollFault, SubmitFault, WebhookFault, WorkFault};
use crate::wire::Wire;

/// The limit that a refusal for too many requests names; it is that of a new account.
const CONCURRENCY: u64 = 2;

pub(super) fn submit(fault: &Fault) -> Option<SubmitFault> {
    match fault {
        Fault::Submit(SubmitFault::DailyQuota) => None,
        Fault::Submit(fault) => Some(fault.clone()),
        _ => None,
    }
}

pub(super) fn work(fault: &Fault, endpoint: &Endpoint) -> Option<WorkFault> {
    let Fault::Work(fault) = fault else { return None };
    match fault {
        // Only this output has the flags.
        WorkFault::Nsfw => matches!(endpoint.shape, Shape::Flux).then_some(WorkFault::Nsfw),
        WorkFault::Blocked { .. } | WorkFault::Safety | WorkFault::Empty | WorkFault::MaxTokens { .. } => None,
        fault => Some(fault.clone()),
    }
}

/// `action` is `status` for the status; everything else is about the result.
pub(super) fn poll(fault: &Fault, action: &str) -> Option<PollFault> {
    let Fault::Poll(fault) = fault else { return None };
    let strikes = match fault {
        PollFault::StatusError { .. } | PollFault::StatusHtml | PollFault::StatusCut => action == "status",
        PollFault::ResultError { .. } | PollFault::ResultHtml | PollFault::ResultCut => action != "status",
        PollFault::Missing => true,
        PollFault::ListingError { .. } | PollFault::ListingHides | PollFault::KeysError { .. } => false,
    };
    strikes.then(|| fault.clone())
}

pub(super) fn listing(fault: &Fault) -> Option<PollFault> {
    match fault {
        Fault::Poll(fault @ PollFault::ListingError { .. }) => Some(fault.clone()),
        _ => None,
    }
}

/// Whether a request is left out of a listing.
pub(super) fn hides(fault: &Fault) -> Option<()> {
    matches!(fault, Fault::Poll(PollFault::ListingHides)).then_some(())
}

pub(super) fn keys(fault: &Fault) -> Option<PollFault> {
    match fault {
        Fault::Poll(fault @ PollFault::KeysError { .. }) => Some(fault.clone()),
        _ => None,
    }
}

/// The address that an output names.
pub(super) fn elsewhere(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Media(MediaFault::Url { url }) => Some(url.clone()),
        _ => None,
    }
}

pub(super) fn download(fault: &Fault) -> Option<MediaFault> {
    match fault {
        Fault::Media(MediaFault::Url { .. }) => None,
        Fault::Media(fault) => Some(fault.clone()),
        _ => None,
    }
}

/// How long the reply waits for the webhook.
pub(super) fn before_reply(fault: &Fault) -> Option<f64> {
    match fault {
        Fault::Webhook(WebhookFault::BeforeReply { seconds }) => Some(*seconds),
        _ => None,
    }
}

pub(super) fn webhook(fault: &Fault) -> Option<WebhookFault> {
    match fault {
        Fault::Webhook(WebhookFault::BeforeReply { .. }) => None,
        Fault::Webhook(fault) => Some(fault.clone()),
        _ => None,
    }
}

pub(super) fn cancel(fault: &Fault) -> Option<CancelFault> {
    match fault {
        Fault::Cancel(fault) => Some(fault.clone()),
        _ => None,
    }
}

/// The refusal of a submission; `None` where the fault lets it be accepted.
pub(super) fn refusal(
    fault: &SubmitFault,
    endpoint: &Endpoint,
    input: &Map<String, Value>,
    wire: &Wire,
) -> Option<Response> {
    let detail = |status: StatusCode, text: &str| answer(status, json!({ "detail": text }));
    let model_error = |kind: &str| {
        let body = model_errors::body(kind, &Value::Object(input.clone()));
        answer(StatusCode::UNPROCESSABLE_ENTITY, body).header("x-fal-retryable", "false")
    };
    let refusal = match fault {
        SubmitFault::Unauthorized => detail(StatusCode::UNAUTHORIZED, "No user found for Key ID and Secret"),
        SubmitFault::ExhaustedBalance => {
            let text = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing";
            detail(StatusCode::FORBIDDEN, text)
        }
        SubmitFault::Forbidden => detail(StatusCode::FORBIDDEN, "Access denied to this application"),
        SubmitFault::NotFound => {
            let name = endpoint.app().rsplit('/').next().unwrap_or_default();
            detail(StatusCode::NOT_FOUND, &format!("Application '{name}' not found"))
        }
        SubmitFault::Validation => model_error("value_error"),
        SubmitFault::ContentPolicySubmit => model_error("content_policy_violation"),
        SubmitFault::Throttled { retry_after } => {
            let refusal = throttled(StatusCode::TOO_MANY_REQUESTS);
            match retry_after {
                Some(seconds) => refusal.header("retry-after", seconds.to_string()),
                None => refusal,
            }
        }
        SubmitFault::Throttled200 => throttled(StatusCode::OK),
        SubmitFault::ServerError { status } => {
            let status = status_code(*status);
            detail(status, status.canonical_reason().unwrap_or("Internal Server Error"))
        }
        SubmitFault::Html502 => return Some(page(StatusCode::BAD_GATEWAY)),
        SubmitFault::Infrastructure { error_type } => {
            let body = json!({ "detail": error_type.message(), "error_type": error_type.error_type() });
            let refusal = answer(status_code(error_type.status()), body);
            let refusal = refusal.header("x-fal-error-type", error_type.error_type());
            refusal.header("x-fal-retryable", error_type.is_retryable().to_string())
        }
        SubmitFault::CutBefore => return Some(wire.cut()),
        SubmitFault::CutAfter
        | SubmitFault::ReplyNever { .. }
        | SubmitFault::SlowReply { .. }
        | SubmitFault::BrokenJson
        | SubmitFault::NoRequestId
        | SubmitFault::DailyQuota => return None,
    };
    Some(refusal.into_response())
}

fn throttled(status: StatusCode) -> Answer {
    let body = json!({ "detail": format!("Reached concurrent requests limit of {CONCURRENCY}"),
        "type": "concurrent_requests_limit", "data": { "limit": CONCURRENCY } });
    answer(status, body).header("x-fal-needs-retry", "1")
}

/// The answer to a question about a request that says nothing about it.
pub(super) fn no_news(fault: &PollFault, wire: &Wire) -> Response {
    match fault {
        PollFault::StatusError { status }
        | PollFault::ResultError { status }
        | PollFault::ListingError { status }
        | PollFault::KeysError { status } => {
            let status = status_code(*status);
            let detail = status.canonical_reason().unwrap_or("Internal Server Error");
            answer(status, json!({ "detail": detail })).into_response()
        }
        PollFault::StatusHtml | PollFault::ResultHtml => page(StatusCode::BAD_GATEWAY),
        PollFault::StatusCut | PollFault::ResultCut => wire.cut(),
        PollFault::Missing | PollFault::ListingHides => {
            answer(StatusCode::NOT_FOUND, json!({ "status": "NOT_FOUND" })).into_response()
        }
    }
}

/// The page of the ingress, by whose `nginx` fal's own client knows it.
fn page(status: StatusCode) -> Response {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    (status, [(header::CONTENT_TYPE, "text/html")], html).into_response()
}
