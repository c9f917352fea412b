//! The state machine as a model: which tasks are live under which token, what a timeout, an answer or a function's error
//! does to them, and when the run is over. The numbers are those of `run.asl.json`.

use fresco_engine::{GenerateCall, WorkList};
use fresco_ledger::records::{Millis, StepId};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepRef};
use fresco_pipeline::plan::check_interval;

use crate::rng::Rng;

/// Retries on the names that are worth one, and on errors of the Lambda service.
const NAMED: u32 = 8;
const SERVICE: u32 = 6;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Planning,
    Working,
    /// The state machine is over; its last state or its status event reports.
    Reporting,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskState {
    Idle,
    /// The token of this try.
    Live(String),
    /// Between two tries.
    Pausing,
    Done,
    Failed,
}

/// A Generate task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) step: StepRef,
    pub(crate) check: u32,
    pub(crate) fail_fast: bool,
    pub(crate) state: TaskState,
    pub(crate) nudges: u32,
    pub(crate) named: u32,
    pub(crate) service: u32,
    /// The call under the live token has returned well.
    pub(crate) returned: bool,
    /// Another call for the step was still going on when the live one began.
    pub(crate) overlapped: bool,
    lane: usize,
    stage: usize,
}

pub(crate) struct Execution {
    pub(crate) run: RunId,
    pub(crate) phase: Phase,
    pub(crate) tasks: Vec<Task>,
    pub(crate) cause: Option<Failure>,
    pub(crate) plans: u32,
    /// It ended while plan was running, which may write steps that never start.
    pub(crate) unplanned: bool,
    workers: Vec<usize>,
    stage: usize,
}

/// What an execution asks the scheduler to do.
pub(crate) enum Step {
    /// Call generate for this task, and time it out so much later.
    Begin { task: usize, call: GenerateCall, timeout: Millis },
    /// Try the task again so much later.
    Pause { task: usize, pause: Millis },
    /// These tokens are not valid any more.
    Close(Vec<String>),
    /// Call report.
    Report,
}

impl Execution {
    pub(crate) fn new(run: RunId) -> Self {
        let (phase, tasks, workers) = (Phase::Planning, Vec::new(), Vec::new());
        Execution { run, phase, tasks, cause: None, plans: 0, unplanned: false, workers, stage: 0 }
    }

    pub(crate) fn planned(&mut self, work: &WorkList) {
        if work.done {
            self.phase = Phase::Closed;
            return;
        }
        self.phase = Phase::Working;
        let mut lane = 0;
        for (stage, planned) in work.stages.iter().enumerate() {
            self.workers.push(planned.workers as usize);
            for steps in &planned.lanes {
                self.tasks.extend(steps.steps.iter().map(|work| Task {
                    step: work.step.clone(),
                    check: work.check,
                    fail_fast: work.fail_fast,
                    state: TaskState::Idle,
                    nudges: 0,
                    named: 0,
                    service: 0,
                    returned: false,
                    overlapped: false,
                    lane,
                    stage,
                }));
                lane += 1;
            }
        }
    }

    pub(crate) fn step_id(&self, task: usize) -> StepId {
        StepId { run: self.run.clone(), step: self.tasks[task].step.clone() }
    }

    pub(crate) fn task_of(&self, token: &str) -> Option<usize> {
        self.tasks.iter().position(|task| task.state == TaskState::Live(token.to_owned()))
    }

    /// Starts what may start, or goes on to the next stage, or to report.
    pub(crate) fn advance(&mut self, mut token: impl FnMut() -> String) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.phase == Phase::Working {
            let over = |task: &Task| matches!(task.state, TaskState::Done | TaskState::Failed);
            if self.tasks.iter().filter(|task| task.stage == self.stage).all(over) {
                self.stage += 1;
                if self.stage >= self.workers.len() {
                    self.phase = Phase::Reporting;
                    steps.push(Step::Report);
                }
                continue;
            }
            let mut busy: Vec<usize> = Vec::new();
            for n in 0..self.tasks.len() {
                let task = &self.tasks[n];
                if task.stage != self.stage || over(task) || busy.contains(&task.lane) {
                    continue;
                }
                if busy.len() >= self.workers[self.stage] {
                    break;
                }
                busy.push(task.lane);
                if task.state == TaskState::Idle {
                    steps.push(self.begin(n, token()));
                }
            }
            break;
        }
        steps
    }

    /// A try of the task, under a token of its own.
    pub(crate) fn begin(&mut self, n: usize, token: String) -> Step {
        let task = &mut self.tasks[n];
        task.state = TaskState::Live(token.clone());
        task.returned = false;
        task.overlapped = false;
        let timeout = check_interval(task.check, task.nudges);
        let call = GenerateCall { run_id: self.run.clone(), step: task.step.clone(), token, nudges: task.nudges };
        Step::Begin { task: n, call, timeout: i64::from(timeout) * 1_000 }
    }

    pub(crate) fn succeeded(&mut self, n: usize) {
        self.tasks[n].state = TaskState::Done;
    }

    /// The check interval is over: the state enters itself, with its retries as at first.
    pub(crate) fn timed_out(&mut self, n: usize) -> Vec<Step> {
        let task = &mut self.tasks[n];
        task.nudges += 1;
        self.again(n, 0)
    }

    /// The task asks to be called again later. The wait enters the state again, too.
    pub(crate) fn retry_in(&mut self, n: usize, seconds: u32) -> Vec<Step> {
        self.again(n, i64::from(seconds) * 1_000)
    }

    fn again(&mut self, n: usize, pause: Millis) -> Vec<Step> {
        let task = &mut self.tasks[n];
        (task.named, task.service) = (0, 0);
        self.pause(n, pause)
    }

    /// The task was answered with a failure, or its function ended with one.
    pub(crate) fn failed(&mut self, n: usize, cause: Failure, rng: &mut Rng) -> Vec<Step> {
        let task = &mut self.tasks[n];
        if cause.name.is_retryable() && task.named < NAMED {
            let most = (3_000_i64 << task.named).min(60_000);
            task.named += 1;
            let pause = rng.between(0, most);
            return self.pause(n, pause);
        }
        self.give_up(n, cause)
    }

    /// The Lambda service did not carry the call out, or lost its function.
    pub(crate) fn not_served(&mut self, n: usize, rng: &mut Rng) -> Vec<Step> {
        let task = &mut self.tasks[n];
        if task.service < SERVICE {
            let most = (1_000_i64 << task.service).min(30_000);
            task.service += 1;
            let pause = rng.between(0, most);
            return self.pause(n, pause);
        }
        self.give_up(n, Failure::new(ErrorName::Internal, "Lambda.ServiceException"))
    }

    /// An error that the state machine does not know.
    pub(crate) fn give_up(&mut self, n: usize, cause: Failure) -> Vec<Step> {
        self.tasks[n].state = TaskState::Failed;
        if self.tasks[n].fail_fast { self.over(cause) } else { Vec::new() }
    }

    /// The execution ends early: its tasks are dead.
    pub(crate) fn over(&mut self, cause: Failure) -> Vec<Step> {
        if matches!(self.phase, Phase::Reporting | Phase::Closed) {
            return Vec::new();
        }
        self.unplanned |= self.phase == Phase::Planning;
        self.phase = Phase::Reporting;
        self.cause = Some(cause);
        let mut closed = Vec::new();
        for task in &mut self.tasks {
            if let TaskState::Live(token) = std::mem::replace(&mut task.state, TaskState::Failed) {
                closed.push(token);
            }
        }
        vec![Step::Close(closed), Step::Report]
    }

    fn pause(&mut self, n: usize, pause: Millis) -> Vec<Step> {
        self.tasks[n].state = TaskState::Pausing;
        vec![Step::Pause { task: n, pause }]
    }
}
