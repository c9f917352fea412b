//! batch: plans a batch (its rows are cut into chunks, each of which is a run), and closes it. It is called by the state machine,
//! and by the status-change event of an execution that was aborted, timed out or failed.

use std::process::ExitCode;

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use serde::{Deserialize, Serialize};

/// Either way in.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    State {
        phase: Phase,
        batch_id: RunId,
        #[serde(default)]
        error: String,
        #[serde(default)]
        cause: String,
    },
    Event {
        detail: Detail,
    },
    /// From a function that finds the batch's execution of this generation over, and the batch still open.
    Left {
        batch_id: RunId,
        left_in: u32,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Plan,
    Finish,
}

/// Of `Step Functions Execution Status Change`. The execution's name is the batch's id, and after a point the number of
/// its redrives.
#[derive(Deserialize)]
struct Detail {
    name: String,
    status: String,
}

impl Detail {
    fn batch(&self) -> Result<(RunId, u32), Failure> {
        let (id, generation) = self.name.split_once('.').unwrap_or((&self.name, "0"));
        let unread = |why: String| Failure::new(ErrorName::Internal, why);
        let generation = generation.parse().map_err(|_| unread(format!("{} is no batch's execution", self.name)))?;
        Ok((RunId::parse(id).map_err(|error| unread(error.to_string()))?, generation))
    }
}

/// What the state machine learns.
#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Planned(fresco_engine::BatchWork),
    Finished { status: fresco_ledger::batch::BatchStatus },
}

fn cause_of(error: &str, cause: &str) -> Option<Failure> {
    if error.is_empty() {
        return None;
    }
    let said = fresco_engine::lambda::said(cause);
    Some(match ErrorName::parse(error) {
        Some(name) => Failure::new(name, said),
        None => Failure::new(ErrorName::Internal, format!("{error}: {said}")),
    })
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        match input {
            Input::State { phase: Phase::Plan, batch_id, .. } => {
                Ok(Output::Planned(engine.batch_planner.plan(&batch_id).await?))
            }
            Input::State { phase: Phase::Finish, batch_id, error, cause } => {
                let status = engine.batch_finalizer.finalize(&batch_id, cause_of(&error, &cause)).await?;
                Ok(Output::Finished { status })
            }
            Input::Event { detail } => {
                let (batch, generation) = detail.batch()?;
                let message = format!("its execution ended as {}", detail.status);
                let cause = Failure::new(ErrorName::RunStopped, message);
                Ok(Output::Finished {
                    status: engine.batch_finalizer.finalize_abandoned(&batch, generation, cause).await?,
                })
            }
            Input::Left { batch_id, left_in } => {
                let cause = Failure::new(ErrorName::RunStopped, "the batch's execution ended without it");
                Ok(Output::Finished {
                    status: engine.batch_finalizer.finalize_abandoned(&batch_id, left_in, cause).await?,
                })
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_in_are_read() {
        let event = include_str!("../../../events/run-aborted.json");
        assert!(matches!(serde_json::from_str(event).unwrap(), Input::Event { .. }));
        let state = r#"{"phase": "plan", "batch_id": "20261124t000000-4f2a9c0b17"}"#;
        assert!(matches!(serde_json::from_str(state).unwrap(), Input::State { phase: Phase::Plan, .. }));
        let left = r#"{"batch_id": "20261124t000000-4f2a9c0b17", "left_in": 2}"#;
        assert!(matches!(serde_json::from_str(left).unwrap(), Input::Left { left_in: 2, .. }));
    }

    #[test]
    fn an_execution_tells_its_batch_and_generation() {
        let of = |name: &str| Detail { name: name.to_owned(), status: "ABORTED".to_owned() }.batch();
        let batch = RunId::parse("20261124t000000-4f2a9c0b17").unwrap();
        assert_eq!(of("20261124t000000-4f2a9c0b17").unwrap(), (batch.clone(), 0));
        assert_eq!(of("20261124t000000-4f2a9c0b17.12").unwrap(), (batch, 12));
        assert!(of("20261124t000000-4f2a9c0b17.").is_err() && of("").is_err());
    }

    #[test]
    fn what_the_machine_caught_keeps_its_name() {
        let lambda = r#"{"errorType": "Input.Invalid", "errorMessage": "no_rows: there is no row"}"#;
        assert_eq!(cause_of("Input.Invalid", lambda).unwrap().to_string(), "Input.Invalid: no_rows: there is no row");
        assert_eq!(cause_of("States.DataLimitExceeded", "x").unwrap().name, ErrorName::Internal);
        assert_eq!(cause_of("", ""), None);
    }
}
