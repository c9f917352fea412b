//! Bounds of a step's duration and of a plan's use of the state machine's limits, counting every nudge. What the state
//! machine computes by itself (the check interval) is computed here in the same way.

use super::{PlannedStep, Stage};

/// The most nudges of a step: more than any step needs until its provider's queue and its own timeout are over. The ledger's
/// deadlines end the loop; this bounds it besides.
pub const NUDGES: u32 = 24;
/// The longest check interval, in seconds.
pub const MAX_CHECK_SECONDS: u32 = 900;
/// The first check interval where no webhook can reach the stack, in seconds: the nudge is then the poll loop.
pub const POLL_SECONDS: u32 = 2;
/// The first check interval where webhooks are expected is at least this, in seconds: it only repairs lost ones. It is also
/// that of providers which answer at once: their step is over when the function is.
pub const REPAIR_SECONDS: u32 = 60;
/// The longest pause that a provider can ask for and the state machine's retries, in seconds: a nudge waits for them.
const PAUSE_SECONDS: u64 = 900;
/// The longest that a job may be queued at the provider before its waiters give up, in seconds.
pub const QUEUE_SECONDS: u32 = 3_600;

/// The most events that one execution may have: AWS ends it at 25,000. The rest is for the pauses of the lanes that run when a
/// provider is out: 40 lanes, 15 pauses each in half an hour, eight events a pause.
pub const MAX_EVENTS: u64 = 20_000;
/// The most bytes that the list of work may have: AWS takes 256 KiB from state to state.
pub const MAX_STATE_BYTES: usize = 200 * 1024;

/// The check interval before the n-th nudge of a step (from 0), in seconds. The state machine computes the same: it doubles
/// `check` in the input of Generate at each nudge.
pub fn check_interval(check: u32, nudge: u32) -> u32 {
    check.saturating_mul(2u32.saturating_pow(nudge)).min(MAX_CHECK_SECONDS)
}

/// The longest that one step can take with all its nudges, pauses and retries, in seconds.
pub fn longest_step(check: u32, timeout: u32) -> u64 {
    let nudges = most_nudges(check, timeout);
    (0..nudges).map(|nudge| u64::from(check_interval(check, nudge))).sum::<u64>() + PAUSE_SECONDS
}

/// The most nudges of a step: until the provider's queue and the step's timeout are both over. The job may start just after
/// a nudge, and the timeout counts from the next.
pub fn most_nudges(check: u32, timeout: u32) -> u32 {
    let enough = u64::from(QUEUE_SECONDS) + u64::from(MAX_CHECK_SECONDS) + u64::from(timeout);
    let mut passed = 0;
    for nudge in 0..NUDGES {
        passed += u64::from(check_interval(check, nudge));
        if passed > enough {
            return nudge + 1;
        }
    }
    NUDGES
}

/// Events of an execution besides those of its stages: start and end, Plan, two choices, the map of stages, Report, the last
/// state.
const OTHER_EVENTS: u64 = 1 + 5 + 4 + 4 + 5 + 2 + 1;
/// A map state is entered, started, succeeded and exited.
const MAP_EVENTS: u64 = 4;
/// An iteration starts and succeeds.
const ITERATION_EVENTS: u64 = 2;
/// A task with a token is scheduled, started and submitted, and ends.
const TASK_EVENTS: u64 = 4;
/// At a nudge Generate is exited and entered, and its task starts once more.
const NUDGE_EVENTS: u64 = 2 + TASK_EVENTS;
/// Generate is entered and exited; a failure that does not end the run passes a choice and a pass state.
const STEP_EVENTS: u64 = 2 + 4;
/// A choice is entered and exited.
const CHOICE_EVENTS: u64 = 2;

/// The events that a part of an execution has at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events(u64);

impl Events {
    /// Of an execution without any stage.
    pub const EMPTY: Events = Events(OTHER_EVENTS);

    /// With one more stage.
    pub fn stage(self) -> Self {
        Events(self.0 + ITERATION_EVENTS + CHOICE_EVENTS + MAP_EVENTS)
    }

    /// With one more lane, of a stage whose lanes are not all of one step: it has a map of its own.
    pub fn lane(self) -> Self {
        Events(self.0 + ITERATION_EVENTS + MAP_EVENTS)
    }

    /// With one more step, that is nudged so often.
    pub fn step(self, nudges: u32) -> Self {
        Events(self.0 + ITERATION_EVENTS + STEP_EVENTS + TASK_EVENTS + NUDGE_EVENTS * u64::from(nudges))
    }

    /// The number of events.
    pub const fn count(self) -> u64 {
        self.0
    }
}

impl PlannedStep {
    /// The first check interval in seconds, see [`check_interval`].
    pub fn check(&self, webhooks: bool) -> u32 {
        if webhooks || self.provider.answers_at_once() {
            self.timeout.clamp(REPAIR_SECONDS, MAX_CHECK_SECONDS)
        } else {
            POLL_SECONDS
        }
    }
}

/// The longest that these stages can take, in seconds, if a step takes so long.
pub(super) fn bound_seconds(stages: &[Stage], longest: impl Fn(usize) -> u64) -> u64 {
    let of_stage = |stage: &Stage| {
        let lanes: Vec<u64> =
            stage.lanes.iter().map(|lane| lane.steps.iter().map(|&step| longest(step)).sum()).collect();
        // However lanes are dealt to workers, rounds of the longest bound it.
        let rounds = lanes.len().div_ceil(stage.workers.max(1) as usize) as u64;
        lanes.iter().max().copied().unwrap_or(0) * rounds
    };
    stages.iter().map(of_stage).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nudges_end_with_queue_and_timeout() {
        for (check, timeout, nudges) in [(60, 30, 9), (120, 120, 8), (600, 600, 7), (2, 30, 13), (900, 3_600, 10)] {
            assert_eq!(most_nudges(check, timeout), nudges, "{check} {timeout}");
            assert!(longest_step(check, timeout) > u64::from(QUEUE_SECONDS + MAX_CHECK_SECONDS + timeout));
        }
        assert!(most_nudges(POLL_SECONDS, 3_600) < NUDGES, "no step is ended by the count");
    }

    #[test]
    fn events_add_up() {
        // One step that succeeds at once, counted as AWS writes its history; and two in a row.
        assert_eq!(Events::EMPTY.stage().step(0).count(), 22 + 8 + 12);
        assert_eq!(Events::EMPTY.stage().lane().step(0).step(0).count(), 22 + 8 + 6 + 24);
        assert_eq!(Events::EMPTY.step(9).count() - Events::EMPTY.step(0).count(), 9 * 6);
    }
}
