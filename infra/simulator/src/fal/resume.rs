//! Resumption of the requests of former sessions: unfinished ones run again and fetch their inputs again, completed ones
//! are drawn from the copies of their inputs.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

use super::journal::{StoredEnd, StoredRequests};
use super::output::Plan;
use super::request_store::{EndReason, Job};
use super::{endpoint, work};
use crate::state::State;

/// Adds the requests to the state. Nothing is counted, as the counters survive the restart themselves.
pub(crate) fn resume(state: &Arc<State>, stored: StoredRequests) {
    for (accepted, end) in stored.0 {
        let Some(endpoint) = endpoint::find(&accepted.endpoint) else { continue };
        let Value::Object(input) = &accepted.input else { continue };
        let plan = Plan::new(endpoint, input, &state.random);
        let (job, ticket) = state.requests.add(&state.concurrency, |sequence, ticket| Job {
            sequence,
            id: accepted.request_id,
            endpoint,
            plan,
            input: accepted.input,
            webhook: accepted.webhook,
            keeps_payloads: accepted.keeps_payloads,
            ticket,
            sent_ms: accepted.sent_ms,
            fault: accepted.fault,
            cancelled: Notify::new(),
        });
        match end.and_then(|end| reason(end, &job)) {
            Some(reason) => drop(state.requests.end(&job.id, reason)),
            None => work::begin(state, job, ticket, None),
        }
    }
}

/// The end of a job; `None` if it has an output that the present params do not allow.
fn reason(end: StoredEnd, job: &Job) -> Option<EndReason> {
    Some(match end {
        StoredEnd::Output { inputs, media_url } => {
            let plan = job.plan.as_ref().ok()?;
            EndReason::Output(Arc::new(work::output(plan, inputs, job.fault.as_ref(), media_url)))
        }
        StoredEnd::ModelError { status, body, is_retryable } => EndReason::ModelError { status, body, is_retryable },
        StoredEnd::PlatformError(error) => EndReason::PlatformError(error),
    })
}
