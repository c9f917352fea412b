//! What plan does: it compiles the run's document, looks every step's key up, pins what is cached, and says what is left to
//! do. Where nothing is, it closes the run itself: one function call.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::rows::{Source, StepRow, StepState};
use fresco_ledger::traits::{Clock, Objects, Runs};
use fresco_pipeline::catalogue::{ProviderName, StepType};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepName};
use fresco_pipeline::plan::{Events, MAX_EVENTS, MAX_STATE_BYTES, Plan, PlannedStep, compile, most_tries};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::start::{RunRequest, request_key};
use crate::survey::Found;
use crate::transact::failure;

/// What plan hands to the state machine: names and numbers only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkList {
    /// Nothing is left to do, and the run is closed.
    pub done: bool,
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
    /// Whether its failure stops what has not started.
    pub fail_fast: bool,
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
        let checked = self.request_of(run).await?.check();
        let plan = compile(&checked.map_err(|p| Failure::new(ErrorName::DocumentInvalid, p.to_string()))?);
        let found = self.survey(run, &plan).await?;
        crash::point(Point::PlanLookedUp);
        let now = self.platform.clock().now();
        let rows: Vec<StepRow> =
            plan.steps.iter().zip(&found).map(|(step, found)| row_of(run, step, found, now)).collect();
        let bound = i64::try_from(plan.bound_seconds(self.settings.webhooks())).unwrap_or(i64::MAX / 2_000) * 1_000;
        ledger.plan_run(run, &rows, record.created_at + bound + 600_000).await.map_err(failure)?;
        crash::point(Point::PlanRowsWritten);
        // Rows of an earlier call of plan stay as they are, and what they say is what is left.
        let rows = ledger.steps(run).await.map_err(failure)?;
        let work = self.left(&plan, &rows);
        if work.done {
            self.report(run, None).await?;
            return Ok(work);
        }
        // Before any of it becomes a task, and so before money is spent.
        self.require_size(&plan, &work)?;
        self.require_keys(&plan, &work).await?;
        Ok(work)
    }

    async fn request_of(&self, run: &RunId) -> Result<RunRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(run)).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the run's document is gone"))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the run's document cannot be read: {error}")))
    }

    fn left(&self, plan: &Plan, rows: &[StepRow]) -> WorkList {
        let done: BTreeSet<&StepName> =
            rows.iter().filter(|row| row.state == StepState::Done).map(|row| &row.plan.name).collect();
        self.work(plan, |step| !done.contains(&step.name))
    }

    /// What there is to do of a plan, if these steps are left.
    pub(crate) fn work(&self, plan: &Plan, is_left: impl Fn(&PlannedStep) -> bool) -> WorkList {
        let webhooks = self.settings.webhooks();
        let work = |place: &usize| {
            let step = plan.steps.get(*place).filter(|step| is_left(step))?;
            let (name, check) = (step.name.clone(), step.check(webhooks));
            Some(WorkStep { step: name, kind: step.step, check, fail_fast: step.fail_fast })
        };
        let stages = plan.stages.iter().map(|stage| {
            let lanes = stage.lanes.iter().map(|lane| WorkLane { steps: lane.steps.iter().filter_map(work).collect() });
            WorkStage { workers: stage.workers, lanes: lanes.filter(|lane| !lane.steps.is_empty()).collect() }
        });
        let stages: Vec<WorkStage> = stages.filter(|stage| !stage.lanes.is_empty()).collect();
        WorkList { done: stages.is_empty(), stages }
    }

    /// An execution has room for so many events and so much state; a run that could need more is not begun.
    fn require_size(&self, plan: &Plan, work: &WorkList) -> Result<(), Failure> {
        let events = events(plan, work);
        if events > MAX_EVENTS {
            let message = format!(
                "the state machine's history could need {events} events with every nudge, and has room for {MAX_EVENTS}; \
                 use a batch, or split the pipeline"
            );
            return Err(Failure::new(ErrorName::RunTooLarge, message));
        }
        let bytes =
            serde_json::to_vec(work).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?.len();
        if bytes > MAX_STATE_BYTES {
            let message = format!("the list of work has {bytes} bytes; {MAX_STATE_BYTES} are possible; use a batch");
            return Err(Failure::new(ErrorName::RunTooLarge, message));
        }
        Ok(())
    }

    async fn require_keys(&self, plan: &Plan, work: &WorkList) -> Result<(), Failure> {
        match self.missing_keys(providers(plan, work)).await?.first() {
            None => Ok(()),
            Some(provider) => Err(self.key_is_missing(*provider)),
        }
    }

    /// Those of the providers whose key is not in the stack's secrets.
    pub(crate) async fn missing_keys(&self, providers: BTreeSet<ProviderName>) -> Result<Vec<ProviderName>, Failure> {
        let mut missing = Vec::new();
        for provider in providers {
            if !self.platform.has_key(provider).await? {
                missing.push(provider);
            }
        }
        Ok(missing)
    }

    fn key_is_missing(&self, provider: ProviderName) -> Failure {
        let place = format!("{}/{}", self.settings.secrets_prefix, provider.key_name());
        let message =
            format!("the stack has no key for {}; store it as the SSM SecureString {place}", provider.as_str());
        Failure::new(ErrorName::SecretMissing, message)
    }
}

/// Whose steps are left.
pub(crate) fn providers(plan: &Plan, work: &WorkList) -> BTreeSet<ProviderName> {
    let of: BTreeMap<&StepName, ProviderName> = plan.steps.iter().map(|step| (&step.name, step.provider)).collect();
    steps(work).filter_map(|step| of.get(&step.step).copied()).collect()
}

/// The events that the work can come to, every nudge counted.
pub(crate) fn events(plan: &Plan, work: &WorkList) -> u64 {
    let timeouts: BTreeMap<&StepName, u32> = plan.steps.iter().map(|step| (&step.name, step.timeout)).collect();
    let mut events = Events::EMPTY;
    for stage in &work.stages {
        events = stage.lanes.iter().fold(events.stage(), |events, _| events.lane());
    }
    let tries = |step: &WorkStep| most_tries(step.check, timeouts.get(&step.step).copied().unwrap_or(0));
    steps(work).fold(events, |events, step| events.step(tries(step))).count()
}

fn steps(work: &WorkList) -> impl Iterator<Item = &WorkStep> {
    work.stages.iter().flat_map(|stage| &stage.lanes).flat_map(|lane| &lane.steps)
}

fn row_of(run: &RunId, step: &PlannedStep, found: &Found, now: i64) -> StepRow {
    let (key, hit) = match found {
        Found::Hit { key, ready } => (Some(key.clone()), Some((**ready).clone())),
        Found::Miss { key, .. } => (key.clone(), None),
    };
    StepRow {
        run: run.clone(),
        plan: step.clone(),
        key,
        state: if hit.is_some() { StepState::Done } else { StepState::Waiting },
        source: hit.as_ref().map(|_| Source::Hit),
        failure: None,
        started_at: hit.as_ref().map(|_| now),
        ended_at: hit.as_ref().map(|_| now),
        pinned: hit,
        calls: 0,
    }
}
