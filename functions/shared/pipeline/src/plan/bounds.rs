//! Bounds of a step's duration and of a plan's use of the state machine's limits, counting every nudge. What the state
//! machine computes by itself (the check interval) is computed here in the same way.

use super::{PlannedStep, Stage};

/// The number of nudges of Generate: retries after its check interval, see [`check_interval`].
pub const NUDGES: u32 = 12;
/// The longest check interval, in seconds.
pub const MAX_CHECK_SECONDS: u32 = 900;
/// The first check interval where no webhook can reach the stack, in seconds: the nudge is then the poll loop.
pub const POLL_SECONDS: u32 = 2;
/// The first check interval where webhooks are expected is at least this, in seconds: it only repairs lost ones. It is also
/// that of providers which answer at once: their step is over when the function is.
pub const REPAIR_SECONDS: u32 = 60;
/// The longest that a job may be queued at the provider before its waiters give up, in seconds.
pub const QUEUE_SECONDS: u32 = 3_600;

/// The most events that one execution may have: AWS ends it at 25,000.
pub const MAX_EVENTS: u64 = 20_000;
/// The most bytes that the list of work may have: AWS takes 256 KiB from state to state.
pub const MAX_STATE_BYTES: usize = 200 * 1024;

/// The check interval of the n-th try of a Generate task (0 is the first), in seconds. The state machine computes the same
/// from `check` and `$states.context.State.RetryCount`.
pub fn check_interval(check: u32, retry: u32) -> u32 {
    check.saturating_mul(2u32.saturating_pow(retry)).min(MAX_CHECK_SECONDS)
}

/// The longest that one Generate task can take with all its nudges, in seconds.
pub fn longest_step(check: u32) -> u64 {
    // A second of retry delay goes before each nudge.
    (0..=NUDGES).map(|retry| u64::from(check_interval(check, retry)) + 1).sum()
}

/// The most tries of Generate, the first included: until the provider's queue and the step's timeout are both over.
pub fn most_tries(check: u32, timeout: u32) -> u32 {
    let enough = u64::from(QUEUE_SECONDS) + u64::from(timeout);
    let mut passed = 0;
    for retry in 0..=NUDGES {
        passed += u64::from(check_interval(check, retry)) + 1;
        if passed > enough {
            return retry + 1;
        }
    }
    NUDGES + 1
}

/// Events of an execution besides those of its stages: start and end, Plan, two choices, the map of stages, Report, the last
/// state.
const OTHER_EVENTS: u64 = 1 + 5 + 4 + 4 + 5 + 2 + 1;
/// A map state is entered, started, succeeded and exited.
const MAP_EVENTS: u64 = 4;
/// An iteration starts and succeeds.
const ITERATION_EVENTS: u64 = 2;
/// A task with a token is scheduled, started, submitted, and ends, at each try.
const TRY_EVENTS: u64 = 4;
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

    /// With one more step, that is tried so often.
    pub fn step(self, tries: u32) -> Self {
        Events(self.0 + ITERATION_EVENTS + STEP_EVENTS + TRY_EVENTS * u64::from(tries))
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
    fn tries_end_with_queue_and_timeout() {
        for (check, timeout, tries) in [(60, 30, 8), (120, 120, 7), (600, 600, 5), (2, 30, 12), (900, 3_600, 8)] {
            assert_eq!(most_tries(check, timeout), tries, "{check} {timeout}");
            let passed: u64 = (0..tries).map(|retry| u64::from(check_interval(check, retry)) + 1).sum();
            assert!(passed > u64::from(QUEUE_SECONDS + timeout));
        }
        assert!(longest_step(60) > 3_600);
    }

    #[test]
    fn events_add_up() {
        // One step that succeeds at once, counted as AWS writes its history; and two in a row.
        assert_eq!(Events::EMPTY.stage().step(1).count(), 22 + 8 + 12);
        assert_eq!(Events::EMPTY.stage().lane().step(1).step(1).count(), 22 + 8 + 6 + 24);
    }
}
