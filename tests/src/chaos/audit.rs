//! The audit after a chaos: whether what the providers billed, what the ledger holds and what stands in the bucket fit
//! together.

use std::collections::{BTreeMap, BTreeSet};

use fresco_engine::platform::Platform;
use fresco_ledger::records::{AttemptState, Entry, RunRecord};
use fresco_ledger::store::Everything;
use fresco_ledger::traits::Objects;
use fresco_pipeline::money::Money;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::StackAdmin;

/// Whether every run has ended and nothing is pending, waiting or still to be notified.
pub(super) fn is_quiet(everything: &Everything) -> bool {
    everything.runs.iter().all(|run| run.status.is_final())
        && !everything.entries.iter().any(is_open)
        && everything.waiters.is_empty()
}

fn is_open(entry: &Entry) -> bool {
    entry.pending.is_some() || entry.notify_pending || !entry.late_completions.is_empty()
}

/// Returns what does not fit together, a line each.
pub(super) async fn violations(
    admin: &StackAdmin,
    everything: &Everything,
    requests: &[Value],
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for run in &everything.runs {
        run_is_closed(run, &mut found);
    }
    for (key, waiter) in &everything.waiters {
        found.push(format!("{}/{} still waits for {key}", waiter.step_id.run, waiter.step_id.step));
    }
    for entry in &everything.entries {
        if is_open(entry) {
            found.push(format!("{} is still open: {entry:?}", entry.key));
        }
        for output in entry.result.iter().flat_map(|result| &result.outputs) {
            let mut hash = Sha256::new();
            let objects = admin.engine().platform.objects();
            if objects.scan(&output.key, &mut |piece| hash.update(piece)).await?.is_none() {
                found.push(format!("{} is a result and does not exist", output.key));
            } else if hex::encode(hash.finalize()) != output.sha256 {
                found.push(format!("{} does not have the hash of its result", output.key));
            }
        }
    }
    found.extend(money(everything, requests));
    Ok(found)
}

fn run_is_closed(run: &RunRecord, found: &mut Vec<String>) {
    if !run.status.is_final() {
        found.push(format!("run {} has not ended", run.id));
    }
    if run.held != Money::ZERO {
        found.push(format!("run {} still holds {}", run.id, run.held));
    }
    if run.settled < Money::ZERO || run.remaining < Money::ZERO {
        found.push(format!("run {} has {} spent and {} left", run.id, run.settled, run.remaining));
    }
}

/// Compares billed completions with paid keys: each completion has to be the one result of its key.
fn money(everything: &Everything, requests: &[Value]) -> Vec<String> {
    let billed = requests.iter().filter(|request| is_billed(request)).count();
    let won = everything.attempts.iter().filter(|attempt| attempt.state == AttemptState::Won);
    let mut by_key: BTreeMap<_, usize> = BTreeMap::new();
    for attempt in won {
        *by_key.entry(attempt.key.clone()).or_default() += 1;
    }
    let mut found = Vec::new();
    if billed != by_key.len() {
        found.push(format!("{billed} completions were billed, and {} keys are paid", by_key.len()));
        found.extend(unmatched(everything, requests));
    }
    for (key, times) in by_key.into_iter().filter(|(_, times)| *times > 1) {
        found.push(format!("{key} was won {times} times"));
    }
    for attempt in everything.attempts.iter().filter(|attempt| attempt.state == AttemptState::Duplicate) {
        found.push(format!("{} attempt {} was paid beside another", attempt.key, attempt.attempt));
    }
    found
}

/// Returns the billed requests that belong to no attempt that won.
fn unmatched(everything: &Everything, requests: &[Value]) -> Vec<String> {
    let won: BTreeSet<&str> = everything
        .attempts
        .iter()
        .filter(|attempt| attempt.state == AttemptState::Won)
        .filter_map(|attempt| attempt.request_id.as_deref())
        .collect();
    let lost = requests.iter().filter(|request| is_billed(request)).filter(|request| {
        // A synchronous call has no job, and so no request id in the ledger.
        request["endpoint"].as_str().is_some_and(|endpoint| !endpoint.starts_with("gemini/"))
            && request["request_id"].as_str().is_some_and(|id| !won.contains(id))
    });
    lost.map(|request| format!("billed without a result: {request}")).collect()
}

fn is_billed(request: &Value) -> bool {
    request["billable_units"].as_f64().is_some_and(|units| units > 0.0)
}
