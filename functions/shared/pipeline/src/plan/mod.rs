//! The planner: from a checked document to stages of lanes of steps. Steps that fan out become their parts here, so that the
//! number of steps is known before anything is spent, and every step carries all that generate needs.

mod bounds;
mod chunk;
#[cfg(test)]
mod compile_tests;
mod stages;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::document::{Checked, Export, Piece, TextSlot, ValidStep};
use crate::ids::{StepName, StepRef};
use crate::media::{FieldMedia, MediaRef};
use crate::money::Money;

pub use bounds::{
    Events, MAX_CHECK_SECONDS, MAX_EVENTS, MAX_STATE_BYTES, NUDGES, POLL_SECONDS, QUEUE_SECONDS, REPAIR_SECONDS,
    check_interval, longest_step, most_nudges,
};
pub use chunk::{ChunkSizes, merge};
pub use stages::{Group, Lane, Reads, Stage, arrange, critical_path, wall};
pub use step::PlannedStep;

/// The length in bytes that an estimate takes for a text of another step.
const USUAL_TEXT: usize = 2_000;

/// A pipeline, compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    /// Whether the first failure stops what has not started.
    pub fail_fast: bool,
    /// The budget, [`Money::UNLIMITED`] where the document gives none.
    pub max_cost: Money,
    pub export: Option<Export>,
    /// Every step, in the document's order, parts in the order of what they take.
    pub steps: Vec<PlannedStep>,
    /// The order of work.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// The longest that a run of it can take, in seconds, counting every nudge of every step.
    pub fn bound_seconds(&self, webhooks: bool) -> u64 {
        bounds::bound_seconds(&self.stages, |step| {
            self.steps.get(step).map_or(0, |step| longest_step(step.check(webhooks), step.timeout))
        })
    }

    /// The reads of every step, by its position.
    pub fn reads(&self) -> Vec<BTreeSet<usize>> {
        let places: BTreeMap<StepRef, usize> = self.steps.iter().map(PlannedStep::id).zip(0..).collect();
        let places = |read: BTreeSet<StepRef>| read.iter().filter_map(|step| places.get(step).copied()).collect();
        self.steps.iter().map(|step| places(step.reads())).collect()
    }
}

/// The parts of the document's steps: their names, and the number of outputs of each.
type Parts = BTreeMap<StepName, Vec<(StepName, u32)>>;

/// Compiles a checked document.
pub fn compile(checked: &Checked) -> Plan {
    let mut steps: Vec<PlannedStep> = Vec::new();
    let mut groups = Vec::new();
    let mut parts = Parts::new();
    for group in &checked.groups {
        let from = steps.len();
        for step in &group.steps {
            let planned = expand(step, steps.len(), &parts);
            parts.insert(step.name.clone(), planned.iter().map(|part| (part.name.clone(), part.outputs)).collect());
            steps.extend(planned);
        }
        let workers = if checked.parallel { group.workers } else { 1 };
        groups.push(Group { workers, steps: (from..steps.len()).collect() });
    }
    let mut plan = Plan {
        name: checked.name.clone(),
        fail_fast: checked.fail_fast,
        max_cost: checked.max_cost.unwrap_or(Money::UNLIMITED),
        export: checked.export.clone(),
        steps,
        stages: Vec::new(),
    };
    // Strictly one after the other knows no "at once".
    let schedule = if checked.parallel { checked.schedule } else { Default::default() };
    plan.stages = arrange(&groups, &plan.reads(), schedule);
    plan
}

/// The parts of a step: one for each medium of its first input if a request takes one and there are more; itself otherwise.
fn expand(step: &ValidStep, index: usize, parts: &Parts) -> Vec<PlannedStep> {
    let mut media: Vec<_> = step.media.iter().map(|field| of_parts(field, parts)).collect();
    let takes_one = |to: &str| step.model.inputs.iter().any(|param| param.to == to && param.max == 1 && !param.list);
    let fans_out = media.first().is_some_and(|field| field.media.len() > 1 && takes_one(&field.to));
    if !fans_out {
        return vec![planned(step, step.name.clone(), index, media, parts)];
    }
    // Taken out, so that no part copies what the others take.
    let first = media.first_mut().map(|first| std::mem::take(&mut first.media)).unwrap_or_default();
    let part = |(n, medium): (usize, MediaRef)| {
        // A name that is too long is a problem of the document; see `document`.
        let name = StepName::parse(format!("{}_{}", step.name, n + 1)).unwrap_or_else(|_| step.name.clone());
        let mut own = media.clone();
        if let Some(first) = own.first_mut() {
            first.media.push(medium);
        }
        planned(step, name, index + n, own, parts)
    };
    first.into_iter().enumerate().map(part).collect()
}

/// The field with the outputs of parts in the place of the outputs of steps.
fn of_parts(field: &FieldMedia<MediaRef>, parts: &Parts) -> FieldMedia<MediaRef> {
    let of = |medium: &MediaRef| match medium {
        MediaRef::Input(_) => Some(medium.clone()),
        MediaRef::Output { step, index } => {
            let mut before = 0;
            parts.get(step)?.iter().find_map(|(part, outputs)| {
                let own = index - before;
                before += outputs;
                (*index < before).then(|| MediaRef::Output { step: part.clone(), index: own })
            })
        }
    };
    FieldMedia { to: field.to.clone(), list: field.list, media: field.media.iter().filter_map(of).collect() }
}

/// The slot with the parts of steps in the place of the steps.
fn texts(slot: &TextSlot, parts: &Parts) -> TextSlot {
    let of = |piece: &Piece| match piece {
        Piece::Text(_) => vec![piece.clone()],
        Piece::Step(name) => {
            let parts = parts.get(name).map_or(&[][..], Vec::as_slice).iter().map(|(step, _)| step);
            let mut pieces = Vec::new();
            for part in parts {
                if !pieces.is_empty() {
                    pieces.push(Piece::Text("\n\n".to_owned()));
                }
                pieces.push(Piece::Step(part.clone()));
            }
            pieces
        }
    };
    TextSlot { pieces: slot.pieces.iter().flat_map(of).collect(), ..slot.clone() }
}

fn planned(
    step: &ValidStep,
    name: StepName,
    index: usize,
    media: Vec<FieldMedia<MediaRef>>,
    parts: &Parts,
) -> PlannedStep {
    let model = step.model;
    let size = |medium: &MediaRef| match medium {
        MediaRef::Input(media) => media.width.zip(media.height),
        MediaRef::Output { .. } => None,
    };
    let sizes: Vec<_> = media.iter().flat_map(|field| &field.media).map(size).collect();
    let mut likely = step.params.clone();
    for slot in &step.texts {
        let bytes: usize = slot
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.len(),
                Piece::Step(_) => USUAL_TEXT,
            })
            .sum();
        likely.insert(slot.to.clone(), "x".repeat(bytes).into());
    }
    PlannedStep {
        row: None,
        name,
        of: step.name.clone(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        step: model.step,
        model: model.name.clone(),
        provider: model.provider,
        endpoint: model.endpoint.clone(),
        params: step.params.clone(),
        texts: step.texts.iter().map(|slot| texts(slot, parts)).collect(),
        media,
        repetition: step.repetition,
        cache: step.cache,
        price: model.price_of(&likely, &sizes),
        outputs: model.output_count(&step.params),
        kind: model.output.kind,
        timeout: step.timeout.unwrap_or_else(|| model.timeout_seconds()),
        typical: model.seconds.max,
        fail_fast: step.fail_fast,
        uncacheable: step.uncacheable,
    }
}
