//! The requests of a miss, a join and a hit. The providers' webhooks are held until every step of a run waits, as with a
//! real provider, whose job takes longer than its submission; so every miss takes the same path, and every join is one.

use fresco_ledger::records::ResultSource;
use fresco_pipeline::ids::RunId;
use serde_json::{Value, json};

use super::counts::Counts;
use super::meter::{Meter, prompt};

/// The steps of the shorter of two runs; the longer has twice as many.
pub(super) const STEPS: usize = 10;
/// The most steps of a group that run at a time, so that all of them can wait together.
pub(super) const SIDE_BY_SIDE: usize = 40;

/// The counts of runs without their steps, and of [`STEPS`] steps.
#[derive(Debug)]
pub(super) struct StepCosts {
    /// A run with a step to generate, its start through the API included.
    pub(super) run: Counts,
    /// Steps that are generated.
    pub(super) misses: Counts,
    /// Steps that join the attempt of another run.
    pub(super) joins: Counts,
    /// A run where everything is cached, its start through the API included.
    pub(super) cached_run: Counts,
    /// Steps that are cached.
    pub(super) hits: Counts,
}

impl Meter {
    /// Counts runs of [`STEPS`] and of twice as many steps: their difference is the steps' part. Times of functions are
    /// taken from a run whose steps run one at a time, since invocations side by side wait for each other on few cores.
    pub(super) async fn step_costs(&self) -> anyhow::Result<StepCosts> {
        let pictures = |set: &str, count| document(count, SIDE_BY_SIDE, |number| prompt(set, number));
        eprintln!("counting misses, joins and hits");
        self.hold_webhooks(true)?;
        self.join(pictures("warm-up", 2 * STEPS)).await?;
        let (once, twice) = (pictures("misses", STEPS), pictures("twice the misses", 2 * STEPS));
        let misses = Line::through(&self.miss(once.clone()).await?, &self.miss(twice.clone()).await?);
        let joined = self.join(pictures("joins", STEPS)).await?;
        let both = Line::through(&joined, &self.join(pictures("twice the joins", 2 * STEPS)).await?);
        self.hold_webhooks(false)?;
        let run = async |document| Ok::<_, anyhow::Error>(self.counted(async || self.run(document).await).await?.1);
        let hits = Line::through(&run(once).await?, &run(twice).await?);
        let alone = run(document(STEPS, 1, |number| prompt("alone", number))).await?;

        let ways = self.transitions;
        // Each step is alone in its lane, and all lanes are in one stage.
        let steps = Counts::of_transitions(ways.step * STEPS as i64);
        Ok(StepCosts {
            run: misses.run.plus(1, &Counts::of_transitions(ways.run + ways.stage)).timed(&alone),
            joins: both.steps.minus(&misses.steps).plus(1, &steps).timed(&alone),
            misses: misses.steps.plus(1, &steps).timed(&alone),
            // One invocation of plan is alone by itself.
            cached_run: hits.run.plus(1, &Counts::of_transitions(ways.cached_run)),
            hits: hits.steps,
        })
    }

    /// Counts a run whose steps are all generated.
    async fn miss(&self, document: String) -> anyhow::Result<Counts> {
        let miss = async || {
            let (run, steps) = self.start_waiting(document, ResultSource::Generated).await?;
            self.release_webhooks(steps).await?;
            self.run_succeeded(&run).await
        };
        Ok(self.counted(miss).await?.1)
    }

    /// Counts two runs, of which the second joins every attempt of the first.
    async fn join(&self, document: String) -> anyhow::Result<Counts> {
        let join = async || {
            let (leader, steps) = self.start_waiting(document.clone(), ResultSource::Generated).await?;
            let (joiner, _) = self.start_waiting(document, ResultSource::Joined).await?;
            self.release_webhooks(steps).await?;
            self.run_succeeded(&leader).await?;
            self.run_succeeded(&joiner).await
        };
        Ok(self.counted(join).await?.1)
    }

    /// Starts a run and waits until all of its steps wait: the run, and the number of its steps.
    async fn start_waiting(&self, document: String, source: ResultSource) -> anyhow::Result<(RunId, usize)> {
        let run = self.tools.start_run(document).await?;
        let steps = self.all_wait(&run, source).await?;
        Ok((run, steps))
    }
}

/// A document of pictures in one group; `prompt` gives each its own, or all the same.
pub(super) fn document(count: usize, workers: usize, prompt: impl Fn(usize) -> String) -> String {
    let step = |number: usize| {
        json!({
            "name": format!("picture_{number}"),
            "type": "text_to_image",
            "model": "flux_schnell",
            "params": {"prompt": prompt(number), "aspect_ratio": "16:9"},
        })
    };
    let steps: Vec<Value> = (1..=count).map(step).collect();
    let group = json!({"type": "parallel_group", "name": "pictures", "max_workers": workers, "steps": steps});
    // JSON is YAML.
    json!({"name": "cost", "steps": [group]}).to_string()
}

/// The line through the counts of two runs, of which one has twice as many steps as the other.
struct Line {
    /// The part of the run without its steps.
    run: Counts,
    /// The part of the steps of the shorter run.
    steps: Counts,
}

impl Line {
    fn through(once: &Counts, twice: &Counts) -> Self {
        let steps = twice.minus(once);
        Line { run: once.minus(&steps), steps }
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::tests::counts;
    use super::*;
    use fresco_cli::api::RunRequest;
    use fresco_pipeline::plan::compile;

    #[test]
    fn a_line_separates_the_run_from_its_steps() {
        // 2 a run and 3 a step; then only by the run; then only by its steps.
        for (run, step) in [(2, 3), (1, 0), (0, 4)] {
            let of = |steps: i64| counts(&[("dynamodb", "GetItem", "R", run + steps * step, 2 * steps, 0)]);
            let line = Line::through(&of(10), &of(20));
            let count = |counts: &Counts| counts.requests_to("dynamodb", |name| name == "GetItem");
            assert_eq!((count(&line.run), count(&line.steps)), (run, 10 * step));
            assert_eq!(line.steps.units(), (20, 0));
        }
    }

    #[test]
    fn each_step_is_alone_in_its_lane_of_one_stage() {
        let document = document(20, SIDE_BY_SIDE, |number| prompt("one", number));
        let plan = compile(&RunRequest::new(document).check().unwrap());
        assert_eq!(plan.stages.iter().map(|stage| stage.lanes.len()).collect::<Vec<_>>(), [20]);
    }
}
