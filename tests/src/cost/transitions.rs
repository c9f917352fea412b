//! State transitions of runs and batches, computed from the definitions of the state machines. AWS bills one for each state
//! that is entered, those within maps included, and one for each retry. The path is the one of a run in which all succeeds.

use anyhow::Context;
use serde_json::Value;

/// Longer than any path without a loop.
const MAX_PATH: i64 = 100;
/// The choice that ends a run where everything is cached.
const ALL_CACHED: &str = "AllThere";

/// State transitions by their cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transitions {
    /// A run where everything is cached.
    pub(crate) cached_run: i64,
    /// A run with a step to generate, without its stages.
    pub(crate) run: i64,
    /// A stage, without its lanes.
    pub(crate) stage: i64,
    /// A step that is not nudged, alone in its lane.
    pub(crate) step: i64,
    /// A batch, without its chunks.
    pub(crate) batch: i64,
    /// A chunk of a batch, without its run.
    pub(crate) chunk: i64,
}

impl Transitions {
    /// Reads the definitions `run.asl.json` and `batch.asl.json`.
    pub(crate) fn of(run: &Value, batch: &Value) -> anyhow::Result<Self> {
        Self::read(run, batch).context("a state machine is not built of chunks, stages, lanes and steps as expected")
    }

    fn read(run: &Value, batch: &Value) -> Option<Self> {
        let stages = run.pointer("/States/Stages/ItemProcessor")?;
        let single_steps = stages.pointer("/States/Ones/ItemProcessor")?;
        let chunks = batch.pointer("/States/Chunks/ItemProcessor")?;
        Some(Transitions {
            cached_run: path(run, true)?,
            run: path(run, false)?,
            stage: path(stages, false)?,
            step: path(single_steps, false)?,
            batch: path(batch, false)?,
            chunk: path(chunks, false)?,
        })
    }

    /// A batch whose chunks have one stage each, and whose rows are one step each.
    pub(crate) fn of_batch(self, rows: i64, chunks: i64, cached: bool) -> i64 {
        let runs = match cached {
            true => chunks * self.cached_run,
            false => chunks * (self.run + self.stage) + rows * self.step,
        };
        self.batch + chunks * self.chunk + runs
    }
}

/// Counts the states from the first to the last. The first branch of a choice is the one of success, except at
/// [`ALL_CACHED`].
fn path(machine: &Value, cached: bool) -> Option<i64> {
    let mut name = machine["StartAt"].as_str()?;
    for entered in 1..=MAX_PATH {
        let state = machine["States"].get(name)?;
        if state["End"] == true || matches!(state["Type"].as_str(), Some("Fail" | "Succeed")) {
            return Some(entered);
        }
        name = match state["Type"].as_str() {
            Some("Choice") if name == ALL_CACHED && !cached => state["Default"].as_str()?,
            Some("Choice") => state["Choices"][0]["Next"].as_str()?,
            _ => state["Next"].as_str()?,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_deployed_state_machines() {
        let run: Value = serde_json::from_str(include_str!("../../../infra/run.asl.json")).unwrap();
        let batch: Value = serde_json::from_str(include_str!("../../../infra/batch.asl.json")).unwrap();
        // Plan, AllThere, NothingToDo; or Plan, AllThere, Stages, Report, HowItEnded, Ended.
        // Shape, and Ones or Lanes. Of batches Plan, Chunks, Finish; and of each chunk Chunk and Pause.
        let expected = Transitions { cached_run: 3, run: 6, stage: 2, step: 1, batch: 3, chunk: 2 };
        assert_eq!(Transitions::of(&run, &batch).unwrap(), expected);
        assert_eq!(expected.of_batch(100, 10, false), 3 + 10 * (2 + 6 + 2) + 100);
        assert_eq!(expected.of_batch(100, 10, true), 3 + 10 * (2 + 3));
    }

    #[test]
    fn a_loop_has_no_length() {
        let machine = serde_json::json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}});
        assert_eq!(path(&machine, true), None);
    }
}
