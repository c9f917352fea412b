//! The life of a request: wait for the gate, work for a while, end, tell the webhook. Also the result as a body, which
//! the result route, the listing and the webhook share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::output::Plan;
use super::requests::{Infrastructure, Job, Outcome, Request};
use super::{inputs, webhook};
use crate::gate::Ticket;
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
        let pass = tokio::select! {
            biased;
            () = job.cancelled.notified() => return,
            pass = ticket.wait() => pass,
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
            Err(body) => Outcome::Refused { status: 422, body: body.clone() },
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
    match inputs::take_in(world, job).await {
        Ok(inputs) => {
            tokio::time::sleep(latency.saturating_sub(begun.elapsed())).await;
            Outcome::Made(Arc::new(plan.output(inputs)))
        }
        Err(problems) => Outcome::Refused { status: 422, body: json!({ "detail": problems }) },
    }
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
