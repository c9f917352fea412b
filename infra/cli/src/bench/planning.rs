//! Planning and looking up: a run of so many steps that are all cached, which plan closes itself.

use serde::Serialize;

use super::counts::{Calls, Counts};
use super::seed::{ALL, document, prompt};
use super::{Bench, BenchError};

/// Runs of which the middle one counts; fewer where one takes long.
const RUNS: usize = 5;
const LONG_RUNS: usize = 3;
const LONG: usize = 1_000;

/// A run of cached steps. Times are those of the middle one of several runs.
#[derive(Debug, Clone, Serialize)]
pub struct Planning {
    /// How many steps.
    pub steps: usize,
    /// How many runs.
    pub runs: usize,
    /// From the run's record to its end, in milliseconds.
    pub run_ms: i64,
    /// The plan function's own time in milliseconds.
    pub plan_ms: i64,
    /// What one run asked for, the client's part apart.
    pub requests: Counts,
}

impl Bench {
    pub(super) async fn planning(&self, steps: usize) -> Result<Planning, BenchError> {
        self.progress.step(format!("filling the cache with {steps} results, and planning runs of them"));
        let request = document(steps, ALL, |number| prompt(&format!("planning {steps}"), number));
        self.cache(&request).await?;
        let runs = if steps >= LONG { LONG_RUNS } else { RUNS };
        let (mut run_ms, mut plan_ms, mut requests) = (Vec::new(), Vec::new(), Counts::default());
        for _ in 0..runs {
            let before = self.quiet().await?.stack;
            let run = self.begin(&request).await?;
            let row = self.ended(&run).await?;
            requests = self.quiet().await?.stack.minus(&before).without_start_up();
            run_ms.push(row.ended_at.unwrap_or(row.created_at) - row.created_at);
            plan_ms.push(requests.functions.get("plan").map_or(0, |calls| calls.ms));
            if requests.functions.len() != 1 {
                return Err(BenchError::Unexpected("a run of cached steps called another function than plan"));
            }
        }
        requests.transitions = self.transitions.cached_run;
        Ok(Planning { steps, runs, run_ms: middle(run_ms), plan_ms: middle(plan_ms), requests })
    }
}

/// The time of so many hits: how much longer plan takes for many of them than for one.
pub(super) fn time_of_hits(planning: &[Planning], hits: usize) -> Option<Calls> {
    let (first, last) = planning.first().zip(planning.last()).filter(|(first, last)| last.steps > first.steps)?;
    let plan = last.requests.functions.get("plan").filter(|plan| plan.ms > 0)?;
    let more = (last.plan_ms - first.plan_ms) * hits as i64;
    let ms = more / (last.steps - first.steps) as i64;
    let mb_ms = more * (plan.mb_ms / plan.ms) / (last.steps - first.steps) as i64;
    Some(Calls { count: 0, ms, mb_ms })
}

fn middle(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        assert_eq!(middle(vec![9, 1, 5]), 5);
        assert_eq!(middle(Vec::new()), 0);
    }

    #[test]
    fn hits_take_what_many_take_longer() {
        let planning = |steps, plan_ms| {
            let plan = Calls { count: 1, ms: plan_ms, mb_ms: plan_ms * 256 };
            let requests = Counts { functions: [("plan".to_owned(), plan)].into(), ..Counts::default() };
            Planning { steps, runs: 1, run_ms: 0, plan_ms, requests }
        };
        let hits = time_of_hits(&[planning(1, 50), planning(1_001, 2_050)], 10);
        assert_eq!(hits, Some(Calls { count: 0, ms: 20, mb_ms: 20 * 256 }));
        assert_eq!(time_of_hits(&[planning(1, 50)], 10), None);
    }
}
