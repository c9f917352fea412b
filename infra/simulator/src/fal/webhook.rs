//! The dispatch of webhooks: deliveries with retries, in the way that the mode or a fault says.

use std::sync::Arc;
use std::time::Duration;

use super::forged_webhook::{Mutation, attack};
use super::request_store::Job;
use super::webhook_delivery::{self, Delivery, FIRST_TIMEOUT};
use crate::faults::Fault;
use crate::state::{State, WebhookMode, lock};

/// The number of delivery attempts.
const ATTEMPTS: u32 = 10;
/// The timeout of a retry.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
/// The wait before the first retry, in seconds at scale 1. It doubles up to the longest.
const BACK_OFF: f64 = 1.0;
const LONGEST_BACK_OFF: f64 = 60.0;
/// The wait before a retry at any scale.
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(50);

/// Sends the webhook of a request that has just ended, in the way that a fault or else the mode says.
pub(super) fn dispatch(state: &Arc<State>, job: &Arc<Job>) {
    if job.webhook.is_none() {
        return;
    }
    if let Some(fault) = state.strike_job(job, is_of_stage) {
        dispatch_with_fault(state, job, fault);
        return;
    }
    let mode = *lock(&state.webhook_mode);
    match mode {
        WebhookMode::Normal => send(state, job.id.clone()),
        WebhookMode::Twice => (0..2).for_each(|_| send(state, job.id.clone())),
        WebhookMode::Lost => state.count(|counters| counters.webhooks_lost += 1),
        WebhookMode::Held => lock(&state.held_webhooks).push(job.id.clone()),
    }
}

fn is_of_stage(fault: &Fault) -> bool {
    fault.name().starts_with("webhook_") && !matches!(fault, Fault::WebhookBeforeReply { .. })
}

fn dispatch_with_fault(state: &Arc<State>, job: &Arc<Job>, fault: Fault) {
    let id = job.id.clone();
    let (mutation, is_instead) = match fault {
        Fault::WebhookLost => return state.count(|counters| counters.webhooks_lost += 1),
        Fault::WebhookTwice => return (0..2).for_each(|_| send(state, id.clone())),
        Fault::WebhookBurst { count } => return (0..count).for_each(|_| send(state, id.clone())),
        Fault::WebhookLate { seconds } => {
            let inner = state.clone();
            return state.shutdown.spawn(async move {
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                send(&inner, id);
            });
        }
        Fault::WebhookReordered { seconds } => return reorder(state, job, seconds),
        Fault::WebhookForgedSignature { instead } => (Mutation::Signature, instead),
        Fault::WebhookWrongUser { instead } => (Mutation::UserId, instead),
        Fault::WebhookStale { instead } => (Mutation::Stale, instead),
        Fault::WebhookUnknownRequest { instead } => (Mutation::Request, instead),
        Fault::WebhookWrongToken { instead } => (Mutation::Token, instead),
        _ => return send(state, id),
    };
    let inner = state.clone();
    state.shutdown.spawn(async move {
        attack(&inner, &id, mutation).await;
        if !is_instead {
            send(&inner, id);
        }
    });
}

/// Holds a webhook until another one of its endpoint is delivered, or until the time is over.
fn reorder(state: &Arc<State>, job: &Arc<Job>, seconds: Option<f64>) {
    lock(&state.reordered_webhooks).push((&job.endpoint.id, job.id.clone()));
    let Some(seconds) = seconds else { return };
    let (inner, own) = (state.clone(), job.id.clone());
    state.shutdown.spawn(async move {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        for id in inner.take_reordered(|_, id| id == own) {
            send(&inner, id);
        }
    });
}

/// Sends every webhook that is held and gives their number.
pub(crate) fn release(state: &Arc<State>) -> usize {
    let mut held = std::mem::take(&mut *lock(&state.held_webhooks));
    held.extend(state.take_reordered(|_, _| true));
    let number = held.len();
    for id in held {
        send(state, id);
    }
    number
}

/// Waits until a delivery of the webhook is answered, or until the time is over.
pub(super) async fn wait_for_delivery(state: &Arc<State>, id: &str, at_most: Duration) {
    let answered = async {
        loop {
            let next = state.delivery.notified();
            // Enabled before the check, so that a notification between check and wait is not missed.
            tokio::pin!(next);
            next.as_mut().enable();
            if state.requests.get(id).is_none_or(|request| request.webhook.deliveries > 0) {
                return;
            }
            next.await;
        }
    };
    tokio::select! {
        () = answered => {}
        () = state.shutdown.sleep(at_most) => {}
    }
}

/// Delivers in the background until the webhook is acknowledged or given up.
fn send(state: &Arc<State>, id: String) {
    let inner = state.clone();
    state.shutdown.spawn(async move {
        deliver(&inner, id).await;
    });
}

/// Delivers with retries; `None` if there is nothing to deliver.
async fn deliver(state: &Arc<State>, id: String) -> Option<()> {
    let request = state.requests.get(&id)?;
    let address = request.job.webhook.clone()?;
    let body = webhook_delivery::body(state, &request).await?;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            let seconds = (BACK_OFF * 2f64.powi(attempt as i32 - 1)).min(LONGEST_BACK_OFF) * state.scale();
            tokio::time::sleep(Duration::from_secs_f64(seconds).max(SHORTEST_BACK_OFF)).await;
        }
        let timeout = if attempt == 0 { FIRST_TIMEOUT } else { RETRY_TIMEOUT };
        let delivery = Delivery::genuine(state, &id, &address, body.clone());
        match delivery.send_counted(state, &id, timeout).await {
            Ok(answer) if answer.status().is_success() => {
                let endpoint = &request.job.endpoint.id;
                for waiting in state.take_reordered(|of, other| of == endpoint && other != id) {
                    send(state, waiting);
                }
                return Some(());
            }
            Ok(answer) if answer.status().is_redirection() => break,
            Ok(answer) => tracing::debug!(request_id = id, status = answer.status().as_u16(), "webhook refused"),
            Err(error) => tracing::debug!(request_id = id, error = %error, "webhook not delivered"),
        }
    }
    state.count(|counters| counters.webhooks_failed += 1);
    tracing::warn!(request_id = id, address, "webhook given up");
    Some(())
}
