//! The meaning of Gemini's refusals. An error is `{"error": {code, message, status, details}}`, and the details decide where the
//! status does not: a wrong key is a 400, and a quota that comes back tomorrow is the same 429 as one that comes back in a
//! minute. Gemini keeps no job and bills only answers, so every error proves that nothing runs and nothing is paid.

use std::time::{Duration, SystemTime};

use fresco_pipeline::error::{ErrorName, Failure};
use serde_json::Value;

use crate::http::{Answer, bounded_pause, retry_after};
use crate::message::{clean, word};
use crate::provider::SubmitError;

/// An error answer, taken apart.
struct ErrorReply {
    code: u16,
    /// `INVALID_ARGUMENT` and the like.
    status: String,
    message: String,
    /// `google.rpc.ErrorInfo`: a stable word.
    reason: String,
    /// `google.rpc.QuotaFailure`: a quota of a day is used up.
    is_daily: bool,
    /// `google.rpc.RetryInfo`, or else the header.
    retry_after: Option<Duration>,
}

/// The error of a submission, and whether it is about the key.
pub(super) fn submit_error(answer: &Answer) -> (SubmitError, bool) {
    let reply = ErrorReply::read(answer);
    let name = reply.name();
    let hint = if name == ErrorName::ProviderCredit { None } else { reply.retry_after };
    let failure = Failure::new(name, reply.describe(name));
    (SubmitError::Rejected { failure, retry_after: hint, billed: false }, name == ErrorName::ProviderUnauthorized)
}

impl ErrorReply {
    /// A body that could not be read leaves what the status and the headers say.
    fn read(answer: &Answer) -> ErrorReply {
        let body: Value = serde_json::from_slice(answer.body.as_deref().unwrap_or_default()).unwrap_or_default();
        let text = |field: &str| body.pointer(&format!("/error/{field}")).and_then(Value::as_str).unwrap_or_default();
        let details = body.pointer("/error/details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let of = |kind: &'static str| {
            // `type.googleapis.com/google.rpc.…`.
            let is = move |detail: &&Value| {
                detail.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(kind))
            };
            details.iter().filter(is)
        };
        let reason = of("google.rpc.ErrorInfo").find_map(|info| info.get("reason")?.as_str()).map(word);
        let quotas =
            of("google.rpc.QuotaFailure").filter_map(|failure| failure.get("violations")?.as_array()).flatten();
        let is_daily =
            quotas.filter_map(|violation| violation.get("quotaId")?.as_str()).any(|quota| quota.contains("PerDay"));
        let delay = of("google.rpc.RetryInfo").find_map(|info| duration(info.get("retryDelay")?.as_str()?));
        ErrorReply {
            code: answer.status,
            status: word(text("status")),
            message: without_values(&clean(text("message"))),
            reason: reason.unwrap_or_default(),
            is_daily,
            retry_after: delay.or_else(|| retry_after(&answer.headers, SystemTime::now())),
        }
    }

    fn name(&self) -> ErrorName {
        let is_billing = || self.message.to_ascii_lowercase().contains("billing");
        match self.code {
            400 if self.reason == "API_KEY_INVALID" => ErrorName::ProviderUnauthorized,
            400 if self.status == "FAILED_PRECONDITION" && is_billing() => ErrorName::ProviderCredit,
            401 | 403 => ErrorName::ProviderUnauthorized,
            404 => ErrorName::ProviderNotFound,
            // No pause that is worth waiting for brings the quota back.
            429 if self.is_daily => ErrorName::ProviderCredit,
            429 => ErrorName::ProviderThrottled,
            // Google's client tries again after 408, 500, 502, 503 and 504 (`_api_client.py`); 499 is `CANCELLED`.
            408 | 499 | 500.. => ErrorName::ProviderUnavailable,
            _ => ErrorName::ProviderRejected,
        }
    }

    /// One line. What Google says of a refused key may hold the key itself, so of that only the reason's word is kept.
    fn describe(&self, name: ErrorName) -> String {
        let mut line = format!("Gemini answered {}", self.code);
        for part in [&self.status, &self.reason] {
            if !part.is_empty() {
                line = format!("{line} {part}");
            }
        }
        match (name, self.message.as_str()) {
            (ErrorName::ProviderUnauthorized, _) => line,
            _ if self.code == 429 && self.is_daily => format!("{line}: the quota of the day is used up"),
            (_, "") => line,
            (_, message) => format!("{line}: {message}"),
        }
    }
}

/// A message without what stands between double quotes, where Google repeats a value that it refused.
fn without_values(message: &str) -> String {
    let mut parts = message.split('"');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for (i, part) in parts.enumerate() {
        shown.push_str(if i % 2 == 0 { "<value>" } else { part });
    }
    shown
}

/// A protobuf duration as JSON writes it, `37s` or `0.5s`, in full seconds and bounded.
fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| bounded_pause(seconds.ceil() as u64))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;
    use crate::http::BodyError;

    fn answer(status: u16, body: String) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Ok(Bytes::from(body)) }
    }

    fn error(status: u16, word: &str, message: &str, details: Value) -> Answer {
        answer(
            status,
            json!({"error": {"code": status, "message": message, "status": word, "details": details}}).to_string(),
        )
    }

    fn read(answer: &Answer) -> (Failure, Option<u64>, bool) {
        match submit_error(answer) {
            (SubmitError::Rejected { failure, retry_after, billed: false }, is_about_key) => {
                (failure, retry_after.map(|pause| pause.as_secs()), is_about_key)
            }
            other => panic!("{other:?}"),
        }
    }

    fn info(reason: &str) -> Value {
        json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}])
    }

    fn quota(id: &str, delay: &str) -> Value {
        json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaMetric": "m", "quotaId": id}]},
            {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": "https://ai.google.dev"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ])
    }

    #[test]
    fn every_row_of_the_classification() {
        use ErrorName::*;
        let day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
        let minute = "GenerateContentInputTokensPerModelPerMinute-FreeTier";
        let billing = "Gemini API free tier is not available in your country. Please enable billing on your project.";
        let region = "User location is not supported for the API use.";
        for (answer, name, hint) in [
            (error(400, "INVALID_ARGUMENT", "API key not valid.", info("API_KEY_INVALID")), ProviderUnauthorized, None),
            (error(400, "INVALID_ARGUMENT", "API key expired.", info("API_KEY_INVALID")), ProviderUnauthorized, None),
            (error(400, "FAILED_PRECONDITION", billing, json!([])), ProviderCredit, None),
            (error(400, "FAILED_PRECONDITION", region, json!([])), ProviderRejected, None),
            (error(400, "INVALID_ARGUMENT", "Unable to process input image.", json!(null)), ProviderRejected, None),
            (error(400, "INVALID_ARGUMENT", "Billing.", json!([])), ProviderRejected, None),
            (answer(400, String::new()), ProviderRejected, None),
            (error(401, "UNAUTHENTICATED", "", json!([])), ProviderUnauthorized, None),
            (error(403, "PERMISSION_DENIED", "no", info("SERVICE_DISABLED")), ProviderUnauthorized, None),
            (error(404, "NOT_FOUND", "models/x is not found", json!([])), ProviderNotFound, None),
            (answer(408, String::new()), ProviderUnavailable, None),
            (answer(413, "<html>".to_owned()), ProviderRejected, None),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(minute, "37.2s")), ProviderThrottled, Some(38)),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(minute, "0s")), ProviderThrottled, Some(1)),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(minute, "86400s")), ProviderThrottled, Some(300)),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(minute, "-1s")), ProviderThrottled, None),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(minute, "soon")), ProviderThrottled, None),
            (error(429, "RESOURCE_EXHAUSTED", "quota", quota(day, "37s")), ProviderCredit, None),
            (answer(429, String::new()), ProviderThrottled, None),
            (error(499, "CANCELLED", "", json!([])), ProviderUnavailable, None),
            (error(500, "INTERNAL", "", json!([])), ProviderUnavailable, None),
            (answer(502, "<html>".to_owned()), ProviderUnavailable, None),
            (error(503, "UNAVAILABLE", "The model is overloaded.", json!([])), ProviderUnavailable, None),
            (error(504, "DEADLINE_EXCEEDED", "", json!([])), ProviderUnavailable, None),
            (answer(307, String::new()), ProviderRejected, None),
        ] {
            let (failure, seconds, is_about_key) = read(&answer);
            assert_eq!((failure.name, seconds), (name, hint), "{failure}");
            assert_eq!(is_about_key, name == ProviderUnauthorized);
        }
        let (failure, ..) = read(&error(429, "RESOURCE_EXHAUSTED", "quota", quota(day, "37s")));
        assert!(failure.message.contains("the quota of the day is used up"), "{failure}");
    }

    #[test]
    fn the_status_and_the_header_count_when_the_body_is_lost() {
        let mut lost = answer(429, String::new());
        lost.body = Err(BodyError::Broken("it broke off".to_owned()));
        lost.headers.insert(RETRY_AFTER, HeaderValue::from_static("12"));
        let (failure, seconds, _) = read(&lost);
        assert_eq!((failure.name, seconds), (ErrorName::ProviderThrottled, Some(12)));
        assert_eq!(failure.message, "Gemini answered 429");
    }

    #[test]
    fn messages_hold_neither_keys_nor_values_nor_addresses() {
        let suspended = "Permission denied: Consumer 'api_key:AIzaSecret' has been suspended.";
        let (failure, ..) = read(&error(403, "PERMISSION_DENIED", suspended, info("CONSUMER_SUSPENDED")));
        assert_eq!(failure.message, "Gemini answered 403 PERMISSION_DENIED CONSUMER_SUSPENDED");
        let value =
            "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), \"a secret fox\"\nSee https://x.y/?k=secret";
        let (failure, ..) = read(&error(400, "INVALID_ARGUMENT", value, json!([])));
        let expected = "Gemini answered 400 INVALID_ARGUMENT: Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), \
            <value> See <url>";
        assert_eq!(failure.message, expected);
        let (failure, ..) = read(&error(400, "INVALID_ARGUMENT", "bad \"secret", json!([])));
        assert!(failure.message.ends_with("bad <value>"), "{failure}");
    }
}
