//! The work on a request: it waits for its turn, fetches its inputs, takes its time, ends, and sends its webhook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::output::{Output, Plan, Spoilt};
use super::platform_error::PlatformError;
use super::request_store::{EndReason, Job};
use super::{fetch_inputs, model_error, webhook};
use crate::concurrency::Ticket;
use crate::faults::Fault;
use crate::input_cache::CachedInput;
use crate::state::State;

/// Starts the work in the background. `start_within` is the start deadline that the caller set.
pub(crate) fn begin(state: &Arc<State>, job: Arc<Job>, ticket: Ticket, start_within: Option<Duration>) {
    let (low, high) = job.endpoint.seconds;
    let latency = Duration::from_secs_f64(state.random.between(low, high) * state.scale());
    let inner = state.clone();
    state.shutdown.spawn(async move {
        let state = inner;
        let deadline = async {
            match start_within {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let turn = async {
            if job.fault == Some(Fault::NeverStarts) {
                drop(ticket);
                return std::future::pending().await;
            }
            ticket.wait().await
        };
        let pass = tokio::select! {
            biased;
            () = job.cancelled.notified() => return,
            pass = turn => pass,
            () = deadline => {
                end(&state, &job.id, EndReason::PlatformError(PlatformError::RequestTimeout));
                return;
            }
        };
        if !state.requests.start(&job.id) {
            return;
        }
        let reason = match &job.plan {
            // The application refuses before it works.
            Err(body) => EndReason::refusal(body.clone()),
            Ok(plan) => tokio::select! {
                biased;
                () = job.cancelled.notified() => return,
                reason = run(&state, &job, plan, latency) => reason,
            },
        };
        end(&state, &job.id, reason);
        // Held until the end is written, so that the records never show more in progress than the limit allows.
        drop(pass);
    });
}

/// Fetches the inputs and waits for the rest of the latency.
async fn run(state: &Arc<State>, job: &Job, plan: &Plan, latency: Duration) -> EndReason {
    let started = Instant::now();
    let inputs = match fetch_inputs::fetch_all(state, job).await {
        Ok(inputs) => inputs,
        Err(problems) => return EndReason::refusal(json!({ "detail": problems })),
    };
    let latency = match &job.fault {
        Some(Fault::NeverEnds) => return std::future::pending().await,
        Some(Fault::Slow { seconds }) => Duration::from_secs_f64(*seconds),
        _ => latency,
    };
    tokio::time::sleep(latency.saturating_sub(started.elapsed())).await;
    match &job.fault {
        Some(Fault::ModelError { r#type, status, retryable }) => {
            let status = status.or_else(|| model_error::status(r#type)).unwrap_or(500);
            let is_retryable = retryable.unwrap_or(status >= 500);
            EndReason::ModelError { status, body: model_error::body(r#type, &job.input), is_retryable }
        }
        Some(Fault::InfrastructureEnd { error_type }) => EndReason::PlatformError(*error_type),
        fault => {
            let media_url = match state.strike_job(job, |fault| matches!(fault, Fault::MediaUrl { .. })) {
                Some(Fault::MediaUrl { url }) => Some(url),
                _ => None,
            };
            EndReason::Output(Arc::new(output(plan, inputs, fault.as_ref(), media_url)))
        }
    }
}

/// The output with its faults.
pub(super) fn output(
    plan: &Plan,
    inputs: Vec<CachedInput>,
    fault: Option<&Fault>,
    media_url: Option<String>,
) -> Output {
    let blanked = match fault {
        Some(Fault::Nsfw { pictures }) => pictures.unwrap_or(usize::MAX),
        _ => 0,
    };
    let most_files = match fault {
        Some(Fault::NoMedia) => 0,
        Some(Fault::FewMedia { files }) => *files,
        _ => usize::MAX,
    };
    plan.output(inputs, Spoilt { blanked, most_files, media_url })
}

/// Ends a request, counts it and sends its webhook; `false` if it had already ended.
pub(super) fn end(state: &Arc<State>, id: &str, reason: EndReason) -> bool {
    let Some(request) = state.requests.end(id, reason) else {
        return false;
    };
    if let Some(end) = &request.end {
        state.journal.ended(id, &end.reason);
    }
    let units = request.output().map(|output| output.billable_units);
    let is_cancelled = request.platform_error() == Some(PlatformError::ClientCancelled);
    state.count(|counters| counters.completed(&request.job.endpoint.id, units, is_cancelled));
    webhook::dispatch(state, &request.job);
    true
}
