//! The meaning of fal's refusals. There are three families, distinguished by headers and by the form of `detail`: a model's own
//! errors (an array), the infrastructure's (a text with an `error_type`), and the gateway's (a text, or nginx's HTML). The
//! same answer means different things to a submission, to a question about a job, and as the end of a job.

use std::time::{Duration, SystemTime};

use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::http::retry_after;
use crate::message::{clean, cut, word};
use crate::provider::{CheckError, JobReport, SubmitError};

/// A check that fal could not answer and may answer later.
pub(super) fn unavailable(message: impl Into<String>) -> CheckError {
    CheckError { failure: Failure::new(ErrorName::ProviderUnavailable, message), retry_after: None }
}

/// A check that failed before it was sent.
pub(super) fn terminal(failure: Failure) -> CheckError {
    CheckError { failure, retry_after: None }
}

/// The id of a job or a model that cannot stand in a URL.
pub(super) fn bad_id() -> CheckError {
    terminal(Failure::new(ErrorName::Internal, "the endpoint or the request id cannot be fal's"))
}

/// An error answer, taken apart.
#[derive(Debug, Default)]
pub(super) struct ErrorReply {
    pub(super) status: u16,
    details: Vec<Detail>,
    text: Option<String>,
    error_type: Option<String>,
    /// `X-Fal-Retryable`, or `X-Fal-Needs-Retry` (fal docs, errors and common parameters).
    retryable: Option<bool>,
    /// `X-Fal-Request-Timeout-Type: user` (fal's clients' retry code): a deadline of the caller's own has passed.
    user_deadline: bool,
    /// `x-fal-request-id` is present: the answer is about a request, not the gateway's own.
    of_request: bool,
    /// A page of the ingress: HTML that names nginx (fal's Python client, `_should_retry`).
    ingress: bool,
    retry_after: Option<Duration>,
}

/// One entry of a model error's `detail`. `input`, `ctx` and `url` are dropped: they echo what was sent.
#[derive(Debug, Clone)]
struct Detail {
    kind: String,
    place: String,
    message: String,
}

impl ErrorReply {
    /// An HTTP answer.
    pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> ErrorReply {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let mut reply = match serde_json::from_slice::<Value>(body) {
            Ok(value) => ErrorReply::payload(status, &value),
            Err(_) => ErrorReply { status, ..ErrorReply::default() },
        };
        if let Some(kind) = header("x-fal-error-type") {
            reply.error_type = Some(word(kind));
        }
        let needs_retry = header("x-fal-needs-retry").is_some_and(is_true).then_some(true);
        reply.retryable = header("x-fal-retryable").map(is_true).or(needs_retry);
        reply.user_deadline = header("x-fal-request-timeout-type") == Some("user");
        reply.of_request = header("x-fal-request-id").is_some();
        reply.ingress = status >= 500 && body.windows(5).any(|window| window.eq_ignore_ascii_case(b"nginx"));
        reply.retry_after = retry_after(headers, SystemTime::now());
        reply
    }

    /// An error body without headers, as a webhook carries it.
    pub(super) fn payload(status: u16, body: &Value) -> ErrorReply {
        let mut reply = ErrorReply { status, ..ErrorReply::default() };
        match body.get("detail") {
            Some(Value::Array(details)) => reply.details = details.iter().map(Detail::read).collect(),
            Some(Value::String(text)) => reply.text = Some(clean(text)),
            _ => {}
        }
        reply.error_type = body.get("error_type").and_then(Value::as_str).map(word);
        reply
    }

    /// Whether it is a fault of the route that was asked: only a model's own error is a job's end under a 5xx.
    pub(super) fn is_of_the_route(&self) -> bool {
        self.status >= 500 && self.details.is_empty()
    }

    /// Whether the form of the error is one that only a job's end has, and the gateway does not.
    pub(super) fn names_job_error(&self) -> bool {
        !self.details.is_empty() || self.infrastructure().is_some()
    }

    /// Whether a job that is said to be over has no result yet: one re-implementation of the queue answers
    /// `400 {"detail":"Request is still in progress"}`.
    pub(super) fn is_still_running(&self) -> bool {
        self.status == 400 && self.text.as_deref().is_some_and(|text| text.contains("still in progress"))
    }

    fn infrastructure(&self) -> Option<Infrastructure> {
        self.error_type.as_deref().and_then(Infrastructure::parse)
    }

    /// The detail that decides: a refusal by policy before anything else, then the first.
    fn detail(&self) -> Option<&Detail> {
        self.details.iter().find(|detail| detail.kind == "content_policy_violation").or(self.details.first())
    }

    fn message(&self) -> String {
        let what = match (self.detail(), &self.error_type, &self.text) {
            (Some(detail), _, _) => detail.to_string(),
            (None, Some(kind), Some(text)) => format!("{kind}: {text}"),
            (None, Some(kind), None) => kind.clone(),
            (None, None, Some(text)) => text.clone(),
            (None, None, None) if self.ingress => "the ingress answered with a page of its own".to_owned(),
            (None, None, None) => "no reason was given".to_owned(),
        };
        format!("fal answered {}: {what}", self.status)
    }

    fn failure(&self, name: ErrorName) -> Failure {
        Failure::new(name, self.message())
    }
}

impl Detail {
    fn read(value: &Value) -> Detail {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let place = match value.get("loc") {
            Some(Value::Array(parts)) => {
                let parts = parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), word));
                cut(&parts.collect::<Vec<_>>().join("."), 100)
            }
            _ => String::new(),
        };
        Detail { kind: word(text("type")), place, message: clean(text("msg")) }
    }
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.kind.is_empty() { "error" } else { &self.kind })?;
        if !self.place.is_empty() {
            write!(f, " at {}", self.place)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The kinds of infrastructure error (fal docs, request errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Infrastructure {
    /// A runner or the platform failed. Not billed (fal docs, FAQ: 5xx).
    Fault,
    /// The request was at fault.
    BadRequest,
    /// It was cancelled.
    Cancelled,
}

impl Infrastructure {
    fn parse(kind: &str) -> Option<Infrastructure> {
        Some(match kind {
            "request_timeout"
            | "startup_timeout"
            | "runner_scheduling_failure"
            | "runner_connection_timeout"
            | "runner_disconnected"
            | "runner_connection_refused"
            | "runner_connection_error"
            | "runner_incomplete_response"
            | "runner_server_error"
            | "client_disconnected"
            | "internal_error" => Infrastructure::Fault,
            "bad_request" => Infrastructure::BadRequest,
            "client_cancelled" => Infrastructure::Cancelled,
            _ => return None,
        })
    }
}

/// The meaning of a model's error, and whether it may have been billed once the model ran: 5xx are not, 422 may be (fal docs,
/// FAQ). Input that a model's schema refuses is counted as not billed, since nothing was generated.
fn model_error(kind: &str, status: u16, retryable: Option<bool>) -> (ErrorName, bool) {
    let fault = if retryable.unwrap_or(true) { ErrorName::ProviderUnavailable } else { ErrorName::ProviderFailed };
    match kind {
        "content_policy_violation" => (ErrorName::ProviderContentPolicy, true),
        "no_media_generated" => (ErrorName::ProviderFailed, true),
        "internal_server_error"
        | "generation_timeout"
        | "downstream_service_error"
        | "downstream_service_unavailable" => (fault, false),
        _ if status >= 500 => (fault, false),
        _ => (ErrorName::ProviderRejected, !is_schema_error(kind)),
    }
}

/// Errors of the input's form: fal's limits on values and Pydantic's own types.
fn is_schema_error(kind: &str) -> bool {
    const LIMITS: [&str; 16] = [
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "multiple_of",
        "sequence_too_short",
        "sequence_too_long",
        "one_of",
        "feature_not_supported",
        "missing",
        "value_error",
        "type_error",
        "enum",
        "literal_error",
        "extra_forbidden",
        "json_invalid",
    ];
    LIMITS.contains(&kind)
        || kind.starts_with("value_error.")
        || kind.starts_with("type_error.")
        || kind.starts_with("string_")
        || ["_type", "_parsing"].iter().any(|end| kind.ends_with(end))
}

/// The meaning of a status of the gateway where the body decides nothing. Exhausted balance is a 403 with a text: "User is
/// locked. Reason: Exhausted balance" (many independent reports).
fn gateway(reply: &ErrorReply) -> ErrorName {
    let text = reply.text.as_deref().unwrap_or_default().to_ascii_lowercase();
    match reply.status {
        401 => ErrorName::ProviderUnauthorized,
        402 => ErrorName::ProviderCredit,
        403 if ["exhausted balance", "is locked", "top up"].iter().any(|words| text.contains(words)) => {
            ErrorName::ProviderCredit
        }
        403 => ErrorName::ProviderUnauthorized,
        404 | 410 => ErrorName::ProviderNotFound,
        408 | 425 => ErrorName::ProviderUnavailable,
        429 => ErrorName::ProviderThrottled,
        500.. => ErrorName::ProviderUnavailable,
        _ => ErrorName::ProviderRejected,
    }
}

/// The error of a submission. Every 5xx is ambiguous, since nothing says whether the queue had taken the job, except a 503
/// by which the infrastructure names itself; so is a 499.
pub(super) fn submit_error(reply: &ErrorReply) -> SubmitError {
    let fault = reply.infrastructure() == Some(Infrastructure::Fault);
    let name = match (reply.status, reply.detail()) {
        (503, _) if fault => ErrorName::ProviderUnavailable,
        (499 | 500.., _) => return SubmitError::Unknown { message: reply.message() },
        (401 | 402 | 403 | 404 | 429, _) | (_, None) => gateway(reply),
        (status, Some(detail)) => model_error(&detail.kind, status, reply.retryable).0,
    };
    SubmitError::Rejected {
        failure: reply.failure(name),
        retry_after: reply.retry_after,
        billed: name == ErrorName::ProviderContentPolicy,
    }
}

/// Whether the body of a 200 is a refusal for too many concurrent requests (one report saw it under that status).
pub(super) fn throttled_in_disguise(status: u16, headers: &HeaderMap, body: &Value) -> Option<SubmitError> {
    let is_limit = body.get("type").and_then(Value::as_str) == Some("concurrent_requests_limit");
    is_limit.then(|| {
        let mut reply = ErrorReply::payload(status, body);
        reply.retry_after = retry_after(headers, SystemTime::now());
        SubmitError::Rejected {
            failure: reply.failure(ErrorName::ProviderThrottled),
            retry_after: reply.retry_after,
            billed: false,
        }
    })
}

/// The error of a question about a job: it says nothing about the job itself.
pub(super) fn call_error(reply: &ErrorReply) -> CheckError {
    if reply.ingress {
        return unavailable(reply.message());
    }
    CheckError { failure: reply.failure(gateway(reply)), retry_after: reply.retry_after }
}

/// The report of a job that did not succeed, or `None` if the answer is the gateway's and not the job's.
pub(super) fn job_error(reply: &ErrorReply) -> Option<JobReport> {
    let failed = |name, billed| Some(JobReport::Failed { failure: reply.failure(name), billed });
    match (reply.infrastructure(), reply.detail()) {
        (Some(Infrastructure::Cancelled), _) => Some(JobReport::Cancelled { billed: false }),
        (Some(Infrastructure::BadRequest), _) => failed(ErrorName::ProviderRejected, false),
        (Some(Infrastructure::Fault), _) if reply.user_deadline || reply.retryable == Some(false) => {
            failed(ErrorName::ProviderFailed, false)
        }
        (Some(Infrastructure::Fault), _) => failed(ErrorName::ProviderUnavailable, false),
        (None, Some(detail)) => {
            let (name, billed) = model_error(&detail.kind, reply.status, reply.retryable);
            failed(name, billed)
        }
        (None, None) => match reply.status {
            499 => Some(JobReport::Cancelled { billed: false }),
            // Not of the request: the queue itself failed, and the result may well be there.
            500.. if reply.ingress || !reply.of_request => None,
            500.. if reply.retryable == Some(false) => failed(ErrorName::ProviderFailed, false),
            500.. => failed(ErrorName::ProviderUnavailable, false),
            408 | 429 => failed(ErrorName::ProviderUnavailable, false),
            // The job ended, and its result is no longer there.
            404 | 410 => failed(ErrorName::ProviderNotFound, true),
            400..500 if reply.text.is_some() || reply.of_request => {
                failed(ErrorName::ProviderRejected, reply.status == 422)
            }
            _ => None,
        },
    }
}

/// The end of a job by its status alone: `error` and `error_type` beside `COMPLETED`.
pub(super) fn status_error(error: Option<&str>, error_type: Option<&str>) -> Option<JobReport> {
    let reply = ErrorReply {
        status: error.and_then(status_in).unwrap_or(500),
        text: error.map(clean),
        error_type: error_type.map(word),
        of_request: true,
        ..ErrorReply::default()
    };
    job_error(&reply)
}

/// Whether an `error_type` is one that decides by itself.
pub(super) fn is_infrastructure(error_type: &str) -> bool {
    Infrastructure::parse(error_type).is_some()
}

/// The HTTP status in "Invalid status code: 422" (fal docs, webhooks).
pub(super) fn status_in(text: &str) -> Option<u16> {
    let digits = text.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|status| (400..600).contains(status))
}

fn is_true(text: &str) -> bool {
    ["true", "1", "yes"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
