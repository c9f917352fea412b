//! What plan does: it compiles the run's document, looks every step's key up, pins what is cached, and says what is left to
//! do. Where nothing is, it closes the run itself: one function call.

use std::collections::BTreeMap;

use fresco_ledger::rows::{Ready, Source, StepRow, StepState};
use fresco_ledger::traits::{Clock, Entries, Objects, Runs};
use fresco_pipeline::catalogue::StepType;
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId, StepName};
use fresco_pipeline::plan::{Plan, PlannedStep, compile};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::platform::Platform;
use crate::start::{RunRequest, request_key};
use crate::transact::failure;

/// How many objects are asked about at a time.
const HEADS_AT_ONCE: usize = 16;

/// What plan hands to the state machine: names and numbers only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkList {
    /// Nothing is left to do, and the run is closed.
    pub done: bool,
    /// See [`Plan::fail_fast`].
    pub fail_fast: bool,
    /// What is left to do.
    pub stages: Vec<WorkStage>,
}

/// A stage of what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStage {
    /// The most lanes at a time.
    pub workers: u32,
    /// Lanes with steps left.
    pub lanes: Vec<WorkLane>,
}

/// A lane of what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkLane {
    /// Steps in a row.
    pub steps: Vec<WorkStep>,
}

/// A step that becomes a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStep {
    /// Its name.
    pub step: StepName,
    /// Its type; chooses the function.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// The first check interval in seconds.
    pub check: u32,
}

impl<P: Platform> Engine<P> {
    /// Plans a run. Calling it again gives the same, less what has been done meanwhile.
    pub async fn plan(&self, run: &RunId) -> Result<WorkList, Failure> {
        let ledger = self.platform.ledger();
        let record = ledger.run(run).await.map_err(failure)?;
        let record = record.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this run"))?;
        if record.stop || record.status.is_final() {
            return Err(Failure::new(ErrorName::RunStopped, "the run was stopped before it was planned"));
        }
        let plan = compile(
            &self
                .request_of(run)
                .await?
                .check()
                .map_err(|p| Failure::new(ErrorName::DocumentInvalid, p.to_string()))?,
            run,
        );
        let hits = self.hits(&plan.steps).await?;
        let now = self.platform.clock().now();
        let rows: Vec<StepRow> = plan.steps.iter().map(|step| row_of(run, step, hits.get(&step.key), now)).collect();
        let bound = i64::try_from(plan.bound_seconds(self.settings.webhooks())).unwrap_or(i64::MAX / 2_000) * 1_000;
        ledger.plan_run(run, &rows, record.created_at + bound + 600_000).await.map_err(failure)?;
        // Rows of an earlier call of plan stay as they are, and what they say is what is left.
        let rows = ledger.steps(run).await.map_err(failure)?;
        let stages = self.left(&plan, &rows);
        let done = stages.is_empty();
        if done {
            self.report(run, None).await?;
        }
        Ok(WorkList { done, fail_fast: plan.fail_fast, stages })
    }

    async fn request_of(&self, run: &RunId) -> Result<RunRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(run)).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the run's document is gone"))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the run's document cannot be read: {error}")))
    }

    /// Results that can be handed out, by key.
    async fn hits(&self, steps: &[PlannedStep]) -> Result<BTreeMap<ContentKey, Ready>, Failure> {
        let keys: Vec<ContentKey> =
            steps.iter().filter(|step| step.cache == CachePolicy::Use).map(|step| step.key.clone()).collect();
        let entries = self.platform.ledger().entries(&keys).await.map_err(failure)?;
        let found = entries.into_iter().filter_map(|entry| entry.result.map(|ready| (entry.key, ready)));
        futures::stream::iter(found)
            .map(|(key, ready)| async move { Ok(self.usable(&ready).await?.then_some((key, ready))) })
            .buffer_unordered(HEADS_AT_ONCE)
            .try_filter_map(|hit| async move { Ok(hit) })
            .try_collect()
            .await
    }

    fn left(&self, plan: &Plan, rows: &[StepRow]) -> Vec<WorkStage> {
        let webhooks = self.settings.webhooks();
        let rows: BTreeMap<&StepName, &StepRow> = rows.iter().map(|row| (&row.plan.name, row)).collect();
        let work = |name: &StepName| {
            let row = rows.get(name).filter(|row| row.state != StepState::Done)?;
            Some(WorkStep { step: name.clone(), kind: row.plan.step, check: row.plan.check(webhooks) })
        };
        let stages = plan.stages.iter().map(|stage| {
            let lanes =
                stage.lanes.iter().map(|lane| WorkLane { steps: lane.steps.iter().filter_map(&work).collect() });
            WorkStage { workers: stage.workers, lanes: lanes.filter(|lane| !lane.steps.is_empty()).collect() }
        });
        stages.filter(|stage| !stage.lanes.is_empty()).collect()
    }
}

fn row_of(run: &RunId, step: &PlannedStep, hit: Option<&Ready>, now: i64) -> StepRow {
    let hit = hit.filter(|_| step.cache == CachePolicy::Use);
    StepRow {
        run: run.clone(),
        plan: step.clone(),
        state: if hit.is_some() { StepState::Done } else { StepState::Waiting },
        source: hit.map(|_| Source::Hit),
        pinned: hit.cloned(),
        failure: None,
        started_at: hit.map(|_| now),
        ended_at: hit.map(|_| now),
        calls: 0,
    }
}
