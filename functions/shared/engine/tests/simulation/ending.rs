//! The end of a function, by itself or cut off: its retries, and what depends on its outcome.

use std::pin::Pin;

use fresco_api_types::{CleanTotals, StopView};
use fresco_engine::{ClosedRun, WebhookOutcome, WebhookRefused, WorkList};
use fresco_ledger::records::{Millis, StepId};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};

use crate::execution::Phase;
use crate::invariants;
use crate::scheduler::{Scheduler, Timer};
use crate::world::{brief, short};

/// How often a function that is invoked asynchronously is retried.
const ASYNC_RETRIES: u32 = 2;
/// How often the provider delivers a refused webhook again.
const REDELIVERIES: u32 = 10;
/// How often the state machine and Lambda retry report.
const REPORT_RETRIES: u32 = 7;
/// How often the state machine retries plan.
const PLAN_RETRIES: u32 = 5;

/// A function under way and its event.
pub(crate) enum What {
    Plan { execution: usize },
    Generate { execution: usize, step_id: StepId, token: String },
    Collect { key: ContentKey, attempt: Attempt, tries: u32 },
    Webhook { job: usize, tries: u32 },
    Sweep,
    Stop,
    Prune,
    Report { execution: usize, tries: u32 },
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            What::Plan { execution } => write!(f, "plan of run {execution}"),
            What::Generate { step_id, token, .. } => write!(f, "generate {} under {token}", short(step_id)),
            What::Collect { key, attempt, tries } => write!(f, "collect {} {attempt}, call {tries}", brief(key)),
            What::Webhook { job, tries } => write!(f, "webhook of job-{job}, delivery {tries}"),
            What::Sweep => write!(f, "sweep"),
            What::Stop => write!(f, "stop"),
            What::Prune => write!(f, "prune"),
            What::Report { execution, tries } => write!(f, "report of run {execution}, call {tries}"),
        }
    }
}

/// The outcome of a function.
pub(crate) enum End {
    Planned(Result<WorkList, Failure>),
    Worked(Result<(), Failure>),
    Received(Result<WebhookOutcome, WebhookRefused>),
    Reported(Result<ClosedRun, Failure>),
    Stopped(Result<StopView, Failure>),
    Pruned(Result<CleanTotals, Failure>),
}

/// A function under way.
pub(crate) struct Actor {
    pub(crate) id: usize,
    pub(crate) what: What,
    pub(crate) started: Millis,
    pub(crate) future: Pin<Box<dyn Future<Output = End> + Send>>,
}

impl Scheduler {
    pub(crate) fn ended(&mut self, what: What, end: End) {
        match (what, end) {
            (What::Plan { execution }, End::Planned(Ok(work))) => self.plan_ended(execution, &work),
            (What::Plan { execution }, End::Planned(Err(cause))) => self.plan_again(execution, cause),
            (What::Generate { execution, token, .. }, End::Worked(Ok(()))) => {
                if let Some(task) = self.executions[execution].task_of(&token) {
                    self.executions[execution].tasks[task].returned = true;
                }
            }
            (What::Generate { execution, token, .. }, End::Worked(Err(cause))) => {
                self.generate_failed(execution, &token, cause);
            }
            (What::Collect { key, attempt, tries }, End::Worked(Err(_))) => self.collect_again(key, attempt, tries),
            (What::Webhook { job, tries }, End::Received(received)) => match received {
                Ok(WebhookOutcome::HandedOver) => self.world.state().jobs[job].reported = true,
                Ok(WebhookOutcome::Nothing) => self.world.count("webhook for nothing"),
                Err(WebhookRefused::Later(_)) => self.deliver_again(job, tries),
                Err(refused) => {
                    self.world.count("webhook refused");
                    invariants::genuine_refused(&self.world, job, &refused);
                }
            },
            (What::Stop, End::Stopped(Ok(stopped))) if stopped.was_running => {
                self.world.count("stopped");
                if stopped.cancelled > 0 {
                    self.world.count("cancellation asked for");
                }
            }
            (What::Prune, End::Pruned(Ok(cleaned))) => {
                for (what, objects) in
                    [("cleaned", cleaned.removed.objects), ("kept for a run", cleaned.in_use.objects)]
                {
                    if objects > 0 {
                        self.world.count(what);
                    }
                }
            }
            (What::Report { execution, .. }, End::Reported(Ok(_))) => self.executions[execution].phase = Phase::Closed,
            (What::Report { execution, tries }, End::Reported(Err(_))) => self.report_again(execution, tries),
            _ => {}
        }
    }

    fn plan_ended(&mut self, execution: usize, work: &WorkList) {
        if self.executions[execution].phase == Phase::Planning {
            self.executions[execution].planned(work);
            self.proceed(execution);
        }
    }

    /// A function's error fails its task, if the task still waits under its token.
    fn generate_failed(&mut self, execution: usize, token: &str, cause: Failure) {
        if !self.close(execution, token) {
            return;
        }
        let task = self.executions[execution].task_of(token).expect("it was just closed");
        let follows = self.executions[execution].failed(task, cause, &mut self.world.state().rng);
        self.follow(execution, follows);
        self.proceed(execution);
    }

    /// Drops an actor where it is.
    pub(crate) fn cut(&mut self, n: usize, why: &str) {
        let actor = self.actors.swap_remove(n);
        self.world.state().actor = actor.id;
        self.world.note(|| format!("{} {why}", actor.what));
        self.world.count("crash");
        drop(actor.future);
        match actor.what {
            What::Plan { execution } => {
                self.plan_again(execution, Failure::new(ErrorName::LedgerUnavailable, "plan crashed"))
            }
            What::Generate { execution, token, .. } => self.generate_lost(execution, &token),
            What::Collect { key, attempt, tries } => self.collect_again(key, attempt, tries),
            What::Webhook { job, tries } => self.deliver_again(job, tries),
            // The caller of a stop learns that it failed, and may repeat it; the flag may be set. A clean-up that broke
            // off is repeated by its caller.
            What::Sweep | What::Stop | What::Prune => {}
            What::Report { execution, tries } => self.report_again(execution, tries),
        }
    }

    /// The state machine does not hear of it (the nudge does), tries again, or takes it for the step's end.
    fn generate_lost(&mut self, execution: usize, token: &str) {
        let heard = self.world.state().rng.below(6);
        if heard < 3 || !self.close(execution, token) {
            return;
        }
        let Some(task) = self.executions[execution].task_of(token) else { return };
        let follows = if heard < 5 {
            self.executions[execution].not_served(task, &mut self.world.state().rng)
        } else {
            self.executions[execution].give_up(task, Failure::new(ErrorName::Internal, "Runtime.ExitError"))
        };
        self.follow(execution, follows);
        self.proceed(execution);
    }

    /// Makes the token of a live task invalid; whether it was valid.
    fn close(&mut self, execution: usize, token: &str) -> bool {
        let live = self.executions[execution].task_of(token).is_some() && self.world.services.is_open(token);
        if live {
            self.world.services.close_token(token);
        }
        live
    }

    fn plan_again(&mut self, execution: usize, cause: Failure) {
        let run = &mut self.executions[execution];
        if run.phase != Phase::Planning {
            return;
        }
        run.plans += 1;
        if cause.name.is_retryable() && run.plans <= PLAN_RETRIES {
            return self.at(1_000, Timer::Plan(execution));
        }
        let follows = run.over(cause);
        self.follow(execution, follows);
    }

    fn collect_again(&mut self, key: ContentKey, attempt: Attempt, tries: u32) {
        if tries < ASYNC_RETRIES {
            let pause = 60_000 * i64::from(tries + 1);
            return self.at(pause, Timer::Collect { key, attempt, tries: tries + 1 });
        }
        self.world.count("collect dropped");
        self.world.note(|| format!("collect {} {attempt} DROPPED", brief(&key)));
    }

    fn deliver_again(&mut self, job: usize, tries: u32) {
        if tries < REDELIVERIES {
            self.at(15_000 * i64::from(tries + 1), Timer::Deliver { job, tries: tries + 1 });
        }
    }

    /// The state machine calls it, and then the execution's status event does. After the last time only the sweep is left.
    fn report_again(&mut self, execution: usize, tries: u32) {
        if tries >= REPORT_RETRIES || self.world.harm(6) {
            return self.world.count("report dropped");
        }
        self.at(1_000 * i64::from(tries + 1), Timer::Report { execution, tries: tries + 1 });
    }
}
