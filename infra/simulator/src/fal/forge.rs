//! Webhooks with something forged about them, for tests of a receiver: sent again on demand, or as a fault beside the
//! genuine one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model_errors;
use super::webhook::{self, Delivery, FIRST_TIMEOUT};
use crate::clock::now_ms;
use crate::world::World;

/// How old the timestamp of a stale webhook is; fal's tolerance is 300 s.
const STALE_SECONDS: i64 = 600;

/// The account of the forger.
const SOMEBODY_ELSE: &str = "simulated-user-somebody-else";

/// What is forged in a webhook.
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

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resent {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Why a webhook could not be sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResendError {
    /// No request has this id.
    #[error("no request has the id {0}")]
    Unknown(String),
    /// The request has not ended, so there is nothing to tell.
    #[error("request {0} has not ended")]
    NotEnded(String),
    /// The request was submitted without `fal_webhook`.
    #[error("request {0} has no webhook")]
    NoWebhook(String),
    /// The address of the webhook is none.
    #[error("the webhook address {0} cannot be read")]
    Address(String),
    /// The receiver gave no answer.
    #[error("the receiver gave no answer: {0}")]
    NoAnswer(String),
}

/// Sends the webhook of a request once more, forged if asked for, and gives the receiver's answer.
pub(crate) async fn resend(world: &Arc<World>, id: &str, mutation: Option<Mutation>) -> Result<Resent, ResendError> {
    let request = world.requests.get(id).ok_or_else(|| ResendError::Unknown(id.to_owned()))?;
    let address = request.job.webhook.clone().ok_or_else(|| ResendError::NoWebhook(id.to_owned()))?;
    let body = webhook::body(world, &request).await.ok_or_else(|| ResendError::NotEnded(id.to_owned()))?;
    let genuine = Delivery::genuine(world, id, &address, body);
    let delivery = match mutation {
        None => genuine,
        Some(mutation) => forge(world, genuine, mutation).ok_or(ResendError::Address(address))?,
    };
    let no_answer = |error: reqwest::Error| ResendError::NoAnswer(error.to_string());
    let answer = webhook::post(world, id, delivery, FIRST_TIMEOUT).await.map_err(no_answer)?;
    let status = answer.status().as_u16();
    Ok(Resent { status, body: answer.text().await.map_err(no_answer)? })
}

/// Sends a forged webhook once and notes the answer. Where the forger writes the body himself, it tells a lie that shows
/// if it is believed: that the request was refused.
pub(super) async fn attack(world: &Arc<World>, id: &str, mutation: Mutation) {
    let Some(request) = world.requests.get(id) else { return };
    let (Some(address), Some(body)) = (&request.job.webhook, webhook::body(world, &request).await) else { return };
    let body = match mutation {
        Mutation::Signature | Mutation::UserId => lie(id),
        Mutation::Stale | Mutation::Token | Mutation::Request => body,
    };
    let Some(delivery) = forge(world, Delivery::genuine(world, id, address, body), mutation) else { return };
    let answer = delivery.send(world, FIRST_TIMEOUT).await;
    let status = answer.ok().map(|answer| answer.status());
    world.count(|counters| {
        counters.webhooks_forged += 1;
        counters.webhooks_forged_acked += u64::from(status.is_some_and(|status| status.is_success()));
    });
    if let Some(status) = status {
        world.requests.forged(id, status.as_u16());
    }
}

fn lie(id: &str) -> Vec<u8> {
    let payload = model_errors::body("content_policy_violation", &json!({}));
    let body = json!({ "request_id": id, "gateway_request_id": id, "status": "ERROR",
        "error": "Invalid status code: 422", "payload": payload });
    body.to_string().into_bytes()
}

/// Changes one thing about a genuine delivery. `None` where its address or body cannot be read.
fn forge(world: &World, genuine: Delivery, mutation: Mutation) -> Option<Delivery> {
    let now = now_ms() / 1000;
    let Delivery { address, id, body, .. } = &genuine;
    let own = world.identity.user_id();
    match mutation {
        Mutation::Signature => {
            let mut forged = genuine;
            *forged.signature.first_mut()? ^= 1;
            Some(forged)
        }
        Mutation::UserId => Some(Delivery::new(world, id, SOMEBODY_ELSE, now, address, body.clone())),
        Mutation::Stale => Some(Delivery::new(world, id, own, now - STALE_SECONDS, address, body.clone())),
        Mutation::Token => Some(Delivery::new(world, id, own, now, &other_token(address)?, body.clone())),
        Mutation::Request => {
            let nobody = world.chance.uuid();
            let mut told: Value = serde_json::from_slice(body).ok()?;
            told["request_id"] = json!(nobody);
            told["gateway_request_id"] = json!(nobody);
            Some(Delivery::new(world, &nobody, own, now, address, told.to_string().into_bytes()))
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
    fn another_token_keeps_length_and_query() {
        assert_eq!(other_token("http://h/hooks/fal/abc?x=1").unwrap(), "http://h/hooks/fal/bbc?x=1");
        assert_eq!(other_token("http://h/hooks/9f").unwrap(), "http://h/hooks/af");
        assert!(other_token("http://h/").is_none());
    }
}
