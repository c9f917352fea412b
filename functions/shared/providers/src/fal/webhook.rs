//! Verifies and reads a webhook. fal signs four things: its request id, the account, the time and the hash of the
//! body. It signs neither the URL nor the query, so a report for any other account would verify just as well: the account
//! has to be ours, and the attempt's token in the URL is for the ledger to compare.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::client::is_request_id;
use super::errors::{ErrorReply, job_error, status_in};
use super::jwks::Jwks;
use super::output;
use crate::provider::{JobReport, WebhookError, WebhookReport, WebhookRequest};

/// The most difference of the signed time from ours (fal docs, webhooks: 300 seconds).
const TOLERANCE_S: i64 = 300;

/// The signed headers (fal docs, webhooks).
struct Signed<'a> {
    request_id: &'a str,
    user_id: &'a str,
    timestamp: &'a str,
    signature: [u8; 64],
}

/// Verifies and reads. What is cheap comes first: keys are fetched only for what could be fal's.
pub(super) async fn read(
    http: &reqwest::Client,
    jwks: &Jwks,
    our_user_id: &str,
    request: &WebhookRequest,
) -> Result<WebhookReport, WebhookError> {
    let signed = Signed::read(&request.headers)?;
    if our_user_id.is_empty() || signed.user_id != our_user_id {
        return Err(WebhookError::NotOurs);
    }
    let seconds: i64 = signed.timestamp.parse().map_err(|_| WebhookError::Unsigned)?;
    let off = request.now_ms.div_euclid(1000).saturating_sub(seconds);
    if !(-TOLERANCE_S..=TOLERANCE_S).contains(&off) {
        return Err(WebhookError::Stale);
    }
    let message = signed.message(&request.body);
    let keys = jwks.current(http, request.now_ms).await.ok_or(WebhookError::KeysUnavailable)?;
    if !keys.verify(&message, &signed.signature) {
        match jwks.newer(http, &keys, request.now_ms).await {
            Ok(Some(newer)) if newer.verify(&message, &signed.signature) => {}
            Ok(_) => return Err(WebhookError::BadSignature),
            Err(()) => return Err(WebhookError::KeysUnavailable),
        }
    }
    parse(&request.body)
}

impl<'a> Signed<'a> {
    fn read(headers: &'a [(String, String)]) -> Result<Self, WebhookError> {
        // Exactly one of each: of two, one could be read here and the other have been signed.
        let one = |name: &str| {
            let mut values =
                headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            match (values.next(), values.next()) {
                // A line break within a value would move the borders of the signed message.
                (Some(value), None) if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()) => {
                    Ok(value.as_str())
                }
                _ => Err(WebhookError::Unsigned),
            }
        };
        let signature = hex::decode(one("x-fal-webhook-signature")?).map_err(|_| WebhookError::Unsigned)?;
        let timestamp = one("x-fal-webhook-timestamp")?;
        if !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WebhookError::Unsigned);
        }
        Ok(Signed {
            request_id: one("x-fal-webhook-request-id")?,
            user_id: one("x-fal-webhook-user-id")?,
            timestamp,
            signature: signature.try_into().map_err(|_| WebhookError::Unsigned)?,
        })
    }

    /// `request_id \n user_id \n timestamp \n hex(sha256(body))` (fal docs, webhooks).
    fn message(&self, body: &[u8]) -> Vec<u8> {
        let hash = hex::encode(Sha256::digest(body));
        [self.request_id, self.user_id, self.timestamp, &hash].join("\n").into_bytes()
    }
}

/// The report in a verified body.
fn parse(body: &[u8]) -> Result<WebhookReport, WebhookError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| WebhookError::Malformed)?;
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let request_id = text("request_id").filter(|id| is_request_id(id)).ok_or(WebhookError::Malformed)?;
    let payload = body.get("payload").filter(|payload| !payload.is_null());
    let report = match (text("status"), payload) {
        (Some("OK" | "ERROR"), _) if text("payload_error").is_some() => JobReport::NotIncluded,
        (Some("OK"), Some(payload)) => output::report(payload, None, None),
        (Some("ERROR"), Some(payload)) => failed(text("error"), payload),
        (Some("OK" | "ERROR"), None) => JobReport::NotIncluded,
        _ => return Err(WebhookError::Malformed),
    };
    Ok(WebhookReport {
        request_id: request_id.to_owned(),
        gateway_request_id: text("gateway_request_id")
            .filter(|id| is_request_id(id) && *id != request_id)
            .map(str::to_owned),
        report,
    })
}

/// The status stands only in `error` ("Invalid status code: 422"). A payload that does not say what went wrong is left to
/// the result, where the status and the headers are.
fn failed(error: Option<&str>, payload: &Value) -> JobReport {
    let status = error.and_then(status_in);
    let reply = ErrorReply::payload(status.unwrap_or(500), payload);
    if status.is_none() && !reply.names_job_error() {
        return JobReport::NotIncluded;
    }
    job_error(&reply).unwrap_or(JobReport::NotIncluded)
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
