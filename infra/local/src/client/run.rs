//! Starting a run and watching it.

use std::collections::BTreeMap;
use std::time::Duration;

use fresco_engine::{RunRequest, StartError};
use fresco_ledger::rows::{RunRow, RunStatus, Source, StepRow, StepState};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{RunId, StepName};
use serde::Serialize;

use super::Client;

/// How often a run's record is read while it goes on.
const INTERVAL: Duration = Duration::from_millis(150);
/// The longest pause between reads, for long runs: reads cost money on AWS.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);

/// What happened, as `--json` prints it: one object a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run is recorded and its execution started.
    RunStarted {
        /// The run.
        run_id: RunId,
    },
    /// It is planned.
    RunPlanned {
        /// The run.
        run_id: RunId,
        /// How many steps it has.
        steps: usize,
        /// How many of them were there already.
        hits: usize,
    },
    /// A step has moved on.
    StepChanged {
        /// The run.
        run_id: RunId,
        /// The step.
        step: StepName,
        /// Its model.
        model: String,
        /// Where it is.
        state: StepState,
        /// Where its result comes from, when that is known.
        source: Option<Source>,
        /// How long it took, when it is decided.
        took_ms: Option<i64>,
        /// Why it failed.
        failure: Option<Failure>,
    },
    /// The run has ended.
    RunEnded {
        /// The run.
        run_id: RunId,
        /// How.
        status: RunStatus,
        /// Why, if not well.
        failure: Option<Failure>,
    },
}

/// A run being watched. [`Watch::next`] gives what has happened since.
pub struct Watch<'a> {
    client: &'a Client,
    run: RunId,
    seen: BTreeMap<StepName, (StepState, Option<Source>)>,
    planned: bool,
    pause: Duration,
}

impl Client {
    /// Checks, records and starts a run.
    pub async fn start(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let run = self.engine.record_run(request).await?;
        self.runs.start(&run).await.map_err(|error| StartError::Failed(error.0))?;
        Ok(run)
    }

    /// Watches a run.
    pub fn watch(&self, run: &RunId) -> Watch<'_> {
        Watch { client: self, run: run.clone(), seen: BTreeMap::new(), planned: false, pause: INTERVAL }
    }
}

impl Watch<'_> {
    /// Waits until something has happened. The last event is [`Event::RunEnded`].
    pub async fn next(&mut self) -> Result<Vec<Event>, Failure> {
        loop {
            // The record first: steps read after a final status are final too.
            let (run, steps) = self.client.status(&self.run).await?;
            let events = self.news(&run, &steps);
            if !events.is_empty() {
                self.pause = INTERVAL;
                return Ok(events);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 5 / 4).min(LONGEST_INTERVAL);
        }
    }

    fn news(&mut self, run: &RunRow, steps: &[StepRow]) -> Vec<Event> {
        let mut events = Vec::new();
        // The bound is written when every step row is.
        if !self.planned && run.bound_at.is_some() {
            self.planned = true;
            let hits = steps.iter().filter(|step| step.source == Some(Source::Hit)).count();
            events.push(Event::RunPlanned { run_id: run.id.clone(), steps: steps.len(), hits });
        }
        if !self.planned && !run.status.is_final() {
            // Rows may be there already; what they say is told after the plan is.
            return events;
        }
        for step in steps {
            let now = (step.state, step.source);
            let before = self.seen.insert(step.plan.name.clone(), now);
            if before.unwrap_or((StepState::Waiting, None)) != now {
                events.push(changed(step));
            }
        }
        if run.status.is_final() {
            events.push(Event::RunEnded { run_id: run.id.clone(), status: run.status, failure: run.failure.clone() });
        }
        events
    }
}

fn changed(step: &StepRow) -> Event {
    Event::StepChanged {
        run_id: step.run.clone(),
        step: step.plan.name.clone(),
        model: step.plan.model.clone(),
        state: step.state,
        source: step.source,
        took_ms: step.started_at.zip(step.ended_at).map(|(from, to)| (to - from).max(0)),
        failure: step.failure.clone().filter(|_| step.state == StepState::Failed),
    }
}
