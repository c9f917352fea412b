//! The state that every part of a history shares: the records, the clock, the provider's jobs, what chance decides, and the record of
//! what happened. Everything that outlives a crash is here; an actor that is dropped leaves nothing else behind.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use crate::provider::Job;
use crate::rng::Rng;
use crate::scenario::Knobs;
use fresco_ledger::records::{Millis, StepId, Waiter};
use fresco_ledger::services::fake::{FakeServices, ManualClock};
use fresco_ledger::store::MemoryLedger;
use fresco_ledger::traits::Clock;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::money::Money;

/// A rule that a broken ledger does not keep. The suite has to notice each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A commit ignores the revision.
    NoRevision,
    /// Reading an entry's waiters misses one.
    MissedWaiter,
    /// Reading an entry's waiters does not see rows that were first written lately: it is not strongly consistent.
    LateWaiter,
    /// A hold ignores the budget.
    NoBudget,
}

/// The time at which every history begins.
const START: Millis = 1_800_000_000_000;
/// The number of calls after which [`Mutant::LateWaiter`] shows a waiter.
const LATE: u64 = 60;

/// The answer to a token.
pub(crate) enum Answer {
    Done,
    Failed(Failure),
    /// To be called again in so many seconds.
    RetryIn(u32),
}

/// A time in which no media can be fetched or stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) until: Millis,
    pub(crate) name: ErrorName,
}

/// The most outages of a history and the longest of them: together shorter than outputs are fetched for.
const OUTAGES: u32 = 4;
const LONGEST_OUTAGE: Millis = 4 * 3_600_000;
/// The longest time in which something else is served in place of the media. It is what the provider has after longer.
const LONGEST_INVALID: Millis = 200_000;

/// The fate of one call to a capability.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Works,
    /// An error, and nothing happened.
    Fails,
    /// An error, and it happened.
    ReplyLost,
}

pub(crate) struct World {
    pub(crate) ledger: MemoryLedger,
    pub(crate) services: FakeServices,
    pub(crate) clock: ManualClock,
    pub(crate) knobs: Knobs,
    pub(crate) mutant: Option<Mutant>,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) rng: Rng,
    /// Faults that may still happen.
    pub(crate) faults: u32,
    /// Whether faults may happen: not in the fair phase, nor while something runs by itself.
    pub(crate) chaos: bool,
    pub(crate) actor: usize,
    pub(crate) jobs: Vec<Job>,
    /// Answers that tokens heard and the state machine has not seen yet.
    pub(crate) answers: Vec<(String, Answer)>,
    /// The claim that an actor made last: what it may submit for, once.
    pub(crate) claims: BTreeMap<usize, (ContentKey, Attempt)>,
    /// When attempts were claimed: when the commit took effect, not when it was decided.
    pub(crate) claimed: BTreeMap<(ContentKey, Attempt), Millis>,
    /// Refusals that cost money all the same.
    pub(crate) billed: BTreeSet<(ContentKey, Attempt)>,
    /// Whether media can be stored, and the outages so far.
    pub(crate) outage: Option<Outage>,
    pub(crate) outages: u32,
    pub(crate) budgets: BTreeMap<RunId, Money>,
    /// Results that were removed, since they were too old, were cleaned or could not be read any more, by key.
    pub(crate) expired: BTreeMap<ContentKey, usize>,
    /// The row of a step as it was when it joined or claimed last, whatever became of the row.
    pub(crate) joined: BTreeMap<StepId, Waiter>,
    /// Attempts that were once declared lost.
    pub(crate) lost: BTreeSet<(ContentKey, Attempt)>,
    /// Calls so far, and at which of them a step's row was first written.
    pub(crate) calls: u64,
    pub(crate) written: BTreeMap<StepId, u64>,
    pub(crate) tokens: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// The first broken guarantee.
    pub(crate) broken: Option<String>,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let knobs = Knobs::draw(&mut rng);
        let clock = ManualClock::at(START);
        let state = State {
            faults: knobs.faults,
            rng,
            chaos: true,
            actor: 0,
            jobs: Vec::new(),
            answers: Vec::new(),
            claims: BTreeMap::new(),
            claimed: BTreeMap::new(),
            billed: BTreeSet::new(),
            outage: None,
            outages: 0,
            budgets: BTreeMap::new(),
            expired: BTreeMap::new(),
            joined: BTreeMap::new(),
            lost: BTreeSet::new(),
            calls: 0,
            written: BTreeMap::new(),
            tokens: Vec::new(),
            counts: BTreeMap::new(),
            broken: None,
            trace: traced.then(Vec::new),
        };
        let ledger = MemoryLedger::default();
        let services = FakeServices::new(clock.clone(), ledger.clone());
        World { ledger, services, clock, knobs, mutant, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether the provider is out.
    pub(crate) fn outage(&self) -> bool {
        let since_start = self.now() - START;
        self.knobs.outages.iter().any(|(from, until)| (*from..*until).contains(&since_start))
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Adds a line to the trace, if one is kept.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        let actor = state.actor;
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{:>12.3} #{actor:<4} {}", (self.now() - START) as f64 / 1e3, line()));
        }
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// A step's row was written.
    pub(crate) fn written(&self, step_id: &StepId) {
        let mut state = self.state();
        let calls = state.calls;
        state.written.entry(step_id.clone()).or_insert(calls);
    }

    /// [`Mutant::LateWaiter`]: whether a step's row was written long enough ago.
    pub(crate) fn seen_by_now(&self, step_id: &StepId) -> bool {
        let state = self.state();
        state.written.get(step_id).is_some_and(|written| state.calls > written + LATE)
    }

    /// A guarantee is broken. The first one counts: what follows from it says nothing more.
    pub(crate) fn broken(&self, what: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.broken.is_none() {
            state.broken = Some(what());
        }
    }

    pub(crate) fn require(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(what);
        }
    }

    /// Draws the fate of a call.
    pub(crate) fn fate(&self) -> Fate {
        let mut state = self.state();
        if !state.chaos || state.faults == 0 || !state.rng.one_in(self.knobs.fault_one_in) {
            return Fate::Works;
        }
        state.faults -= 1;
        if state.rng.one_in(2) { Fate::Fails } else { Fate::ReplyLost }
    }

    /// The failure of a fetch now, if there is one. An outage lasts for its time, also where chance does no more harm.
    pub(crate) fn fetch_failure(&self) -> Option<Failure> {
        let now = self.now();
        let begins = self.harm(3);
        let mut state = self.state();
        if begins && state.outages < OUTAGES && state.outage.is_none_or(|outage| outage.until <= now) {
            state.outages += 1;
            let name = match state.rng.below(8) {
                0 if state.outages == 1 => ErrorName::OutputInvalid,
                0..4 => ErrorName::OutputUnavailable,
                4 | 5 => ErrorName::OutputRefused,
                6 => ErrorName::StorageDenied,
                _ => ErrorName::StorageUnavailable,
            };
            let longest = if name == ErrorName::OutputInvalid { LONGEST_INVALID } else { LONGEST_OUTAGE };
            let longest = *state.rng.pick(&[1_000, 60_000, longest]);
            let until = now + state.rng.between(0, longest);
            state.outage = Some(Outage { until, name });
        }
        let outage = state.outage.filter(|outage| begins || now < outage.until)?;
        Some(Failure::new(outage.name, "media cannot be stored now"))
    }

    /// Whether this fault happens now; it costs one of the faults.
    pub(crate) fn harm(&self, one_in: usize) -> bool {
        let mut state = self.state();
        let hit = state.chaos && state.faults > 0 && state.rng.one_in(one_in);
        state.faults -= u32::from(hit);
        hit
    }

    /// One call to a capability. It can be interleaved or cut off before its effect and before its reply.
    pub(crate) async fn call<T, E>(
        &self,
        what: &'static str,
        about: impl FnOnce() -> String + Send,
        effect: impl Future<Output = Result<T, E>> + Send,
        lost: impl Fn(&'static str) -> E + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: Send,
    {
        Pause(false).await;
        self.state().calls += 1;
        let fate = self.fate();
        if fate == Fate::Fails {
            self.note(|| format!("{what} {} FAILS", about()));
            self.count("call failed");
            return Err(lost("it did not happen"));
        }
        let reply = effect.await;
        let ok = if reply.is_ok() { "" } else { " -> error" };
        if fate == Fate::ReplyLost {
            self.note(|| format!("{what} {}{ok}, REPLY LOST", about()));
            self.count("reply lost");
        } else {
            self.note(|| format!("{what} {}{ok}", about()));
        }
        Pause(false).await;
        if fate == Fate::ReplyLost { Err(lost("the reply was lost")) } else { reply }
    }
}

/// Ready the second time it is asked, so that the scheduler chooses who goes on.
pub(crate) struct Pause(pub(crate) bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// `run/step`, short enough for a trace.
pub(crate) fn short(step_id: &StepId) -> String {
    format!("{}/{}", &step_id.run.as_str()[step_id.run.as_str().len() - 4..], step_id.step)
}

/// The first digits of a key.
pub(crate) fn brief(key: &ContentKey) -> &str {
    &key.as_str()[..4]
}
