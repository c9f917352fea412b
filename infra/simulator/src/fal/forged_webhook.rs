//! Forged webhooks, for tests of a receiver: sent on demand, or as a fault beside the genuine one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model_error;
use super::webhook_delivery::{self, Delivery, FIRST_TIMEOUT};
use crate::clock::now_ms;
use crate::state::State;

/// The age of the timestamp of a stale webhook; fal's tolerance is 300 s.
const STALE_SECONDS: i64 = 600;

/// The account of the forger.
const OTHER_USER: &str = "simulated-user-other";

/// The forged part of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// The signature does not belong to the message.
    Signature,
    /// Validly signed, but for another account.
    UserId,
    /// Validly signed ten minutes ago.
    Stale,
    /// Validly signed, but to an address whose last path segment differs.
    Token,
    /// Validly signed, but for a request that does not exist.
    Request,
}

/// The answer of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resent {
    /// The HTTP status.
    pub status: u16,
    pub body: String,
}

/// The reason that a webhook could not be resent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResendError {
    #[error("no request has the id {0}")]
    Unknown(String),
    #[error("request {0} has not ended")]
    NotEnded(String),
    #[error("request {0} has no webhook")]
    NoWebhook(String),
    #[error("the webhook address {0} cannot be read")]
    Address(String),
    #[error("the receiver gave no answer: {0}")]
    NoAnswer(String),
}

/// Sends the webhook of a completed request once more, forged if a mutation is given.
pub(crate) async fn resend(state: &Arc<State>, id: &str, mutation: Option<Mutation>) -> Result<Resent, ResendError> {
    let request = state.requests.get(id).ok_or_else(|| ResendError::Unknown(id.to_owned()))?;
    let address = request.job.webhook.clone().ok_or_else(|| ResendError::NoWebhook(id.to_owned()))?;
    let body = webhook_delivery::body(state, &request).await.ok_or_else(|| ResendError::NotEnded(id.to_owned()))?;
    let genuine = Delivery::genuine(state, id, &address, body);
    let delivery = match mutation {
        None => genuine,
        Some(mutation) => forge(state, genuine, mutation).ok_or(ResendError::Address(address))?,
    };
    let no_answer = |error: reqwest::Error| ResendError::NoAnswer(error.to_string());
    let answer = delivery.send_counted(state, id, FIRST_TIMEOUT).await.map_err(no_answer)?;
    let status = answer.status().as_u16();
    Ok(Resent { status, body: answer.text().await.map_err(no_answer)? })
}

/// Sends a forged webhook once and records the answer. A forger who writes the body claims that the request was refused,
/// which shows if the receiver believes it.
pub(super) async fn attack(state: &Arc<State>, id: &str, mutation: Mutation) {
    let Some(request) = state.requests.get(id) else { return };
    let (Some(address), Some(body)) = (&request.job.webhook, webhook_delivery::body(state, &request).await) else {
        return;
    };
    let body = match mutation {
        Mutation::Signature | Mutation::UserId => refused_body(id),
        Mutation::Stale | Mutation::Token | Mutation::Request => body,
    };
    let Some(delivery) = forge(state, Delivery::genuine(state, id, address, body), mutation) else { return };
    let answer = delivery.send(state, FIRST_TIMEOUT).await;
    let status = answer.ok().map(|answer| answer.status());
    state.count(|counters| {
        counters.webhooks_forged += 1;
        counters.webhooks_forged_acked += u64::from(status.is_some_and(|status| status.is_success()));
    });
    if let Some(status) = status {
        state.requests.forged(id, status.as_u16());
    }
}

fn refused_body(id: &str) -> Vec<u8> {
    let payload = model_error::body("content_policy_violation", &json!({}));
    let body = json!({ "request_id": id, "gateway_request_id": id, "status": "ERROR",
        "error": "Invalid status code: 422", "payload": payload });
    body.to_string().into_bytes()
}

/// Forges one part of a genuine delivery. `None` if its address or body cannot be read.
fn forge(state: &State, genuine: Delivery, mutation: Mutation) -> Option<Delivery> {
    let now = now_ms() / 1000;
    let Delivery { address, id, body, .. } = &genuine;
    let own = state.identity.user_id();
    match mutation {
        Mutation::Signature => {
            let mut forged = genuine;
            *forged.signature.first_mut()? ^= 1;
            Some(forged)
        }
        Mutation::UserId => Some(Delivery::new(state, id, OTHER_USER, now, address, body.clone())),
        Mutation::Stale => Some(Delivery::new(state, id, own, now - STALE_SECONDS, address, body.clone())),
        Mutation::Token => Some(Delivery::new(state, id, own, now, &other_token(address)?, body.clone())),
        Mutation::Request => {
            let other = state.random.uuid();
            let mut message: Value = serde_json::from_slice(body).ok()?;
            message["request_id"] = json!(other);
            message["gateway_request_id"] = json!(other);
            Some(Delivery::new(state, &other, own, now, address, message.to_string().into_bytes()))
        }
    }
}

/// Changes the first character of the last path segment, so that length and alphabet stay.
fn other_token(address: &str) -> Option<String> {
    let mut url = url::Url::parse(address).ok()?;
    let token = url.path_segments()?.next_back()?.to_owned();
    let mut characters = token.chars();
    let first = if characters.next()? == 'a' { 'b' } else { 'a' };
    let forged: String = std::iter::once(first).chain(characters).collect();
    url.path_segments_mut().ok()?.pop().push(&forged);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_keeps_length_and_query() {
        assert_eq!(other_token("http://h/hooks/fal/abc?x=1").unwrap(), "http://h/hooks/fal/bbc?x=1");
        assert_eq!(other_token("http://h/hooks/9f").unwrap(), "http://h/hooks/af");
        assert!(other_token("http://h/").is_none());
    }
}
