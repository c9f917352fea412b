//! A chunk of a batch as one plan: each row's plan beside the others. A step is named by its row, `r17-image`.

use super::{Lane, Plan, PlannedStep, Stage};
use crate::catalogue::StepType;
use crate::document::Piece;
use crate::ids::StepName;
use crate::media::MediaRef;
use crate::money::Money;

/// The number of rows of a chunk: the default, the recommended most and the limit. Source: the performance guide,
/// "Batch Size Guidelines".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// The default.
    pub default: u32,
    /// The most that is recommended.
    pub recommended: u32,
    pub most: u32,
}

const IMAGES: ChunkSizes = ChunkSizes { default: 10, recommended: 20, most: 50 };
const VIDEOS: ChunkSizes = ChunkSizes { default: 3, recommended: 5, most: 10 };
const TEXTS: ChunkSizes = ChunkSizes { default: 20, recommended: 50, most: 100 };

impl ChunkSizes {
    /// By the slowest type among the steps of a row.
    pub fn of(steps: &[PlannedStep]) -> Self {
        let of = |step: &PlannedStep| match step.step {
            StepType::ImageToVideo => VIDEOS,
            StepType::TextToImage | StepType::ImageToImage => IMAGES,
            StepType::AnalyzeImage => TEXTS,
        };
        steps.iter().map(of).min_by_key(|sizes| sizes.most).unwrap_or(IMAGES)
    }
}

/// The name of a row's step in the plan of its chunk; `None` where it would be too long.
pub fn name_in_chunk(row: u64, step: &StepName) -> Option<StepName> {
    StepName::parse(format!("r{row}-{step}")).ok()
}

/// The row of a step in the plan of a chunk, and its name in that.
pub fn row_and_name(step: &StepName) -> Option<(u64, &str)> {
    let (row, name) = step.as_str().strip_prefix('r')?.split_once('-')?;
    Some((row.parse().ok()?, name))
}

/// The plans of rows as one. At most `workers` lanes run side by side, or as many as the pipeline says; a row whose steps follow
/// one another is one lane, so that it waits for no other. What fails stops nothing but what needs it. `None`: a step's
/// name is too long to carry its row.
pub fn merge(rows: Vec<(u64, Plan)>, workers: Option<u32>) -> Option<Plan> {
    let mut merged = Plan {
        name: rows.first().map_or_else(String::new, |(_, plan)| plan.name.clone()),
        fail_fast: false,
        max_cost: Money::UNLIMITED,
        export: rows.first().and_then(|(_, plan)| plan.export.clone()),
        steps: Vec::new(),
        stages: Vec::new(),
    };
    for (row, plan) in rows {
        let offset = merged.steps.len();
        for step in plan.steps {
            merged.steps.push(renamed(step, row, offset)?);
        }
        for (place, stage) in in_a_row(plan.stages).into_iter().enumerate() {
            if merged.stages.len() <= place {
                merged.stages.push(Stage { workers: 1, lanes: Vec::new() });
            }
            let Some(into) = merged.stages.get_mut(place) else { continue };
            into.workers = workers.unwrap_or(into.workers.max(stage.workers));
            let lanes = stage.lanes.into_iter();
            into.lanes.extend(lanes.map(|lane| Lane { steps: lane.steps.iter().map(|step| step + offset).collect() }));
        }
    }
    Some(merged)
}

/// Stages of one lane each are one lane.
fn in_a_row(stages: Vec<Stage>) -> Vec<Stage> {
    if stages.iter().any(|stage| stage.lanes.len() != 1) {
        return stages;
    }
    let workers = stages.iter().map(|stage| stage.workers).max().unwrap_or(1);
    let steps = stages.into_iter().flat_map(|stage| stage.lanes).flat_map(|lane| lane.steps).collect();
    vec![Stage { workers, lanes: vec![Lane { steps }] }]
}

fn renamed(mut step: PlannedStep, row: u64, offset: usize) -> Option<PlannedStep> {
    step.name = name_in_chunk(row, &step.name)?;
    step.of = name_in_chunk(row, &step.of)?;
    step.index = step.index.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
    step.fail_fast = false;
    for medium in step.media.iter_mut().flat_map(|field| &mut field.media) {
        if let MediaRef::Output { step, .. } = medium {
            *step = name_in_chunk(row, step)?;
        }
    }
    for piece in step.texts.iter_mut().flat_map(|slot| &mut slot.pieces) {
        if let Piece::Step(step) = piece {
            *step = name_in_chunk(row, step)?;
        }
    }
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{RunInputs, check};
    use crate::plan::compile;

    fn plan(document: &str) -> Plan {
        let given = RunInputs { input: Some("a cat".to_owned()), ..RunInputs::default() };
        compile(&check(document, &given).unwrap_or_else(|problems| panic!("{problems}")))
    }

    const CHAIN: &str = "steps:\n- { name: image, type: text_to_image }\n- { name: video, type: image_to_video, params: { prompt: go } }\n";

    #[test]
    fn rows_are_lanes_of_their_own() {
        let merged = merge(vec![(7, plan(CHAIN)), (9, plan(CHAIN))], Some(5)).unwrap();
        let names: Vec<&str> = merged.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["r7-image", "r7-video", "r9-image", "r9-video"]);
        assert_eq!(
            merged.stages,
            [Stage { workers: 5, lanes: vec![Lane { steps: vec![0, 1] }, Lane { steps: vec![2, 3] }] }]
        );
        assert_eq!(merged.reads()[3], [2].into());
        assert!(merged.steps.iter().zip(0..).all(|(step, place)| step.index == place && !step.fail_fast));
        assert_eq!(row_and_name(&merged.steps[3].name), Some((9, "video")));
        assert_eq!(ChunkSizes::of(&merged.steps), VIDEOS);
    }

    #[test]
    fn groups_of_rows_go_side_by_side() {
        let group = "steps:\n- type: parallel_group\n  steps:\n  - { name: a, type: text_to_image }\n  - { name: b, type: text_to_image }\n- { name: c, type: image_to_image, input_from: a, params: { prompt: go } }\n";
        let merged = merge(vec![(1, plan(group)), (2, plan(group))], None).unwrap();
        let lanes: Vec<usize> = merged.stages.iter().map(|stage| stage.lanes.len()).collect();
        assert_eq!(lanes, [4, 2]);
        assert_eq!(merged.stages[0].workers, 4);
    }

    #[test]
    fn a_name_that_cannot_carry_its_row_is_refused() {
        let long = CHAIN.replace("name: image", &format!("name: {}", "x".repeat(62)));
        assert_eq!(merge(vec![(1, plan(&long))], None), None);
    }
}
