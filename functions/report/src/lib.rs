//! report: writes a run's manifest and closes its record. It is the state machine's last state, and it is called by the
//! execution's status-change event, so that runs that were aborted or timed out are closed as well, and by the sweep for
//! runs that are past their bound.

use std::process::ExitCode;

use fresco_ledger::records::ChunkRef;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use serde::Deserialize;

/// A way in.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    State {
        run_id: RunId,
        #[serde(default)]
        error: String,
        #[serde(default)]
        cause: String,
        /// Of the run of a batch's chunk.
        batch_id: Option<RunId>,
        chunk: Option<u32>,
    },
    Event {
        detail: Detail,
    },
    /// Of the sweep: a run that is past its bound, or was never planned.
    Overdue {
        overdue: RunId,
    },
}

/// Of `Step Functions Execution Status Change`. The execution's name is the run's id.
#[derive(Deserialize)]
struct Detail {
    name: RunId,
    status: String,
}

/// Why the execution ended, as a stable name. What the state machine caught may also be a name of its own.
fn cause_of(error: &str, cause: &str) -> Option<Failure> {
    let name = match error {
        "" => return None,
        "States.Timeout" => ErrorName::StepTimedOut,
        other => ErrorName::parse(other).unwrap_or(ErrorName::Internal),
    };
    let message = match (name, cause) {
        (ErrorName::StepTimedOut, "") => "a step gave no result in time".to_owned(),
        (ErrorName::Internal, cause) => format!("{error}: {}", fresco_engine::lambda::said(cause)),
        (_, cause) => fresco_engine::lambda::said(cause),
    };
    Some(Failure::new(name, message))
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    fresco_engine::lambda::run(|engine, input: Input| async move {
        match input {
            Input::State { run_id, error, cause, batch_id, chunk } => {
                let cause = cause_of(&error, &cause);
                match batch_id.zip(chunk).map(|(batch, number)| ChunkRef { batch, number }) {
                    Some(chunk) => engine.chunks.close(&run_id, &chunk, cause).await.map(Some),
                    None => engine.runs.close(&run_id, cause).await.map(Some),
                }
            }
            Input::Event { detail } => {
                let message = format!("its execution ended as {}", detail.status);
                let cause = Failure::new(ErrorName::RunStopped, message);
                match engine.chunks.close_any(&detail.name, Some(cause)).await {
                    // A chunk that started while its batch was stopped, or an execution that was started by hand.
                    Err(failure) if failure.name == ErrorName::RunNotFound => Ok(None),
                    closed => closed.map(Some),
                }
            }
            Input::Overdue { overdue } => {
                let cause = Failure::new(ErrorName::StepTimedOut, "the run did not end within its bound");
                engine.chunks.close_any(&overdue, Some(cause)).await.map(Some)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_is_read() {
        let event = include_str!("../../../events/run-aborted.json");
        let Input::Event { detail } = serde_json::from_str(event).unwrap() else { panic!("an event") };
        assert_eq!((detail.name.as_str(), detail.status.as_str()), ("20261124t000000-4f2a9c0b17", "ABORTED"));
        let state = r#"{"run_id": "20261124t000000-4f2a9c0b17", "error": "", "cause": ""}"#;
        assert!(matches!(serde_json::from_str(state).unwrap(), Input::State { .. }));
        let overdue = r#"{"overdue": "20261124t000000-4f2a9c0b17"}"#;
        assert!(matches!(serde_json::from_str(overdue).unwrap(), Input::Overdue { .. }));
    }

    #[test]
    fn what_the_machine_caught_becomes_a_stable_name() {
        for (error, cause, name) in [
            ("States.Timeout", "", Some(ErrorName::StepTimedOut)),
            ("Budget.Exceeded", "too dear", Some(ErrorName::BudgetExceeded)),
            ("States.Runtime", "bad", Some(ErrorName::Internal)),
            ("", "", None),
        ] {
            assert_eq!(cause_of(error, cause).map(|failure| failure.name), name);
        }
        let lambda = r#"{"errorType": "Storage.Full", "errorMessage": "the stack is full"}"#;
        let failure = cause_of("Storage.Full", lambda).unwrap();
        assert_eq!(failure.to_string(), "Storage.Full: the stack is full");
    }
}
