//! Webhooks as fal sends them: the body, the Ed25519 signature over request id, user id, timestamp and body hash, and
//! delivery with repeats. Also the deliberate second delivery with something forged, for tests of a receiver.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::requests::{Job, Request};
use super::work;
use crate::clock::now_ms;
use crate::world::{WebhookMode, World};

/// Deliveries tried before a webhook is given up.
const TRIES: u32 = 10;
const FIRST_TIMEOUT: Duration = Duration::from_secs(15);
const LATER_TIMEOUT: Duration = Duration::from_secs(120);
/// The wait before the second try, in seconds at scale 1. It doubles up to the longest.
const BACK_OFF: f64 = 1.0;
const LONGEST_BACK_OFF: f64 = 60.0;
/// However fast the simulation runs, a receiver gets this long to recover.
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(50);
/// How old the timestamp of a stale webhook is; fal's tolerance is 300 s.
const STALE_SECONDS: i64 = 600;

/// What is forged in a webhook that is sent again.
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

/// Sends the webhook of a request that has just ended, as the mode says.
pub(crate) fn dispatch(world: &Arc<World>, job: &Arc<Job>) {
    if job.webhook.is_none() {
        return;
    }
    match world.webhook_mode() {
        WebhookMode::Normal => send(world, job.id.clone()),
        WebhookMode::Twice => {
            send(world, job.id.clone());
            send(world, job.id.clone());
        }
        WebhookMode::Lost => world.count(|counters| counters.webhooks_lost += 1),
        WebhookMode::Held => world.hold(job.id.clone()),
    }
}

/// Sends every webhook that was held back and gives their number.
pub(crate) fn release(world: &Arc<World>) -> usize {
    let held = world.take_held();
    let number = held.len();
    for id in held {
        send(world, id);
    }
    number
}

/// Delivers in the background, again and again until it is acknowledged.
fn send(world: &Arc<World>, id: String) {
    let inner = world.clone();
    world.spawn(async move {
        let world = inner;
        let Some(request) = world.requests.get(&id) else {
            return;
        };
        let Some(address) = request.job.webhook.clone() else {
            return;
        };
        let Some(body) = body(&world, &request).await else {
            return;
        };
        for attempt in 0..TRIES {
            if attempt > 0 {
                let seconds = (BACK_OFF * 2f64.powi(attempt as i32 - 1)).min(LONGEST_BACK_OFF) * world.scale();
                tokio::time::sleep(Duration::from_secs_f64(seconds).max(SHORTEST_BACK_OFF)).await;
            }
            let timeout = if attempt == 0 { FIRST_TIMEOUT } else { LATER_TIMEOUT };
            let signed = Signed::new(&world, &id, world.identity.user_id(), now_ms() / 1000, &body);
            match post(&world, &address, &id, signed, body.clone(), timeout).await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) if answer.status().is_redirection() => break,
                Ok(answer) => tracing::debug!(request_id = id, status = answer.status().as_u16(), "webhook refused"),
                Err(error) => {
                    tracing::debug!(request_id = id, error = %error, "webhook not delivered")
                }
            }
        }
        world.count(|counters| counters.webhooks_failed += 1);
        tracing::warn!(request_id = id, address, "webhook given up");
    });
}

/// Sends the webhook of a request once more, forged if asked for, and gives the receiver's answer.
pub(crate) async fn resend(world: &Arc<World>, id: &str, mutation: Option<Mutation>) -> Result<Resent, ResendError> {
    let request = world.requests.get(id).ok_or_else(|| ResendError::Unknown(id.to_owned()))?;
    let mut address = request.job.webhook.clone().ok_or_else(|| ResendError::NoWebhook(id.to_owned()))?;
    let body = body(world, &request).await.ok_or_else(|| ResendError::NotEnded(id.to_owned()))?;
    let now = now_ms() / 1000;
    let own = world.identity.user_id();
    let signed = match mutation {
        None => Signed::new(world, id, own, now, &body),
        Some(Mutation::Signature) => {
            let mut signed = Signed::new(world, id, own, now, &body);
            if let Some(first) = signed.signature.first_mut() {
                *first ^= 1;
            }
            signed
        }
        Some(Mutation::UserId) => Signed::new(world, id, "simulated-user-somebody-else", now, &body),
        Some(Mutation::Stale) => Signed::new(world, id, own, now - STALE_SECONDS, &body),
        Some(Mutation::Token) => {
            address = other_token(&address).ok_or_else(|| ResendError::Address(address.clone()))?;
            Signed::new(world, id, own, now, &body)
        }
    };
    let no_answer = |error: reqwest::Error| ResendError::NoAnswer(error.to_string());
    let answer = post(world, &address, id, signed, body, FIRST_TIMEOUT).await.map_err(no_answer)?;
    let status = answer.status().as_u16();
    Ok(Resent { status, body: answer.text().await.map_err(no_answer)? })
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

/// The body of the webhook of a request that has ended.
async fn body(world: &Arc<World>, request: &Request) -> Option<Vec<u8>> {
    let status = request.end.as_ref()?.outcome.status();
    let payload = work::result(world, request).await?;
    let id = &request.job.id;
    let (word, error) = match status {
        200 => ("OK", Value::Null),
        _ => ("ERROR", json!(format!("Invalid status code: {status}"))),
    };
    let body =
        json!({ "request_id": id, "gateway_request_id": id, "status": word, "error": error, "payload": payload });
    serde_json::to_vec(&body).ok()
}

/// The signature of a delivery and what it is over.
struct Signed {
    user_id: String,
    timestamp: i64,
    signature: Vec<u8>,
}

impl Signed {
    fn new(world: &World, id: &str, user_id: &str, timestamp: i64, body: &[u8]) -> Self {
        let message = format!("{id}\n{user_id}\n{timestamp}\n{}", hex::encode(Sha256::digest(body)));
        Self { user_id: user_id.to_owned(), timestamp, signature: world.identity.sign(message.as_bytes()) }
    }
}

async fn post(
    world: &World,
    address: &str,
    id: &str,
    signed: Signed,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<reqwest::Response, reqwest::Error> {
    world.count(|counters| counters.webhooks_sent += 1);
    let sent = world
        .client
        .post(address)
        .timeout(timeout)
        .header("content-type", "application/json")
        .header("x-fal-webhook-request-id", id)
        .header("x-fal-webhook-user-id", signed.user_id)
        .header("x-fal-webhook-timestamp", signed.timestamp.to_string())
        .header("x-fal-webhook-signature", hex::encode(signed.signature))
        .body(body)
        .send()
        .await;
    let status = sent.as_ref().ok().map(|answer| answer.status());
    if status.as_ref().is_some_and(StatusCode::is_success) {
        world.count(|counters| counters.webhooks_acked += 1);
    }
    world.requests.delivered(id, status.map(|status| status.as_u16()));
    sent
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
