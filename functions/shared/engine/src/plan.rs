//! What plan does: it compiles the run's document, looks every step's key up, pins what is cached, and says what is left to
//! do. Where nothing is, it closes the run itself: one function call.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::records::{CachedResult, ChunkRef, Millis, ResultSource, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Objects, Runs, StoreError};
use fresco_pipeline::catalogue::{ProviderName, StepType};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepName};
use fresco_pipeline::plan::{Events, MAX_EVENTS, MAX_STATE_BYTES, Plan, PlannedStep, compile, most_tries};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::start::{RunRequest, request_key};
use crate::survey::Found;
use crate::transact::failure;

/// How long a run may take beyond its steps: planning and closing, with their tries.
const SLACK: Millis = 600_000;
/// The same where its outputs are copied at its end.
const EXPORT_SLACK: Millis = 2_400_000;
/// How often everything is looked up again because an object went away meanwhile.
const SURVEYS: usize = 3;
/// How many results are written anew side by side.
const RENEWED_AT_ONCE: usize = 16;

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
    /// Every lane has one step: the state machine then needs no map for each of them.
    pub single: bool,
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
    /// Plans a run, of a chunk where it is one. Calling it again gives the same, less what has been done meanwhile.
    pub async fn plan(&self, run: &RunId, chunk: Option<&ChunkRef>) -> Result<WorkList, Failure> {
        let ledger = self.platform.ledger();
        let record = ledger.run(run).await.map_err(failure)?;
        if record.as_ref().is_some_and(|record| record.stop || record.status.is_final()) {
            return Err(Failure::new(ErrorName::RunStopped, "the run was stopped before it was planned"));
        }
        let plan = match chunk {
            Some(chunk) => self.chunk_plan(chunk).await?,
            None => {
                let checked = self.request_of(run).await?.check();
                compile(&checked.map_err(|p| Failure::new(ErrorName::DocumentInvalid, p.to_string()))?)
            }
        };
        let created_at = match (&record, chunk) {
            (Some(record), _) => record.created_at,
            (None, Some(_)) => self.platform.clock().now(),
            (None, None) => return Err(Failure::new(ErrorName::RunNotFound, "there is no record of this run")),
        };
        let bound = i64::try_from(plan.bound_seconds(self.settings.webhooks())).unwrap_or(i64::MAX / 2_000) * 1_000;
        let slack = if plan.export.is_some() { EXPORT_SLACK } else { SLACK };
        let bound_at = created_at + bound + slack;
        let found = self.survey_to_last(run, &plan, bound_at).await?;
        if let (None, Some(chunk)) = (record, chunk) {
            let misses = found.iter().zip(&plan.steps).filter(|(found, _)| matches!(found, Found::Miss { .. }));
            self.open_chunk(run, chunk, &plan, created_at, misses.map(|(_, step)| step.price).sum()).await?;
        }
        crash::point(Point::PlanLookedUp);
        let now = self.platform.clock().now();
        let rows: Vec<StepRecord> =
            plan.steps.iter().zip(&found).map(|(step, found)| row_of(run, step, found, now)).collect();
        // A chunk is nothing that the next run of its pipeline is compared with.
        let pipeline = if chunk.is_some() { format!("batch {}", plan.name) } else { plan.name.clone() };
        ledger.plan_run(run, &pipeline, &rows, bound_at).await.map_err(failure)?;
        crash::point(Point::PlanRowsWritten);
        // Rows of an earlier call of plan stay as they are, and what they say is what is left.
        let rows = ledger.steps(run).await.map_err(failure)?;
        let work = self.left(&plan, &rows);
        // Before any of it becomes a task, and so before money is spent.
        self.require(&plan, &work).await?;
        self.require_keys(&plan, &work).await?;
        if work.done && self.exports_little(&plan, &rows) {
            self.report(run, None).await?;
            return Ok(work);
        }
        // A long export is for report, which has the time.
        Ok(WorkList { done: false, ..work })
    }

    /// What is left to do is possible, as things are. Nothing has been spent where it is not.
    pub(crate) async fn require(&self, plan: &Plan, work: &WorkList) -> Result<(), Failure> {
        self.require_export(plan.export.as_ref())?;
        if !work.done {
            work.require_size(plan)?;
            self.require_room().await?;
        }
        Ok(())
    }

    /// What was found, with every hit living until the run is over. A hit that is near its end is written anew; should it be
    /// gone by then, its step and those after it are looked up again.
    async fn survey_to_last(&self, run: &RunId, plan: &Plan, bound_at: Millis) -> Result<Vec<Found>, Failure> {
        for _ in 0..SURVEYS {
            let mut found = self.survey(run, plan).await?;
            // Where everything is there, the run is over at once.
            let all = found.iter().all(|found| matches!(found, Found::Hit { .. }));
            let left = if all { 0 } else { bound_at - self.platform.clock().now() };
            let needed = self.settings.needed(left);
            let hits = found.iter().enumerate().filter_map(|(place, found)| match found {
                Found::Hit { key, ready } => Some((place, key.clone(), (**ready).clone())),
                Found::Miss { .. } => None,
            });
            let lasting: Vec<(usize, Option<CachedResult>)> = futures::stream::iter(hits.collect::<Vec<_>>())
                .map(|(place, key, ready)| async move {
                    Ok::<_, Failure>((place, self.lasting(&key, ready, needed).await?))
                })
                .buffer_unordered(RENEWED_AT_ONCE)
                .try_collect()
                .await?;
            let mut all_last = true;
            for (place, lasting) in lasting {
                match (found.get_mut(place), lasting) {
                    (Some(Found::Hit { ready, .. }), Some(lasting)) => **ready = lasting,
                    _ => all_last = false,
                }
            }
            if all_last {
                return Ok(found);
            }
        }
        Err(StoreError::storage("objects of results went away while they were looked up").0)
    }

    pub(crate) async fn request_of(&self, run: &RunId) -> Result<RunRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(run)).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the run's document is gone"))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the run's document cannot be read: {error}")))
    }

    fn left(&self, plan: &Plan, rows: &[StepRecord]) -> WorkList {
        let done: BTreeSet<&StepName> =
            rows.iter().filter(|row| row.state == StepState::Done).map(|row| &row.plan.name).collect();
        self.work(plan, |step| !done.contains(&step.name))
    }

    /// What there is to do of a plan, if these steps are left.
    pub(crate) fn work(&self, plan: &Plan, is_left: impl Fn(&PlannedStep) -> bool) -> WorkList {
        WorkList::of(plan, self.settings.webhooks(), is_left)
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

impl WorkList {
    /// What there is to do of a plan, if these steps are left.
    pub(crate) fn of(plan: &Plan, webhooks: bool, is_left: impl Fn(&PlannedStep) -> bool) -> Self {
        let work = |place: &usize| {
            let step = plan.steps.get(*place).filter(|step| is_left(step))?;
            let (name, check) = (step.name.clone(), step.check(webhooks));
            Some(WorkStep { step: name, kind: step.step, check, fail_fast: step.fail_fast })
        };
        let stages = plan.stages.iter().map(|stage| {
            let lanes = stage.lanes.iter().map(|lane| WorkLane { steps: lane.steps.iter().filter_map(work).collect() });
            let lanes: Vec<WorkLane> = lanes.filter(|lane| !lane.steps.is_empty()).collect();
            WorkStage { workers: stage.workers, single: lanes.iter().all(|lane| lane.steps.len() == 1), lanes }
        });
        let stages: Vec<WorkStage> = stages.filter(|stage| !stage.lanes.is_empty()).collect();
        WorkList { done: stages.is_empty(), stages }
    }

    /// An execution has room for so many events and so much state; a run that could need more is not begun.
    pub(crate) fn require_size(&self, plan: &Plan) -> Result<(), Failure> {
        let events = events(plan, self);
        if events > MAX_EVENTS {
            let message = format!(
                "the state machine's history could need {events} events with every nudge, and has room for {MAX_EVENTS}; \
                 use a batch, or split the pipeline"
            );
            return Err(Failure::new(ErrorName::RunTooLarge, message));
        }
        let bytes =
            serde_json::to_vec(self).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?.len();
        if bytes > MAX_STATE_BYTES {
            let message = format!("the list of work has {bytes} bytes; {MAX_STATE_BYTES} are possible; use a batch");
            return Err(Failure::new(ErrorName::RunTooLarge, message));
        }
        Ok(())
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
        let maps = if stage.single { 0 } else { stage.lanes.len() };
        events = (0..maps).fold(events.stage(), |events, _| events.lane());
    }
    let tries = |step: &WorkStep| most_tries(step.check, timeouts.get(&step.step).copied().unwrap_or(0));
    steps(work).fold(events, |events, step| events.step(tries(step))).count()
}

fn steps(work: &WorkList) -> impl Iterator<Item = &WorkStep> {
    work.stages.iter().flat_map(|stage| &stage.lanes).flat_map(|lane| &lane.steps)
}

fn row_of(run: &RunId, step: &PlannedStep, found: &Found, now: i64) -> StepRecord {
    let (key, hit) = match found {
        Found::Hit { key, ready } => (Some(key.clone()), Some((**ready).clone())),
        Found::Miss { key, .. } => (key.clone(), None),
    };
    StepRecord {
        run: run.clone(),
        plan: step.clone(),
        key,
        state: if hit.is_some() { StepState::Done } else { StepState::Waiting },
        source: hit.as_ref().map(|_| ResultSource::Hit),
        failure: None,
        started_at: hit.as_ref().map(|_| now),
        ended_at: hit.as_ref().map(|_| now),
        pinned: hit,
        calls: 0,
    }
}
