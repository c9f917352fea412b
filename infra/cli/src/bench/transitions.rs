//! How many state transitions a run has, computed from the state machines' definitions: AWS bills one for each state that is
//! entered, those within maps included, and one for each retry. The way taken is the one of a run in which all goes well.

use serde::Serialize;
use serde_json::Value;

/// Longer than any way without a loop.
const MOST: i64 = 100;
/// The choice that ends a run where everything is cached.
const ALL_THERE: &str = "AllThere";

/// Transitions by what causes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transitions {
    /// A run where all is cached.
    pub cached_run: i64,
    /// A run with something left to do, without its stages.
    pub run: i64,
    /// A stage, without its lanes.
    pub stage: i64,
    /// A lane, without its steps, of a stage whose lanes are not all of one step.
    pub lane: i64,
    /// A step that is not nudged.
    pub step: i64,
}

impl Transitions {
    /// Those of this definition; `None` if it is not built of stages, lanes and steps, or a step costs more alone in its lane.
    pub fn of(machine: &Value) -> Option<Self> {
        let stages = machine.pointer("/States/Stages/ItemProcessor")?;
        let lanes = stages.pointer("/States/Lanes/ItemProcessor")?;
        let steps = lanes.pointer("/States/Steps/ItemProcessor")?;
        let ones = stages.pointer("/States/Ones/ItemProcessor")?;
        let step = way(steps, false)?;
        (way(ones, false)? == step).then_some(Transitions {
            cached_run: way(machine, true)?,
            run: way(machine, false)?,
            stage: way(stages, false)?,
            lane: way(lanes, false)?,
            step,
        })
    }
}

/// Transitions of a batch's own machine, besides those of its chunks' runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchTransitions {
    /// A batch, without its chunks.
    pub batch: i64,
    /// A chunk: the child of the map that starts its run.
    pub chunk: i64,
}

impl BatchTransitions {
    /// Those of this definition; `None` if it has no map of chunks.
    pub fn of(machine: &Value) -> Option<Self> {
        let chunks = machine.pointer("/States/Chunks/ItemProcessor")?;
        Some(BatchTransitions { batch: way(machine, false)?, chunk: way(chunks, false)? })
    }
}

/// States from the first to the last one. The first branch of a choice is the one of success, but for [`ALL_THERE`].
fn way(machine: &Value, all_there: bool) -> Option<i64> {
    let mut name = machine["StartAt"].as_str()?;
    for entered in 1..=MOST {
        let state = machine["States"].get(name)?;
        if state["End"] == true || matches!(state["Type"].as_str(), Some("Fail" | "Succeed")) {
            return Some(entered);
        }
        name = match state["Type"].as_str() {
            Some("Choice") if name == ALL_THERE && !all_there => state["Default"].as_str()?,
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
    fn of_the_state_machine_that_is_deployed() {
        let machine: Value = serde_json::from_str(include_str!("../../../run.asl.json")).unwrap();
        // Plan, AllThere, NothingToDo; or Plan, AllThere, Stages, Report, HowItEnded, Ended.
        // Shape, and Ones or Lanes.
        let expected = Transitions { cached_run: 3, run: 6, stage: 2, lane: 1, step: 1 };
        assert_eq!(Transitions::of(&machine), Some(expected));
    }

    #[test]
    fn of_the_machine_of_batches() {
        let machine: Value = serde_json::from_str(include_str!("../../../batch.asl.json")).unwrap();
        // Plan, Chunks, Finish; and of each chunk Chunk and Pause.
        assert_eq!(BatchTransitions::of(&machine), Some(BatchTransitions { batch: 3, chunk: 2 }));
    }

    #[test]
    fn a_loop_has_no_length() {
        let machine = serde_json::json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}});
        assert_eq!(way(&machine, true), None);
    }
}
