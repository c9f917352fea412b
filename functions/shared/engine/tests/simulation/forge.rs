//! Webhooks that must change nothing: forged ones, and genuine ones of decided attempts. Each is received by itself, so that
//! the rows before and after can be compared.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fresco_engine::{Engine, WebhookOutcome, WebhookRoute};
use fresco_ledger::records::AttemptState;
use fresco_ledger::traits::Entries;
use fresco_pipeline::catalogue::ProviderName;
use futures::FutureExt;

use crate::platform::Sim;
use crate::world::{World, brief};

/// Runs something to its end while nothing else goes on and nothing fails.
pub(crate) fn alone<T>(world: &World, future: impl Future<Output = T>) -> T {
    let (chaos, actor) = {
        let mut state = world.state();
        (std::mem::replace(&mut state.chaos, false), std::mem::replace(&mut state.actor, 0))
    };
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let done = loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            break done;
        }
    };
    let mut state = world.state();
    (state.chaos, state.actor) = (chaos, actor);
    done
}

/// The path of a webhook URL.
pub(crate) fn route_of(url: &str) -> Option<WebhookRoute> {
    let parts: Vec<&str> = url.rsplitn(5, '/').collect();
    WebhookRoute::parse(parts[3], parts[2], parts[1], parts[0])
}

/// All rows, as text.
fn rows(world: &World) -> String {
    let ledger = &world.ledger;
    let attempts = ledger.all_attempts();
    let reports: Vec<_> =
        attempts.iter().map(|row| Entries::report(ledger, &row.key, row.attempt).now_or_never()).collect();
    let table = (ledger.all_entries(), attempts, ledger.all_waiters(), ledger.all_runs(), ledger.all_steps());
    format!("{table:?} {reports:?} {:?}", world.services.all_objects().keys())
}

/// Receives a webhook that has to be refused, or to be taken for nothing.
pub(crate) fn forge(world: &Arc<World>, engine: &Arc<Engine<Sim>>) {
    let attempts = world.ledger.all_attempts();
    if attempts.is_empty() {
        return;
    }
    let row = {
        let mut state = world.state();
        state.rng.pick(&attempts).clone()
    };
    let token = world.state().tokens.iter().find(|token| row.token_hash.matches(token)).cloned();
    let token = token.expect("every attempt's token was handed out");
    let job = world.state().jobs.iter().find(|job| (&job.key, job.attempt) == (&row.key, row.attempt)).cloned();
    let id = row.request_id.clone().unwrap_or_else(|| "job-0".to_owned());
    let kind = world.state().rng.below(4);
    let made = format!(r#"["{id}",{{"report":"succeeded","media":[]}}]"#);
    let (token, body, taken) = match kind {
        // Whatever it says, and even if the job is right.
        0 => (token.chars().rev().collect(), Bytes::from(made), false),
        1 => ("a".repeat(64), Bytes::from(made), false),
        2 => (token, Bytes::from_static(br#"["job-of-somebody-else",{"report":"not_included"}]"#), false),
        _ => {
            let decided = matches!(row.state, AttemptState::Won | AttemptState::Duplicate);
            let Some(job) = job.filter(|job| decided && row.request_id.as_ref() == Some(&job.id)) else { return };
            (token, job.webhook_body(false), true)
        }
    };
    let route = WebhookRoute { provider: ProviderName::Fal, key: row.key.clone(), attempt: row.attempt, token };
    let before = rows(world);
    let received = alone(world, engine.webhooks.receive(&route, Vec::new(), body));
    world.count(if taken { "repeated webhook" } else { "forged webhook" });
    world.note(|| format!("FORGED kind {kind} for {} {}: {received:?}", brief(&row.key), row.attempt));
    let as_it_should = if taken {
        received == Ok(WebhookOutcome::Nothing)
    } else {
        // A provider that is out cannot say whether it knows the job.
        received.as_ref().is_err_and(|e| e.status() == 401 || (world.outage() && e.status() == 503))
    };
    world.require(as_it_should, || format!("(f) a webhook of kind {kind} came to {received:?}"));
    let same = before == rows(world) && world.services.take_invocations().is_empty();
    world.require(same, || {
        format!("(f) a webhook of kind {kind} for {} {} changed the ledger", brief(&row.key), row.attempt)
    });
}
