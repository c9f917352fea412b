//! The life of a request: wait for the gate, work for a while, end, tell the webhook. Also the result as a body, which
//! the result route, the listing and the webhook share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::infrastructure::Infrastructure;
use super::output::{Output, Plan};
use super::requests::{Job, Outcome, Request};
use super::{faults, inputs, model_errors, webhook};
use crate::faults::WorkFault;
use crate::gate::Ticket;
use crate::keep::Kept;
use crate::world::World;

/// Lets a request live. `start_within` is the start deadline that the caller set.
pub(crate) fn begin(
    world: &Arc<World>,
    job: Arc<Job>,
    ticket: Ticket,
    latency: Duration,
    start_within: Option<Duration>,
) {
    let inner = world.clone();
    world.spawn(async move {
        let world = inner;
        let deadline = async {
            match start_within {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let turn = async {
            if job.fault == Some(WorkFault::NeverStarts) {
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
                settle(&world, &job.id, Outcome::Ended(Infrastructure::RequestTimeout));
                return;
            }
        };
        if !world.requests.start(&job.id) {
            return;
        }
        let outcome = match &job.plan {
            // The application refuses before it works.
            Err(body) => Outcome::Refused { status: 422, body: body.clone(), retryable: false },
            Ok(plan) => tokio::select! {
                biased;
                () = job.cancelled.notified() => return,
                outcome = make(&world, &job, plan, latency) => outcome,
            },
        };
        settle(&world, &job.id, outcome);
        // Held until the end is written, so that the record never shows more in progress than the gate allows.
        drop(pass);
    });
}

/// The work itself: the inputs are fetched first, and what is left of the latency is waited for.
async fn make(world: &Arc<World>, job: &Job, plan: &Plan, latency: Duration) -> Outcome {
    let begun = Instant::now();
    let inputs = match inputs::take_in(world, job).await {
        Ok(inputs) => inputs,
        Err(problems) => {
            return Outcome::Refused { status: 422, body: json!({ "detail": problems }), retryable: false };
        }
    };
    let latency = match &job.fault {
        Some(WorkFault::NeverEnds) => return std::future::pending().await,
        Some(WorkFault::Slow { seconds }) => Duration::from_secs_f64(*seconds),
        _ => latency,
    };
    tokio::time::sleep(latency.saturating_sub(begun.elapsed())).await;
    match &job.fault {
        Some(WorkFault::ModelError { r#type, status, retryable }) => {
            let status = status.or_else(|| model_errors::status(r#type)).unwrap_or(500);
            let retryable = retryable.unwrap_or(status >= 500);
            Outcome::Refused { status, body: model_errors::body(r#type, &job.input), retryable }
        }
        Some(WorkFault::InfrastructureEnd { error_type }) => Outcome::Ended(*error_type),
        fault => {
            let hit = world.strike(job.endpoint.id, job.prompt(), faults::elsewhere);
            if let Some(hit) = &hit {
                world.requests.struck(&job.id, hit.name);
            }
            Outcome::Made(Arc::new(output(plan, inputs, fault.as_ref(), hit.map(|hit| hit.fault))))
        }
    }
}

/// The output with what is wrong with it.
pub(crate) fn output(plan: &Plan, inputs: Vec<Kept>, fault: Option<&WorkFault>, elsewhere: Option<String>) -> Output {
    let mut output = plan.output(inputs);
    output.blanked = fault == Some(&WorkFault::Nsfw);
    output.unnamed = fault == Some(&WorkFault::NoMedia);
    output.elsewhere = elsewhere;
    output
}

/// Ends a request, counts it and sends its webhook; `false` if it had already ended.
pub(crate) fn settle(world: &Arc<World>, id: &str, outcome: Outcome) -> bool {
    let Some(request) = world.requests.end(id, outcome) else {
        return false;
    };
    if let Some(end) = &request.end {
        world.journal.ended(id, &end.outcome);
    }
    let made = request.output().is_some();
    let cancelled = matches!(&request.end, Some(end)
        if matches!(end.outcome, Outcome::Ended(Infrastructure::ClientCancelled)));
    let units = request.output().map_or(0.0, |output| output.billable_units);
    world.count(|counters| {
        let (billed, cancels) = (u64::from(made), u64::from(cancelled));
        let failures = 1 - billed - cancels;
        counters.completions += 1;
        counters.billed_completions += billed;
        counters.cancels += cancels;
        counters.failures += failures;
        let own = counters.endpoint(request.job.endpoint.id);
        own.completions += 1;
        own.billed_completions += billed;
        own.cancels += cancels;
        own.failures += failures;
        if made {
            own.billable_units += units;
        }
    });
    webhook::dispatch(world, &request.job);
    true
}

/// The body of the result of a request that has ended. `None` while it has not, or where a picture cannot be encoded.
pub(crate) async fn result(world: &Arc<World>, request: &Request) -> Option<Value> {
    match &request.end.as_ref()?.outcome {
        Outcome::Refused { body, .. } => Some(body.clone()),
        Outcome::Ended(reason) => Some(json!({ "detail": reason.message(), "error_type": reason.error_type() })),
        Outcome::Made(_) if matches!(request.job.fault, Some(WorkFault::PayloadNull { .. })) => Some(Value::Null),
        Outcome::Made(output) => {
            let base = format!("{}/fal/media/files/{}", world.base(), request.job.id);
            let seconds = request.inference_seconds().unwrap_or_default();
            let shape = &request.job.endpoint.shape;
            if !output.draws_for_its_body() {
                return output.body(shape, seconds, None, |name| format!("{base}/{name}"));
            }
            let (output, keeper) = (output.clone(), world.clone());
            let draw = move || {
                // A video whose input is gone still has its address; its length stays unknown.
                let copies = keeper.copies(&output.inputs);
                output.body(shape, seconds, copies.as_deref(), |name| format!("{base}/{name}"))
            };
            world.gallery.draw(draw).await
        }
    }
}
