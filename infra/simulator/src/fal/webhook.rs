//! Webhooks as fal sends them: the body, the Ed25519 signature over request id, user id, timestamp and body hash, and
//! delivery with repeats, and what a fault makes of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::forge::{Mutation, attack};
use super::requests::{Job, Outcome, Request};
use super::{faults, work};
use crate::clock::now_ms;
use crate::faults::{WebhookFault, WorkFault};
use crate::world::{WebhookMode, World, lock};

/// Deliveries tried before a webhook is given up.
const TRIES: u32 = 10;
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(15);
const LATER_TIMEOUT: Duration = Duration::from_secs(120);
/// The wait before the second try, in seconds at scale 1. It doubles up to the longest.
const BACK_OFF: f64 = 1.0;
const LONGEST_BACK_OFF: f64 = 60.0;
/// However fast the simulation runs, a receiver gets this long to recover.
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(50);

/// Sends the webhook of a request that has just ended, as a fault or else the mode says.
pub(crate) fn dispatch(world: &Arc<World>, job: &Arc<Job>) {
    if job.webhook.is_none() {
        return;
    }
    if let Some(hit) = world.strike(job.endpoint.id, job.prompt(), faults::webhook) {
        world.requests.struck(&job.id, hit.name);
        go_wrong(world, job, hit.fault);
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

fn go_wrong(world: &Arc<World>, job: &Arc<Job>, fault: WebhookFault) {
    let id = job.id.clone();
    let (mutation, instead) = match fault {
        WebhookFault::Lost => return world.count(|counters| counters.webhooks_lost += 1),
        WebhookFault::Twice => return (0..2).for_each(|_| send(world, id.clone())),
        WebhookFault::Burst { count } => return (0..count).for_each(|_| send(world, id.clone())),
        WebhookFault::BeforeReply { .. } => return send(world, id),
        WebhookFault::Late { seconds } => {
            let inner = world.clone();
            return world.spawn(async move {
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                send(&inner, id);
            });
        }
        WebhookFault::Reordered { seconds } => return reorder(world, job, seconds),
        WebhookFault::ForgedSignature { instead } => (Mutation::Signature, instead),
        WebhookFault::WrongUser { instead } => (Mutation::UserId, instead),
        WebhookFault::Stale { instead } => (Mutation::Stale, instead),
        WebhookFault::UnknownRequest { instead } => (Mutation::Request, instead),
        WebhookFault::WrongToken { instead } => (Mutation::Token, instead),
    };
    let inner = world.clone();
    world.spawn(async move {
        attack(&inner, &id, mutation).await;
        if !instead {
            send(&inner, id);
        }
    });
}

/// Keeps a webhook back until another one of its endpoint has been delivered, though no longer than so long.
fn reorder(world: &Arc<World>, job: &Arc<Job>, seconds: Option<f64>) {
    lock(&world.reordered).push((job.endpoint.id, job.id.clone()));
    let Some(seconds) = seconds else { return };
    let (inner, own) = (world.clone(), job.id.clone());
    world.spawn(async move {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        for id in inner.take_reordered(|_, id| id == own) {
            send(&inner, id);
        }
    });
}

/// Sends every webhook that was held back and gives their number.
pub(crate) fn release(world: &Arc<World>) -> usize {
    let mut held = world.take_held();
    held.extend(world.take_reordered(|_, _| true));
    let number = held.len();
    for id in held {
        send(world, id);
    }
    number
}

/// Waits until a delivery of the webhook was answered, though no longer than so long.
pub(crate) async fn delivered(world: &Arc<World>, id: &str, at_most: Duration) {
    let answered = async {
        loop {
            let next = world.delivery.notified();
            // Whoever comes between the look and the wait is not missed.
            tokio::pin!(next);
            next.as_mut().enable();
            if world.requests.get(id).is_none_or(|request| request.webhook.deliveries > 0) {
                return;
            }
            next.await;
        }
    };
    tokio::select! {
        () = answered => {}
        () = world.pause(at_most) => {}
    }
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
            let delivery = Delivery::genuine(&world, &id, &address, body.clone());
            match post(&world, &id, delivery, timeout).await {
                Ok(answer) if answer.status().is_success() => {
                    let endpoint = request.job.endpoint.id;
                    for waiting in world.take_reordered(|of, other| of == endpoint && other != id) {
                        send(&world, waiting);
                    }
                    return;
                }
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

/// The body of the webhook of a request that has ended.
pub(super) async fn body(world: &Arc<World>, request: &Request) -> Option<Vec<u8>> {
    let outcome = &request.end.as_ref()?.outcome;
    let id = &request.job.id;
    let mut body = json!({ "request_id": id, "gateway_request_id": id, "status": "OK", "error": null });
    match (outcome, &request.job.fault) {
        (Outcome::Made(_), Some(WorkFault::PayloadError)) => {
            body["payload"] = Value::Null;
            body["payload_error"] = json!("Response payload is not JSON serializable.");
        }
        (outcome, _) => {
            body["payload"] = work::result(world, request).await?;
            let status = outcome.status();
            if status != 200 {
                body["status"] = json!("ERROR");
                body["error"] = json!(format!("Invalid status code: {status}"));
            }
        }
    }
    serde_json::to_vec(&body).ok()
}

/// One delivery: where it goes, what it says, and the signature over it.
pub(super) struct Delivery {
    pub(super) address: String,
    pub(super) id: String,
    user_id: String,
    timestamp: i64,
    pub(super) signature: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Delivery {
    pub(super) fn genuine(world: &World, id: &str, address: &str, body: Vec<u8>) -> Self {
        Self::new(world, id, world.identity.user_id(), now_ms() / 1000, address, body)
    }

    /// Signed by the key of the simulator, whatever it says.
    pub(super) fn new(world: &World, id: &str, user_id: &str, timestamp: i64, address: &str, body: Vec<u8>) -> Self {
        let message = format!("{id}\n{user_id}\n{timestamp}\n{}", hex::encode(Sha256::digest(&body)));
        let signature = world.identity.sign(message.as_bytes());
        Self { address: address.to_owned(), id: id.to_owned(), user_id: user_id.to_owned(), timestamp, signature, body }
    }

    pub(super) async fn send(self, world: &World, timeout: Duration) -> Result<reqwest::Response, reqwest::Error> {
        let request = world.client.post(&self.address).timeout(timeout);
        let request = request.header("content-type", "application/json");
        let request = request.header("x-fal-webhook-request-id", self.id);
        let request = request.header("x-fal-webhook-user-id", self.user_id);
        let request = request.header("x-fal-webhook-timestamp", self.timestamp.to_string());
        let request = request.header("x-fal-webhook-signature", hex::encode(self.signature));
        request.body(self.body).send().await
    }
}

/// Sends a delivery, counts it, and notes the answer on the request `id`.
pub(super) async fn post(
    world: &World,
    id: &str,
    delivery: Delivery,
    timeout: Duration,
) -> Result<reqwest::Response, reqwest::Error> {
    world.count(|counters| counters.webhooks_sent += 1);
    let sent = delivery.send(world, timeout).await;
    let status = sent.as_ref().ok().map(|answer| answer.status());
    if status.as_ref().is_some_and(StatusCode::is_success) {
        world.count(|counters| counters.webhooks_acked += 1);
    }
    world.requests.delivered(id, status.map(|status| status.as_u16()));
    world.delivery.notify_waiters();
    sent
}
