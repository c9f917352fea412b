//! The steps of a plan that are left to do, as the state machine reads them.

use std::collections::{BTreeMap, BTreeSet};

use fresco_pipeline::catalogue::{ProviderName, StepType};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::StepRef;
use fresco_pipeline::plan::{Events, MAX_EVENTS, MAX_STATE_BYTES, Plan, PlannedStep, most_nudges};
use serde::{Deserialize, Serialize};

/// The output of the plan function for the state machine: names and numbers only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkList {
    /// Nothing is left to do, and the run is closed.
    pub done: bool,
    pub stages: Vec<WorkStage>,
}

/// A stage with steps left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStage {
    /// The number of lanes that run concurrently.
    pub workers: u32,
    /// Every lane has one step: the state machine then needs no map for each of them.
    pub single: bool,
    /// Lanes with steps left.
    pub lanes: Vec<WorkLane>,
}

/// A lane with steps left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkLane {
    pub steps: Vec<WorkStep>,
}

/// A step that becomes a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStep {
    pub step: StepRef,
    /// Chooses the function.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// The first check interval in seconds.
    pub check: u32,
    /// Whether its failure stops the steps that have not started.
    pub fail_fast: bool,
}

impl WorkList {
    /// The steps of a plan for which `is_left` holds.
    pub(crate) fn of(plan: &Plan, webhooks: bool, is_left: impl Fn(&PlannedStep) -> bool) -> Self {
        let work = |place: &usize| {
            let step = plan.steps.get(*place).filter(|step| is_left(step))?;
            let (kind, check, fail_fast) = (step.step, step.check(webhooks), step.fail_fast);
            Some(WorkStep { step: step.id(), kind, check, fail_fast })
        };
        let stages = plan.stages.iter().map(|stage| {
            let lanes = stage.lanes.iter().map(|lane| WorkLane { steps: lane.steps.iter().filter_map(work).collect() });
            let lanes: Vec<WorkLane> = lanes.filter(|lane| !lane.steps.is_empty()).collect();
            WorkStage { workers: stage.workers, single: lanes.iter().all(|lane| lane.steps.len() == 1), lanes }
        });
        let stages: Vec<WorkStage> = stages.filter(|stage| !stage.lanes.is_empty()).collect();
        WorkList { done: stages.is_empty(), stages }
    }

    /// Fails with `Run.TooLarge` where the history or the state of an execution could outgrow the limits of Step
    /// Functions.
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

/// The providers of the steps that are left.
pub(crate) fn providers(plan: &Plan, work: &WorkList) -> BTreeSet<ProviderName> {
    let of: BTreeMap<StepRef, ProviderName> = plan.steps.iter().map(|step| (step.id(), step.provider)).collect();
    steps(work).filter_map(|step| of.get(&step.step).copied()).collect()
}

/// The most history events of the work, with every nudge.
pub(crate) fn events(plan: &Plan, work: &WorkList) -> u64 {
    let timeouts: BTreeMap<StepRef, u32> = plan.steps.iter().map(|step| (step.id(), step.timeout)).collect();
    let mut events = Events::EMPTY;
    for stage in &work.stages {
        let maps = if stage.single { 0 } else { stage.lanes.len() };
        events = (0..maps).fold(events.stage(), |events, _| events.lane());
    }
    let nudges = |step: &WorkStep| most_nudges(step.check, timeouts.get(&step.step).copied().unwrap_or(0));
    steps(work).fold(events, |events, step| events.step(nudges(step))).count()
}

fn steps(work: &WorkList) -> impl Iterator<Item = &WorkStep> {
    work.stages.iter().flat_map(|stage| &stage.lanes).flat_map(|lane| &lane.steps)
}
