//! One delivery of a webhook: its body, the Ed25519 signature over request id, user id, timestamp and body hash, and the
//! request that carries them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Error, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::request_store::{EndReason, Request};
use super::result;
use crate::clock::now_ms;
use crate::faults::Fault;
use crate::state::State;

/// The timeout of a first delivery.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(15);

/// The body of the webhook of a completed request; `None` before it has ended.
pub(super) async fn body(state: &Arc<State>, request: &Request) -> Option<Vec<u8>> {
    let reason = &request.end.as_ref()?.reason;
    let id = &request.job.id;
    let mut body = json!({ "request_id": id, "gateway_request_id": id, "status": "OK", "error": null });
    if let (EndReason::Output(_), Some(Fault::PayloadError)) = (reason, &request.job.fault) {
        body["payload"] = Value::Null;
        body["payload_error"] = json!("Response payload is not JSON serializable.");
    } else {
        body["payload"] = result::body(state, request).await?;
        let status = reason.status();
        if status != 200 {
            body["status"] = json!("ERROR");
            body["error"] = json!(format!("Invalid status code: {status}"));
        }
    }
    serde_json::to_vec(&body).ok()
}

/// A signed message and its address.
pub(super) struct Delivery {
    pub(super) address: String,
    pub(super) id: String,
    user_id: String,
    timestamp: i64,
    pub(super) signature: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Delivery {
    pub(super) fn genuine(state: &State, id: &str, address: &str, body: Vec<u8>) -> Self {
        Self::new(state, id, state.identity.user_id(), now_ms() / 1000, address, body)
    }

    /// A message signed by the key of the simulator. `timestamp` is in seconds since the Unix epoch.
    pub(super) fn new(state: &State, id: &str, user_id: &str, timestamp: i64, address: &str, body: Vec<u8>) -> Self {
        let message = format!("{id}\n{user_id}\n{timestamp}\n{}", hex::encode(Sha256::digest(&body)));
        let signature = state.identity.sign(message.as_bytes());
        Self { address: address.to_owned(), id: id.to_owned(), user_id: user_id.to_owned(), timestamp, signature, body }
    }

    /// Sends it, without counting it.
    pub(super) async fn send(self, state: &State, timeout: Duration) -> Result<Response, Error> {
        let request = state.client.post(&self.address).timeout(timeout);
        let request = request.header("content-type", "application/json");
        let request = request.header("x-fal-webhook-request-id", self.id);
        let request = request.header("x-fal-webhook-user-id", self.user_id);
        let request = request.header("x-fal-webhook-timestamp", self.timestamp.to_string());
        let request = request.header("x-fal-webhook-signature", hex::encode(self.signature));
        request.body(self.body).send().await
    }

    /// Sends it, counts it, and records the answer with the request of the given id.
    pub(super) async fn send_counted(self, state: &State, id: &str, timeout: Duration) -> Result<Response, Error> {
        state.count(|counters| counters.webhooks_sent += 1);
        let sent = self.send(state, timeout).await;
        let status = sent.as_ref().ok().map(Response::status);
        if status.is_some_and(|status| status.is_success()) {
            state.count(|counters| counters.webhooks_acked += 1);
        }
        state.requests.delivered(id, status.map(|status| status.as_u16()));
        state.delivery.notify_waiters();
        sent
    }
}
