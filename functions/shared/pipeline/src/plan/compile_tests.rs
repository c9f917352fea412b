//! From documents to plans: parts, texts that read steps, keys, limits of one run.

use std::collections::BTreeMap;

use super::*;
use crate::catalogue::MediaKind;
use crate::document::{RunInputs, check};
use crate::error::ErrorName;
use crate::ids::{ContentKey, RunId};
use crate::media::Media;
use crate::request::StepOutputs;

fn plan(text: &str) -> Plan {
    let given = RunInputs { input: Some("a fox".to_owned()), ..RunInputs::default() };
    compile(&check(text, &given).unwrap_or_else(|problems| panic!("{problems}\n{text}")))
}

fn run() -> RunId {
    RunId::parse("run-00001").unwrap()
}

fn name(text: &str) -> StepName {
    StepName::parse(text).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.name.as_str()).collect()
}

/// A picture with this content.
fn picture(content: &str) -> Media {
    Media {
        key: format!("outputs/image/{content}/1/0.png"),
        kind: MediaKind::Image,
        content_type: "image/png".to_owned(),
        bytes: 1,
        sha256: content.to_owned(),
        width: Some(1000),
        height: Some(500),
        duration_ms: None,
    }
}

fn made(of: &[(&str, &[&str], Option<&str>)]) -> BTreeMap<StepRef, StepOutputs> {
    let one = |(step, content, text): &(&str, &[&str], Option<&str>)| {
        let media = content.iter().map(|content| picture(content)).collect();
        (step.parse().unwrap(), StepOutputs { media, text: text.map(str::to_owned), shortfall: None })
    };
    of.iter().map(one).collect()
}

#[test]
fn groups_become_stages_and_lanes() {
    let text = "settings: {max_workers: 2}\nsteps:\n- {type: text_to_image, name: a}\n- type: parallel_group\n  name: g\n  steps:\n  - {type: text_to_image, name: b}\n  - {type: text_to_image, name: c}\n  - {type: text_to_image}\n";
    let parallel = plan(text);
    let shape: Vec<(u32, usize)> = parallel.stages.iter().map(|stage| (stage.workers, stage.lanes.len())).collect();
    assert_eq!(shape, vec![(2, 1), (2, 3)]);
    assert_eq!(names(&parallel), ["a", "b", "c", "step_4"]);
    let serial = plan(&text.replace("max_workers: 2", "parallel: false, schedule: eager"));
    assert!(serial.stages.len() == 4 && serial.stages.iter().all(|stage| stage.workers == 1));
    assert!(parallel.bound_seconds(true) > 3_600);
}

#[test]
fn a_step_over_several_media_becomes_its_parts() {
    let text = "steps:\n- {type: text_to_image, name: two, params: {num_images: 2}}\n- {type: text_to_image, name: one}\n- {type: image_to_video, name: video, input_from: [two, one], params: {prompt: x}}\n- {type: image_to_image, model: nano_banana_pro_edit, name: all, input_from: [two, one]}\n- {type: image_to_image, name: again, input_from: all}\n";
    let plan = plan(text);
    assert_eq!(names(&plan), ["two", "one", "video_1", "video_2", "video_3", "all", "again"]);
    let from = |n: usize| plan.steps[n].media[0].media.clone();
    let output = |step: &str, index| MediaRef::Output { step: name(step), index };
    assert_eq!(from(3), [output("two", 1)]);
    assert_eq!(from(5), [output("two", 0), output("two", 1), output("one", 0)]);
    assert!(plan.steps[3].of == name("video") && plan.steps[6].of == name("again"));
    assert_eq!(plan.stages[2].lanes.len(), 3, "parts run side by side");
    let order: Vec<u32> = plan.steps.iter().map(|step| step.index).collect();
    assert_eq!(order, (0..7).collect::<Vec<u32>>());
}

#[test]
fn an_uncached_step_has_a_key_of_its_own() {
    let text = "settings: {cache: off}\nsteps:\n- {type: text_to_image, name: a}\n- {type: text_to_image, name: b}\n";
    let key = |text: &str, run: &str, n: usize| -> ContentKey {
        let run = RunId::parse(run).unwrap();
        plan(text).steps[n].resolve(&run, &BTreeMap::new()).unwrap().unwrap().key
    };
    assert_ne!(key(text, "run-00001", 0), key(text, "run-00001", 1));
    assert_ne!(key(text, "run-00001", 0), key(text, "run-00002", 0));
    let cached = text.replace("off", "use");
    assert_eq!(key(&cached, "run-00001", 0), key(&cached, "run-00002", 1));
}

#[test]
fn a_key_is_known_when_the_inputs_are_and_follows_their_content() {
    let text = "steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, model: clarity, name: b}\n";
    let plan = plan(text);
    let step = &plan.steps[1];
    assert_eq!(step.resolve(&run(), &BTreeMap::new()), Ok(None));
    let ready = |content: &str| step.resolve(&run(), &made(&[("a", &[content], None)])).unwrap().unwrap();
    assert_ne!(ready("one").key, ready("two").key);
    assert_eq!(ready("one").key, ready("one").key);
    // Half a megapixel, twice as large each way: two megapixels, at 0.03 each.
    assert_eq!(ready("one").price, Money::micros(60_000));
    // The picture that the plan counts on is not there: the step before gave fewer.
    let none = step.resolve(&run(), &made(&[("a", &[], None)])).unwrap_err();
    assert_eq!(none.name, ErrorName::StepInput);
}

#[test]
fn a_text_is_filled_when_it_is_there_and_never_read_again() {
    let text = "steps:\n- {type: text_to_image, name: a, params: {num_images: 2}}\n- {type: analyze_image, name: words, input_from: a}\n- {type: text_to_image, name: b, params: {prompt: \"after {{step_words.output}}: {{input}}\"}}\n";
    let plan = plan(text);
    let step = &plan.steps[2];
    assert_eq!(step.reads().into_iter().collect::<Vec<_>>(), ["words".parse().unwrap()]);
    let resolve = |text: &str| step.resolve(&run(), &made(&[("words", &["t"], Some(text))]));
    let ready = resolve(" {{input}} {{env.HOME}} e\u{301}\0\n").unwrap().unwrap();
    assert_eq!(ready.request.params["prompt"], "after {{input}} {{env.HOME}} \u{e9}: a fox");
    assert_eq!(resolve(&"x".repeat(20_000)).unwrap_err().name, ErrorName::StepInput);
    // The text is read from its object; until then the key is not known.
    assert_eq!(step.resolve(&run(), &made(&[("words", &["t"], None)])), Ok(None));
}

#[test]
fn the_size_of_the_largest_plan_is_bounded() {
    let steps: String = (0..1_000).map(|n| format!("- {{type: text_to_image, take: {}}}\n", n + 1)).collect();
    let plan = plan(&format!("steps:\n{steps}"));
    assert_eq!((plan.steps.len(), plan.stages.len()), (1_000, 1_000));
    let nudges = |step: &PlannedStep| most_nudges(step.check(true), step.timeout);
    let events = plan.stages.iter().fold(Events::EMPTY, |events, _| events.stage().lane());
    let events = plan.steps.iter().fold(events, |events, step| events.step(nudges(step)));
    assert!(events.count() > MAX_EVENTS, "a thousand steps that are all nudged to the end are too many");
}
