//! The planner: from a checked document to stages of lanes of steps. A stage begins when the one before has ended; its lanes
//! run side by side, at most `workers` at a time; a lane's steps run in a row. Steps carry everything that generate needs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{MediaKind, ProviderName, StepType};
use crate::document::{CachePolicy, Checked, CheckedStep};
use crate::ids::{ContentKey, RunId, StepName};
use crate::key::{Salt, content_key};
use crate::money::Money;

/// How often Generate may be nudged: tried again after its check interval, see [`check_interval`].
pub const NUDGES: u32 = 12;
/// The longest check interval, in seconds.
pub const MAX_CHECK_SECONDS: u32 = 900;
/// The first check interval where no webhook can reach the stack, in seconds: the nudge is then the poll loop.
pub const POLL_SECONDS: u32 = 2;
/// The first check interval where webhooks are expected is at least this, in seconds: it only repairs lost ones.
pub const REPAIR_SECONDS: u32 = 60;

/// The check interval of the n-th try of a Generate task (0 is the first), in seconds. The state machine computes the same
/// from `check` and `$states.context.State.RetryCount`.
pub fn check_interval(check: u32, retry: u32) -> u32 {
    check.saturating_mul(2u32.saturating_pow(retry)).min(MAX_CHECK_SECONDS)
}

/// The longest that one Generate task can take with all its nudges, in seconds.
pub fn longest_step(check: u32) -> u64 {
    // A second of retry delay goes before each nudge.
    (0..=NUDGES).map(|retry| u64::from(check_interval(check, retry)) + 1).sum()
}

/// A step, ready to be generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its name, unique in the run.
    pub name: StepName,
    /// Its place in the document, from 0.
    pub index: u32,
    /// What it does.
    #[serde(rename = "type")]
    pub step: StepType,
    /// The catalogue's name of the model.
    pub model: String,
    /// Who runs it.
    pub provider: ProviderName,
    /// The provider's id of the model.
    pub endpoint: String,
    /// The request as it is sent.
    pub params: Map<String, Value>,
    /// Another picture of the same prompt.
    pub take: u32,
    /// How the cache is used.
    pub cache: CachePolicy,
    /// The content key.
    pub key: ContentKey,
    /// The upper-bound price; what a hold reserves.
    pub price: Money,
    /// How many outputs it gives.
    pub outputs: u32,
    /// What they are.
    pub kind: MediaKind,
    /// The timeout in seconds, from when the provider is first seen running.
    pub timeout: u32,
    /// Typical seconds, the slow end.
    pub typical: u32,
}

impl PlannedStep {
    /// The first check interval in seconds, see [`check_interval`].
    pub fn check(&self, webhooks: bool) -> u32 {
        if webhooks { self.timeout.clamp(REPAIR_SECONDS, MAX_CHECK_SECONDS) } else { POLL_SECONDS }
    }
}

/// Steps in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Their names, in order.
    pub steps: Vec<StepName>,
}

/// Lanes side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The most lanes at a time.
    pub workers: u32,
    /// The lanes.
    pub lanes: Vec<Lane>,
}

/// A pipeline, compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// Whether the first failure stops what has not started.
    pub fail_fast: bool,
    /// The budget, [`Money::UNLIMITED`] where the document gives none.
    pub max_cost: Money,
    /// Every step, in the document's order.
    pub steps: Vec<PlannedStep>,
    /// The order of work.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// The longest that a run of it can take, in seconds, counting every nudge of every step.
    pub fn bound_seconds(&self, webhooks: bool) -> u64 {
        let longest = |name: &StepName| {
            self.steps.iter().find(|step| step.name == *name).map_or(0, |step| longest_step(step.check(webhooks)))
        };
        self.stages
            .iter()
            .map(|stage| {
                let lanes: Vec<u64> = stage.lanes.iter().map(|lane| lane.steps.iter().map(&longest).sum()).collect();
                // However lanes are dealt to workers, no worker has more than all of them, and rounds of the longest bound it.
                let rounds = lanes.len().div_ceil(stage.workers.max(1) as usize) as u64;
                lanes.iter().max().copied().unwrap_or(0) * rounds
            })
            .sum()
    }
}

/// Compiles a checked document for a run.
pub fn compile(checked: &Checked, run: &RunId) -> Plan {
    let mut steps = Vec::new();
    let mut stages = Vec::new();
    for group in &checked.groups {
        let mut lanes = Vec::new();
        for step in &group.steps {
            let planned = planned(step, steps.len(), run);
            lanes.push(Lane { steps: vec![planned.name.clone()] });
            steps.push(planned);
        }
        if group.workers <= 1 {
            // One after the other, in the document's order: lanes of one stage promise no order.
            stages.extend(lanes.into_iter().map(|lane| Stage { workers: 1, lanes: vec![lane] }));
        } else {
            stages.push(Stage { workers: group.workers, lanes });
        }
    }
    Plan {
        name: checked.name.clone(),
        fail_fast: checked.fail_fast,
        max_cost: checked.max_cost.unwrap_or(Money::UNLIMITED),
        steps,
        stages,
    }
}

fn planned(step: &CheckedStep, index: usize, run: &RunId) -> PlannedStep {
    let model = step.model;
    let salt = (step.cache == CachePolicy::Off).then_some(Salt { run, step: &step.name });
    PlannedStep {
        name: step.name.clone(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        step: model.step,
        model: model.name.clone(),
        provider: model.provider,
        endpoint: model.endpoint.clone(),
        key: content_key(model, &step.params, &[], step.take, salt),
        price: model.price_of(&step.params, None),
        outputs: model.output_count(&step.params),
        kind: model.output.kind,
        timeout: step.timeout.unwrap_or_else(|| model.timeout_seconds()),
        typical: model.seconds.max,
        params: step.params.clone(),
        take: step.take,
        cache: step.cache,
    }
}
