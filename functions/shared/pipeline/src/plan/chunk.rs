//! A chunk of a batch as one plan: each row's plan beside the others. A step has the number of its row.

use super::{Lane, Plan, PlannedStep, Stage};
use crate::catalogue::StepType;
use crate::ids::StepName;
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

/// The plans of rows as one. At most `workers` lanes run side by side, or as many as the pipeline says; a row whose steps follow
/// one another is one lane, so that it waits for no other. What fails stops nothing but what needs it. `None`: a step's
/// public name is too long.
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
            merged.steps.push(of_row(step, row, offset)?);
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

/// The step of a row in the plan of the chunk; `None` where its public name is too long for a step name.
fn of_row(mut step: PlannedStep, row: u64, offset: usize) -> Option<PlannedStep> {
    step.row = Some(row);
    for name in [&step.name, &step.of] {
        StepName::parse(step.sibling(name).public_name()).ok()?;
    }
    step.index = step.index.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
    step.fail_fast = false;
    Some(step)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::content_key::{Salt, content_key};
    use crate::document::{RunInputs, check};
    use crate::ids::RunId;
    use crate::plan::compile;
    use crate::request::StepOutputs;

    fn plan(document: &str) -> Plan {
        let given = RunInputs { input: Some("a cat".to_owned()), ..RunInputs::default() };
        compile(&check(document, &given).unwrap_or_else(|problems| panic!("{problems}")))
    }

    const CHAIN: &str = "steps:\n- { name: image, type: text_to_image }\n- { name: video, type: image_to_video, params: { prompt: go } }\n";

    #[test]
    fn rows_are_lanes_of_their_own() {
        let merged = merge(vec![(7, plan(CHAIN)), (9, plan(CHAIN))], Some(5)).unwrap();
        let ids: Vec<String> = merged.steps.iter().map(|step| step.id().to_string()).collect();
        assert_eq!(ids, ["7-image", "7-video", "9-image", "9-video"]);
        let names = merged.steps.iter().map(|step| step.id().public_name().to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["r7-image", "r7-video", "r9-image", "r9-video"]);
        assert_eq!(
            merged.stages,
            [Stage { workers: 5, lanes: vec![Lane { steps: vec![0, 1] }, Lane { steps: vec![2, 3] }] }]
        );
        assert_eq!(merged.reads()[3], [2].into());
        assert!(merged.steps.iter().zip(0..).all(|(step, place)| step.index == place && !step.fail_fast));
        assert_eq!(merged.steps[3].reads(), [merged.steps[2].id()].into());
        assert_eq!(ChunkSizes::of(&merged.steps), VIDEOS);
    }

    #[test]
    fn the_key_of_an_uncached_step_holds_its_run_and_public_name() {
        let uncached = CHAIN.replace("type: text_to_image", "type: text_to_image, cache: off");
        let run = RunId::parse("run-00000001").unwrap();
        let keyed = |step: &PlannedStep| step.resolve(&run, &BTreeMap::new()).unwrap().unwrap();
        for (row, public) in [(7, "r7-image"), (9, "r9-image")] {
            let merged = merge(vec![(row, plan(&uncached))], None).unwrap();
            let keyed = keyed(&merged.steps[0]);
            let salt = Salt { run: &run, step: &StepName::parse(public).unwrap() };
            assert_eq!(keyed.key, content_key(&keyed.request, Some(salt)));
        }
    }

    #[test]
    fn a_step_reads_the_step_of_its_own_row() {
        let text = "steps:\n- { name: image, type: text_to_image }\n- { name: words, type: analyze_image, input_from: image }\n- { name: again, type: text_to_image, params: { prompt: \"{{step_words.output}}\" } }\n";
        let merged = merge(vec![(1, plan(text)), (2, plan(text))], None).unwrap();
        assert_eq!(merged.reads(), [vec![], vec![0], vec![1], vec![], vec![3], vec![4]].map(BTreeSet::from_iter));
        let run = RunId::parse("run-00000001").unwrap();
        let words = |row: u64| {
            let text = Some(format!("words of row {row}"));
            (format!("{row}-words").parse().unwrap(), StepOutputs { text, ..StepOutputs::default() })
        };
        let outputs = BTreeMap::from([words(1), words(2)]);
        let prompt = |place: usize| {
            merged.steps[place].resolve(&run, &outputs).unwrap().unwrap().request.params["prompt"].clone()
        };
        assert_eq!((prompt(2), prompt(5)), ("words of row 1".into(), "words of row 2".into()));
        let none = BTreeMap::from([("2-image".parse().unwrap(), StepOutputs::default())]);
        assert_eq!(merged.steps[1].resolve(&run, &none), Ok(None));
        let failure = merged.steps[4].resolve(&run, &none).unwrap_err();
        assert_eq!(failure.message, "r2-image gave 0 outputs, and number 1 is needed");
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
    fn a_step_whose_public_name_is_too_long_is_refused() {
        let long = CHAIN.replace("name: image", &format!("name: {}", "x".repeat(62)));
        assert_eq!(merge(vec![(1, plan(&long))], None), None);
    }
}
