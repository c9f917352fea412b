//! Chooses the next actor. Actors are functions under way, polled by hand in an order that chance chooses, and dropped where chance
//! says so; timers are everything that happens at a time: retries, nudges, webhooks, sweeps, stops.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fresco_engine::{Engine, PruneOptions, StartError};
use fresco_ledger::records::Millis;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};

use crate::ending::{Actor, End, What};
use crate::execution::{Execution, Phase, Step, TaskState};
use crate::forge::{alone, forge, route_of};
use crate::invariants;
use crate::platform::Sim;
use crate::scenario::{RunPlan, runs};
use crate::world::{Answer, Mutant, World};

/// A history that takes more choices than this never ends.
const MOST_STEPS: usize = 60_000;
pub(crate) enum Timer {
    Start(usize),
    Stop { run: RunId, abort: bool },
    Plan(usize),
    Nudge { execution: usize, token: String },
    Again { execution: usize, task: usize },
    Report { execution: usize, tries: u32 },
    Deliver { job: usize, tries: u32 },
    Collect { key: ContentKey, attempt: Attempt, tries: u32 },
    Sweep,
    Prune { older_than: Millis },
}

pub(crate) struct Scheduler {
    pub(crate) world: Arc<World>,
    pub(crate) engine: Arc<Engine<Sim>>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) steps: usize,
    plans: Vec<RunPlan>,
    pub(crate) actors: Vec<Actor>,
    timers: Vec<(Millis, Timer)>,
    next_actor: usize,
    next_token: usize,
    hooked: usize,
    swept_at: Millis,
}

impl Scheduler {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let world = Arc::new(World::new(seed, mutant, traced));
        let engine = Arc::new(Engine::new(Sim(world.clone()), world.knobs.settings()));
        let now = world.now();
        let plans = runs(&world.knobs, &mut world.state().rng, now);
        let mut timers: Vec<(Millis, Timer)> =
            plans.iter().enumerate().map(|(n, plan)| (plan.starts_at, Timer::Start(n))).collect();
        for _ in 0..world.knobs.cleans {
            let rng = &mut world.state().rng;
            // Within an hour of a run's start as often as at any other time.
            let start = plans[rng.below(plans.len())].starts_at;
            let at = if rng.one_in(2) {
                start + rng.between(0, 3_600_000)
            } else {
                now + rng.between(0, world.knobs.spread)
            };
            timers.push((at, Timer::Prune { older_than: *rng.pick(&[0, 3_600_000, 86_400_000]) }));
        }
        world.note(|| format!("{:?}", world.knobs));
        Scheduler {
            world,
            engine,
            executions: Vec::new(),
            steps: 0,
            plans,
            actors: Vec::new(),
            timers,
            next_actor: 1,
            next_token: 1,
            hooked: 0,
            swept_at: 0,
        }
    }

    /// The whole history, until nothing is left to happen or a guarantee is broken.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while self.world.state().broken.is_none() {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.world.broken(|| "it never comes to rest".to_owned());
                break;
            }
            if self.steps == self.world.knobs.chaos_steps {
                self.world.note(|| "the world is fair from here".to_owned());
                self.world.state().chaos = false;
            }
            self.settle();
            if !self.choose() {
                invariants::at_rest(&self.world, &self.executions);
                break;
            }
        }
        match self.world.state().broken.clone() {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }

    /// What follows immediately: hand-overs, answers, webhooks of new jobs, the next sweep.
    fn settle(&mut self) {
        for (key, attempt) in self.world.services.take_invocations() {
            let (twice, delay) = {
                let mut state = self.world.state();
                let delay = if state.rng.percent(80) { 0 } else { state.rng.between(0, 60_000) };
                (state.chaos && state.rng.one_in(10), delay)
            };
            for _ in 0..1 + usize::from(twice) {
                self.at(delay, Timer::Collect { key: key.clone(), attempt, tries: 0 });
            }
        }
        for run in self.world.services.take_closed() {
            let execution = self.executions.iter().position(|execution| execution.run == run).expect("it was recorded");
            self.world.count("closed by its bound");
            let cause = Failure::new(ErrorName::StepTimedOut, "the run did not end within its bound");
            self.executions[execution].cause.get_or_insert(cause);
            // Plan may be running, and write steps that never start.
            self.executions[execution].unplanned |= self.executions[execution].phase == Phase::Planning;
            self.at(0, Timer::Report { execution, tries: 0 });
        }
        let answers = std::mem::take(&mut self.world.state().answers);
        for (token, answer) in answers {
            let found = self.executions.iter().enumerate().find_map(|(n, e)| e.task_of(&token).map(|task| (n, task)));
            let Some((n, task)) = found else { continue };
            let follows = match answer {
                Answer::Done => {
                    self.executions[n].succeeded(task);
                    Vec::new()
                }
                Answer::Failed(cause) => self.executions[n].failed(task, cause, &mut self.world.state().rng),
                Answer::RetryIn(seconds) => self.executions[n].retry_in(task, seconds),
            };
            self.follow(n, follows);
            self.proceed(n);
        }
        let hooks: Vec<(usize, Millis)> = {
            let state = self.world.state();
            let new = state.jobs.iter().enumerate().skip(self.hooked);
            new.flat_map(|(n, job)| job.hooks.iter().map(move |at| (n, *at))).collect()
        };
        self.hooked = self.world.state().jobs.len();
        self.timers.extend(hooks.into_iter().map(|(job, at)| (at, Timer::Deliver { job, tries: 0 })));
        if !self.timers.iter().any(|(_, timer)| matches!(timer, Timer::Sweep))
            && let Some(due) = self.next_check()
        {
            // A sweep that would find nothing is left out.
            self.timers.push((due.max(self.swept_at + 60_000), Timer::Sweep));
        }
    }

    /// The time of the first check that the sweep has to carry out.
    fn next_check(&self) -> Option<Millis> {
        let entries = self.world.ledger.all_entries().into_iter().filter_map(|entry| entry.next_check_at);
        entries.chain(self.world.ledger.all_run_checks()).min()
    }

    /// One choice: an actor goes on or is cut off, a timer fires, or time passes. `false`: nothing is left.
    fn choose(&mut self) -> bool {
        let now = self.world.now();
        let due: Vec<usize> = (0..self.timers.len()).filter(|&n| self.timers[n].0 <= now).collect();
        if self.actors.is_empty() && due.is_empty() {
            invariants::at_idle(&self.world, &self.executions);
            let Some(next) = self.timers.iter().map(|(at, _)| *at).min() else { return false };
            self.pass(next);
            return true;
        }
        let next = self.timers.iter().map(|(at, _)| *at - now).filter(|&by| by > 0).min().unwrap_or(0);
        let damages;
        let (jump, forges, pick) = {
            let mut state = self.world.state();
            let jump =
                (state.chaos && state.rng.one_in(self.world.knobs.jump_one_in)).then(|| match state.rng.below(10) {
                    _ if state.rng.percent(self.world.knobs.meet_percent) => next.min(60_000),
                    0..6 => state.rng.between(1_000, 30_000),
                    6..9 => state.rng.between(30_000, 600_000),
                    _ => state.rng.between(600_000, 7_200_000),
                });
            let forges = state.chaos && state.rng.one_in(150);
            damages = state.chaos && state.rng.one_in(self.world.knobs.damage_one_in);
            (jump, forges, state.rng.below(4 * self.actors.len() + due.len()))
        };
        if let Some(by) = jump {
            self.pass(now + by);
        } else if damages {
            self.damage();
        } else if forges {
            forge(&self.world, &self.engine);
        } else if pick < 4 * self.actors.len() {
            self.step(pick / 4);
        } else {
            let (_, timer) = self.timers.swap_remove(due[pick - 4 * self.actors.len()]);
            self.fire(timer);
        }
        true
    }

    /// Time passes. A function does not outlive its timeout by more than the skew of clocks.
    fn pass(&mut self, until: Millis) {
        let longest = self.engine.settings.function_timeout + self.world.knobs.overrun;
        self.world.clock.set(until.max(self.world.now()));
        while let Some(n) = self.actors.iter().position(|actor| self.world.now() - actor.started > longest) {
            self.cut(n, "timed out");
        }
        let life = self.engine.settings.object_life();
        for (key, object) in self.world.services.all_objects() {
            if key.starts_with("outputs/") && object.modified_at + life <= self.world.now() {
                self.world.services.delete_object(&key);
            }
        }
    }

    fn step(&mut self, n: usize) {
        if self.world.harm(self.world.knobs.crash_one_in) {
            return self.cut(n, "crashed");
        }
        self.world.state().actor = self.actors[n].id;
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(end) = self.actors[n].future.as_mut().poll(&mut context) {
            let actor = self.actors.swap_remove(n);
            self.ended(actor.what, end);
        }
    }

    pub(crate) fn at(&mut self, pause: Millis, timer: Timer) {
        self.timers.push((self.world.now() + pause, timer));
    }

    fn spawn(&mut self, what: What, future: impl Future<Output = End> + Send + 'static) {
        let id = self.next_actor;
        self.next_actor += 1;
        self.world.state().actor = id;
        self.world.note(|| format!("BEGINS {what}"));
        self.actors.push(Actor { id, what, started: self.world.now(), future: Box::pin(future) });
    }

    fn fire(&mut self, timer: Timer) {
        let engine = self.engine.clone();
        match timer {
            Timer::Start(n) => self.start(n),
            Timer::Plan(execution) => self.plan(execution),
            Timer::Stop { run, abort } => self.stop(&run, abort),
            Timer::Nudge { execution, token } => {
                let Some(task) = self.executions[execution].task_of(&token) else { return };
                if self.world.services.is_open(&token) {
                    self.world.services.close_token(&token);
                    self.world.count("nudge");
                    let follows = self.executions[execution].timed_out(task);
                    self.follow(execution, follows);
                    self.proceed(execution);
                }
            }
            Timer::Again { execution, task } => {
                if self.executions[execution].tasks[task].state == TaskState::Pausing {
                    let token = self.token();
                    let follows = self.executions[execution].begin(task, token);
                    self.follow(execution, vec![follows]);
                }
            }
            Timer::Report { execution, tries } => {
                let (run, cause) = (self.executions[execution].run.clone(), self.executions[execution].cause.clone());
                self.spawn(What::Report { execution, tries }, async move {
                    End::Reported(engine.runs.close(&run, cause).await)
                });
            }
            Timer::Collect { key, attempt, tries } => {
                let what = What::Collect { key: key.clone(), attempt, tries };
                self.spawn(what, async move { End::Worked(engine.collector.collect(&key, attempt).await) });
            }
            Timer::Deliver { job: n, tries } => {
                let (job, unread) = {
                    let mut state = self.world.state();
                    (state.jobs[n].clone(), state.rng.one_in(6))
                };
                let Some(route) = job.webhook_url.as_deref().and_then(route_of) else { return };
                let body = job.webhook_body(unread);
                let what = What::Webhook { job: n, tries };
                self.spawn(what, async move { End::Received(engine.webhooks.receive(&route, Vec::new(), body).await) });
            }
            Timer::Prune { older_than } => {
                let which = PruneOptions { older_than, dry_run: false };
                let far = tokio::time::Instant::now() + std::time::Duration::from_secs(86_400);
                self.spawn(What::Prune, async move {
                    End::Pruned(engine.upkeep.prune(which, "", far).await.map(|(totals, _)| totals))
                });
            }
            Timer::Sweep => {
                self.swept_at = self.world.now();
                self.spawn(What::Sweep, async move { End::Worked(engine.upkeep.sweep().await.map(drop)) });
            }
        }
    }

    /// A row of the ledger is damaged. What it held as a result is gone.
    fn damage(&mut self) {
        let entries = self.world.ledger.all_entries();
        if entries.is_empty() {
            return;
        }
        let entry = &entries[self.world.state().rng.below(entries.len())];
        self.world.ledger.damage_entry(&entry.key);
        self.world.note(|| format!("DAMAGE {}", crate::world::brief(&entry.key)));
        self.world.count("damaged");
        *self.world.state().expired.entry(entry.key.clone()).or_default() += 1;
    }

    fn start(&mut self, n: usize) {
        let request = self.plans[n].request.clone();
        let engine = self.engine.clone();
        let recorded = alone(&self.world, async move { engine.intake.record_run(&request).await });
        let run = match recorded {
            Ok(run) => run,
            Err(StartError::Document(problems)) => panic!("the scenario's document is wrong: {problems}"),
            Err(error @ (StartError::Invalid(_) | StartError::OtherRequest)) => {
                panic!("no run here is ordered: {error}")
            }
            Err(StartError::Failed(cause)) => panic!("nothing fails here: {cause}"),
        };
        let row = self.world.ledger.all_runs().into_iter().find(|row| row.id == run).expect("it was recorded");
        self.world.state().budgets.insert(run.clone(), row.remaining);
        if let Some((at, abort)) = self.plans[n].stop {
            self.timers.push((at.max(self.world.now()), Timer::Stop { run: run.clone(), abort }));
        }
        self.world.count("run");
        self.executions.push(Execution::new(run));
        if self.world.harm(10) {
            // The process ended between the record and the start of the execution, and its caller does not come again.
            return self.world.count("never started");
        }
        self.plan(self.executions.len() - 1);
    }

    fn plan(&mut self, execution: usize) {
        let (engine, run) = (self.engine.clone(), self.executions[execution].run.clone());
        self.spawn(What::Plan { execution }, async move { End::Planned(engine.planner.plan(&run).await) });
    }

    fn stop(&mut self, run: &RunId, abort: bool) {
        let (engine, id) = (self.engine.clone(), run.clone());
        self.world.note(|| format!("STOP {run} abort {abort}"));
        self.spawn(What::Stop, async move { End::Stopped(engine.runs.stop(&id).await) });
        let n = self.executions.iter().position(|e| e.run == *run).expect("it has started");
        if abort {
            let follows =
                self.executions[n].over(Failure::new(ErrorName::RunStopped, "its execution ended as ABORTED"));
            self.follow(n, follows);
        }
    }

    fn token(&mut self) -> String {
        self.next_token += 1;
        format!("task-{}", self.next_token - 1)
    }

    pub(crate) fn proceed(&mut self, n: usize) {
        let mut next = self.next_token;
        let follows = self.executions[n].advance(|| {
            next += 1;
            format!("task-{}", next - 1)
        });
        self.next_token = next;
        self.follow(n, follows);
    }

    pub(crate) fn follow(&mut self, execution: usize, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Begin { task, call, timeout } => {
                    let step_id = self.executions[execution].step_id(task);
                    let same = |actor: &Actor| matches!(&actor.what, What::Generate { step_id: other, .. } if *other == step_id);
                    let overlapped = self.actors.iter().any(same);
                    self.executions[execution].tasks[task].overlapped = overlapped;
                    self.world.services.open_token(&call.token);
                    self.at(timeout, Timer::Nudge { execution, token: call.token.clone() });
                    let what = What::Generate { execution, step_id, token: call.token.clone() };
                    let engine = self.engine.clone();
                    self.spawn(what, async move { End::Worked(engine.steps.generate(&call).await) });
                }
                Step::Pause { task, pause } => self.at(pause, Timer::Again { execution, task }),
                Step::Close(tokens) => tokens.iter().for_each(|token| self.world.services.close_token(token)),
                Step::Report => self.at(0, Timer::Report { execution, tries: 0 }),
            }
        }
    }
}
