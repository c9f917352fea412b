//! Requests of a miss, a join and a hit. The providers' webhooks are held until every step of a run waits, as on a real
//! provider, where a job takes longer than to submit it; so every miss goes the same way, and every join is one. Time is that of
//! a run whose steps go one after the other: side by side on a few cores, functions mostly wait for each other.

use fresco_engine::RunRequest;
use fresco_ledger::records::ResultSource;
use fresco_pipeline::ids::RunId;
use serde::Serialize;
use serde_json::{Value, json};

use super::counts::{Counts, Line};
use super::prices::Bill;
use super::seed::{ALL, document, prompt};
use super::transitions::Transitions;
use super::{Bench, BenchError, Bills, until};

/// So many steps has the shorter of two runs; the longer has twice as many, and all of them are asked for at once.
const STEPS: usize = 10;

/// Requests of runs, and of [`Steps::count`] steps.
#[derive(Debug, Clone, Serialize)]
pub struct Steps {
    /// How many steps.
    pub count: usize,
    /// State transitions by what causes them.
    pub transitions: Transitions,
    /// A run with something left to do, the client's part included, without its steps.
    pub run: Counts,
    /// So many steps that are generated.
    pub misses: Counts,
    /// So many steps that join an attempt of another run.
    pub joins: Counts,
    /// A run where all is cached, the client's part included, without its steps.
    pub cached_run: Counts,
    /// So many steps that are cached.
    pub hits: Counts,
}

impl Steps {
    pub(super) fn bills(&self) -> Bills {
        Bills {
            run: Bill::of(&self.run),
            misses: Bill::of(&self.misses),
            joins: Bill::of(&self.joins),
            cached_run: Bill::of(&self.cached_run),
            hits: Bill::of(&self.hits),
        }
    }
}

impl Bench {
    pub(super) async fn steps(&self) -> Result<Steps, BenchError> {
        let of = |set: &str, count: usize| document(count, ALL, |number| prompt(set, number));
        self.progress.step("warming up: a run and one that joins it");
        self.hold(true)?;
        self.join(&of("warm", 2 * STEPS)).await?;

        self.progress.step("counting misses");
        let (one, two) = (of("misses", STEPS), of("twice as many misses", 2 * STEPS));
        let misses = Line::through(&self.miss(&one).await?, &self.miss(&two).await?);
        self.progress.step("counting joins");
        let once = self.join(&of("joins", STEPS)).await?;
        let twice = self.join(&of("twice as many joins", 2 * STEPS)).await?;
        let both = Line::through(&once, &twice);
        self.progress.step("counting hits");
        self.hold(false)?;
        let hits = Line::through(&self.run(&one).await?, &self.run(&two).await?);
        let start = self.start_of(&one).await?;
        self.progress.step("timing functions: a run whose steps go one after the other");
        let alone = self.run(&document(STEPS, 1, |number| prompt("alone", number))).await?;

        let count = STEPS as i64;
        let own = |transitions| Counts { transitions, ..Counts::default() };
        let ways = self.transitions;
        // Each step of these documents is alone in its lane, all in one stage.
        let step = own(ways.step * count);
        Ok(Steps {
            count: STEPS,
            transitions: ways,
            run: misses.run.plus(1, &start).plus(1, &own(ways.run + ways.stage)).timed(&alone),
            joins: both.steps.minus(&misses.steps).plus(1, &step).timed(&alone),
            misses: misses.steps.plus(1, &step).timed(&alone),
            cached_run: hits.run.plus(1, &start).plus(1, &own(ways.cached_run)).timed(&alone),
            hits: hits.steps.timed(&alone),
        })
    }

    pub(super) fn hold(&self, webhooks: bool) -> Result<(), BenchError> {
        let mode = if webhooks { "held" } else { "normal" };
        self.stack.control("POST", "settings", &json!({"webhook_mode": mode}))?;
        Ok(())
    }

    /// What the stack is asked for by a run whose steps are all generated.
    async fn miss(&self, request: &RunRequest) -> Result<Counts, BenchError> {
        let before = self.quiet().await?.stack;
        let (run, steps) = self.waiting(request, ResultSource::Generated).await?;
        self.release(steps).await?;
        self.ended(&run).await?;
        Ok(self.quiet().await?.stack.minus(&before).without_start_up())
    }

    /// The same by two runs of which the second joins every step of the first.
    async fn join(&self, request: &RunRequest) -> Result<Counts, BenchError> {
        let before = self.quiet().await?.stack;
        let (leader, steps) = self.waiting(request, ResultSource::Generated).await?;
        let (joiner, _) = self.waiting(request, ResultSource::Joined).await?;
        self.release(steps).await?;
        self.ended(&leader).await?;
        self.ended(&joiner).await?;
        Ok(self.quiet().await?.stack.minus(&before).without_start_up())
    }

    /// The same by a run that nothing holds up.
    async fn run(&self, request: &RunRequest) -> Result<Counts, BenchError> {
        let before = self.quiet().await?.stack;
        let run = self.begin(request).await?;
        self.ended(&run).await?;
        Ok(self.quiet().await?.stack.minus(&before).without_start_up())
    }

    /// What a client asks for to start a run. It is one of hits, which costs nothing.
    async fn start_of(&self, request: &RunRequest) -> Result<Counts, BenchError> {
        let before = self.seen()?.clients;
        let run = self.begin(request).await?;
        let after = self.seen()?.clients;
        self.ended(&run).await?;
        Ok(after.minus(&before))
    }

    /// Starts a run and waits until all of its steps wait: the run, and how many they are.
    async fn waiting(&self, request: &RunRequest, source: ResultSource) -> Result<(RunId, usize), BenchError> {
        let run = self.begin(request).await?;
        let steps = self.all_wait(&run, source).await?;
        Ok((run, steps))
    }

    /// Waits until all steps of a run wait: how many they are.
    pub(super) async fn all_wait(&self, run: &RunId, source: ResultSource) -> Result<usize, BenchError> {
        let steps = until("steps that wait", async || {
            let (row, steps) = self.admin.status(run).await?;
            let waiting = steps.iter().filter(|step| step.source == Some(source)).count();
            // Of a plan that is not written yet, some steps may be there.
            Ok((row.steps > 0 && waiting == steps.len()).then_some(waiting))
        })
        .await?;
        // A joining step notes first where its result will come from, and then that it has joined.
        self.quiet().await?;
        Ok(steps)
    }

    /// Lets go of that many webhooks.
    pub(super) async fn release(&self, webhooks: usize) -> Result<(), BenchError> {
        let mut released = 0;
        until("a webhook for every step", async || {
            let answer = self.stack.control("POST", "webhooks/release", &Value::Null)?;
            released += answer["released"].as_u64().unwrap_or(0) as usize;
            Ok((released >= webhooks).then_some(()))
        })
        .await
    }
}
