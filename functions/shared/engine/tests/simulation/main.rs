//! A deterministic simulation of the whole engine on the ledger and the services in memory: every call can be interleaved, fail, lose its reply or
//! be the last thing that its function did, and after a while the world turns fair and every history has to end well. A
//! seed is a history; `FRESCO_SEED=n` runs one again and prints what happened.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test suite: what does not work is to fail loudly"
)]

mod ending;
mod execution;
mod forge;
mod invariants;
mod platform;
mod provider;
mod rng;
mod scenario;
mod scheduler;
mod world;

use std::collections::BTreeMap;

use scheduler::Scheduler;
use world::Mutant;

/// Histories of the normal test.
const SEEDS: u64 = 3_000;

/// Events that the guarantees are about. A suite that never reaches one of them proves nothing about it.
const REACHED: &[&str] = &[
    "adopted",
    "published late",
    "budget exceeded",
    "cancellation asked for",
    "cleaned",
    "commit in conflict",
    "closed by its bound",
    "collect dropped",
    "crash",
    "damaged",
    "duplicate",
    "exhausted",
    "expired",
    "fetch failed",
    "fetched once more",
    "forged webhook",
    "kept",
    "kept for a run",
    "late success",
    "lost",
    "never heard of",
    "never started",
    "nudge",
    "paused",
    "refreshed",
    "refused",
    "refused in an outage",
    "renewed",
    "repeated webhook",
    "report dropped",
    "reply lost",
    "shared failure",
    "short result",
    "step unknown",
    "step timed out",
    "step stopped",
    "stopped",
    "unclear, accepted",
    "unclear, not accepted",
];

/// One history. `Err` holds what broke; the trace is made by running the seed again.
fn history(seed: u64, mutant: Option<Mutant>, counts: &mut BTreeMap<&'static str, u64>) -> Result<usize, String> {
    let mut scheduler = Scheduler::new(seed, mutant, false);
    let ended = scheduler.run();
    for (what, times) in &scheduler.world.state().counts {
        *counts.entry(what).or_default() += times;
    }
    ended.map(|()| scheduler.steps)
}

fn trace(seed: u64, mutant: Option<Mutant>) -> String {
    let mut scheduler = Scheduler::new(seed, mutant, true);
    let ended = scheduler.run();
    format!("{}\nseed {seed}, {} steps: {ended:?}", scheduler.world.trace().join("\n"), scheduler.steps)
}

#[test]
fn every_history_keeps_the_guarantees() {
    if let Some(seed) = std::env::var("FRESCO_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{}", trace(seed, None));
        return assert_eq!(history(seed, None, &mut BTreeMap::new()).err(), None);
    }
    let seeds = std::env::var("FRESCO_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let started = std::time::Instant::now();
    let (mut counts, mut steps) = (BTreeMap::new(), 0);
    for seed in 0..seeds {
        match history(seed, None, &mut counts) {
            Ok(taken) => steps += taken,
            Err(broken) if std::env::var("FRESCO_ALL").is_ok() => println!("seed {seed}: {broken}"),
            Err(broken) => panic!("{}\n\n{broken}\nFRESCO_SEED={seed} runs this history again", trace(seed, None)),
        }
    }
    println!("{seeds} histories, {steps} steps, {:?}", started.elapsed());
    println!("{counts:#?}");
    let missing: Vec<_> = REACHED.iter().filter(|what| !counts.contains_key(**what)).collect();
    assert!(missing.is_empty() || seeds < SEEDS, "never reached: {missing:?}");
}

/// A ledger that breaks a rule is noticed within so many histories, by the guarantee that the rule is for.
fn caught(mutant: Mutant, within: u64, guarantees: &[&str]) {
    let broken = (0..within)
        .find_map(|seed| history(seed, Some(mutant), &mut BTreeMap::new()).err().map(|broken| (seed, broken)));
    let (seed, broken) = broken.unwrap_or_else(|| panic!("{mutant:?} was not noticed within {within} histories"));
    println!("{mutant:?}: seed {seed}: {broken}");
    assert!(guarantees.iter().any(|guarantee| broken.starts_with(guarantee)), "seed {seed}: {broken}");
}

#[test]
fn a_commit_without_its_revision_is_noticed() {
    caught(Mutant::NoRevision, 200, &["(a)", "(b)", "(c)", "(d)", "(e)"]);
}

#[test]
fn a_waiter_that_is_missed_is_noticed() {
    caught(Mutant::MissedWaiter, 200, &["(d)"]);
}

#[test]
fn a_waiter_that_is_seen_late_is_noticed() {
    caught(Mutant::LateWaiter, 200, &["(d)"]);
}

#[test]
fn a_hold_beyond_the_budget_is_noticed() {
    caught(Mutant::NoBudget, 200, &["(c)"]);
}
