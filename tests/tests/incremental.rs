//! The cache as a build system: after an edit, what depends on it is generated again and nothing else. What was submitted, billed
//! and called is counted over the whole stack, so the tests follow each other.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::collections::BTreeMap;

use fresco_api_types::{MIN_CLEAN_AGE, Manifest, MissReason, Preview, PreviewStep, StepChange};
use fresco_engine::PruneOptions;
use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::ids::StepName;
use fresco_pipeline::money::Money;
use fresco_tests::{World, clean};
use tokio::sync::Mutex;

/// The counts are the whole stack's.
static STACK: Mutex<()> = Mutex::const_new(());

/// The steps of events/pipelines/five-steps.yaml: four jobs with a webhook, and a synchronous analysis.
const FIVE: &str = r#"
name: incremental
settings: { schedule: eager, max_workers: 4 }
steps:
  - name: scene
    type: text_to_image
    model: flux_schnell
    timeout: 60
    params: { prompt: "incremental, a lighthouse", aspect_ratio: "16:9", seed: 7 }
  - name: edit
    type: image_to_image
    model: kontext
    input_from: scene
    params: { prompt: "incremental, a winter night", seed: 8 }
  - type: parallel_group
    name: uses
    steps:
      - name: video
        type: image_to_video
        model: hailuo
        input_from: edit
        params: { prompt: "incremental, snow falls", duration: 6 }
      - name: analysis
        type: analyze_image
        model: gemini_describe
        input_from: edit
  - name: poster
    type: text_to_image
    model: flux_dev
    params: { prompt: "Incremental, a poster of {{step_analysis.output}}" }
"#;

fn name(step: &str) -> StepName {
    StepName::parse(step).unwrap()
}

fn step<'a>(preview: &'a Preview, name: &str) -> &'a PreviewStep {
    preview.steps.iter().find(|step| step.name.as_str() == name).unwrap()
}

/// Why each step that is not there is not, by name.
fn reasons(preview: &Preview) -> BTreeMap<&str, MissReason> {
    preview.steps.iter().filter_map(|step| Some((step.name.as_str(), step.why.clone()?))).collect()
}

fn waits(step: &str) -> MissReason {
    MissReason::Waits { steps: vec![name(step)] }
}

fn changed(what: StepChange) -> MissReason {
    MissReason::Changed { what: vec![what] }
}

fn generated(manifest: &Manifest) -> Vec<&str> {
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    let steps = manifest.steps.iter().filter(|step| step.source == Some(ResultSource::Generated));
    steps.map(|step| step.name.as_str()).collect()
}

/// Waits until every call of a run of these five steps is logged, which is a moment after the call. `report` is the
/// last state of the machine.
async fn all_logged(world: &World, before: &BTreeMap<String, usize>, manifest: &Manifest) {
    let (_, steps) = world.admin.status(&manifest.run_id).await.unwrap();
    let generate: usize = steps.iter().map(|step| step.calls as usize).sum();
    let expected = [("plan", 1), ("generate", generate), ("webhook", 4), ("collect", 5), ("report", 1)];
    world
        .until("the calls of the run are logged", async || {
            let since: BTreeMap<String, usize> = world.invocations_since(before).await.into_iter().collect();
            expected.iter().all(|(function, calls)| since.get(*function).is_some_and(|since| since >= calls))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_generates_what_depends_on_it() {
    let _stack = STACK.lock().await;
    let world = World::get().await;

    // Nothing is known yet: one step can be asked for, the others wait for it.
    let preview = world.preview(FIVE, "unused").await;
    let cascade = [("edit", waits("scene")), ("video", waits("edit")), ("analysis", waits("edit"))];
    let cascade: BTreeMap<&str, MissReason> = cascade.into_iter().chain([("poster", waits("analysis"))]).collect();
    let with_scene = |why: MissReason| cascade.clone().into_iter().chain([("scene", why)]).collect::<BTreeMap<_, _>>();
    assert_eq!((reasons(&preview), &preview.compared_with), (with_scene(MissReason::New), &None));
    assert_eq!((preview.net, preview.saved), (preview.price, Money::ZERO));

    let (counted, calls) = (world.counters().await, world.invocations().await);
    let first = world.run(FIVE, "unused").await;
    assert_eq!(generated(&first), ["scene", "edit", "video", "analysis", "poster"]);
    assert_eq!(world.counters().await.paid_since(&counted), (5, 5));
    let cost = |name: &str| first.steps.iter().find(|step| step.name.as_str() == name).unwrap().cost;
    all_logged(&world, &calls, &first).await;

    // What is no part of a request: the order of params and steps, names, timeouts, workers, money, and which steps read it by name.
    let (counted, calls) = (world.counters().await, world.invocations().await);
    let free = [
        FIVE.replace(r#"aspect_ratio: "16:9", seed: 7"#, r#"seed: 7, aspect_ratio: "16:9""#),
        FIVE.replace("scene", "lighthouse").replace("analysis", "words").replace("name: uses", "name: readers"),
        FIVE.replace("timeout: 60", "timeout: 99").replace("max_workers: 4", "max_workers: 2, max_cost: 0.000001"),
        FIVE.replace("name: incremental\n", "name: incremental too\n").replace("schedule: eager, ", ""),
    ];
    for document in &free {
        assert_ne!(document, FIVE);
        let preview = world.preview(document, "unused").await;
        assert!(preview.steps.iter().all(|step| step.hit && step.why.is_none()), "{:?}", reasons(&preview));
        assert_eq!((preview.net, preview.saved, &preview.compared_with), (Money::ZERO, first.cost, &None));
        let again = world.run(document, "unused").await;
        assert!(generated(&again).is_empty() && again.steps.iter().all(|step| step.source == Some(ResultSource::Hit)));
        assert_eq!((again.cost, again.saved, again.function_calls), (Money::ZERO, first.cost, 1));
    }
    world.until("the calls are logged", async || !world.invocations_since(&calls).await.is_empty()).await;
    let plans = async || world.invocations_since(&calls).await;
    world.until("all are logged", async || plans().await.iter().map(|(_, calls)| calls).sum::<usize>() >= 4).await;
    assert_eq!(plans().await, [("plan".to_owned(), free.len())]);
    assert_eq!(world.counters().await.paid_since(&counted), (0, 0));

    // The last of five is edited: it alone is paid. The run compared with is the last one of this name.
    let edited = FIVE.replace("a poster of", "a painting of");
    let last = world.run(FIVE, "unused").await;
    let preview = world.preview(&edited, "unused").await;
    assert_eq!(reasons(&preview), BTreeMap::from([("poster", changed(StepChange::Prompt))]));
    assert_eq!((&preview.compared_with, preview.net), (&Some(last.run_id), step(&preview, "poster").price));
    assert_eq!(preview.saved, first.cost - cost("poster"));
    for kept in preview.steps.iter().filter(|step| step.hit) {
        assert_eq!(kept.saves, cost(kept.name.as_str()), "{}", kept.name);
    }
    let counted = world.counters().await;
    assert_eq!(generated(&world.run(&edited, "unused").await), ["poster"]);
    assert_eq!(world.counters().await.paid_since(&counted), (1, 1));

    // The first is edited: what it makes is another picture, and so is everything that is made of it.
    let edited = FIVE.replace("a lighthouse", "a windmill");
    let preview = world.preview(&edited, "unused").await;
    assert_eq!(reasons(&preview), with_scene(changed(StepChange::Prompt)));
    assert_eq!((preview.net, preview.saved), (preview.price, Money::ZERO));
    let counted = world.counters().await;
    assert_eq!(generated(&world.run(&edited, "unused").await), ["scene", "edit", "video", "analysis", "poster"]);
    assert_eq!(world.counters().await.paid_since(&counted), (5, 5));
}

/// Two pictures and an edit of one of them.
const THREE: &str = r#"
name: reasons
steps:
  - { name: one, type: text_to_image, model: flux_schnell, params: { prompt: "reasons, one", seed: 1 } }
  - { name: other, type: text_to_image, model: flux_schnell, params: { prompt: "reasons, other" } }
  - { name: edit, type: image_to_image, model: kontext, input_from: one, params: { prompt: "reasons, an edit" } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_names_the_reason_of_each_miss() {
    let _stack = STACK.lock().await;
    let world = World::get().await;
    let first = world.run(THREE, "unused").await;
    assert_eq!(generated(&first), ["one", "other", "edit"]);

    let edit_of = |why: MissReason| BTreeMap::from([("edit", why)]);
    let one_and = |why: MissReason| BTreeMap::from([("one", why), ("edit", waits("one"))]);
    let params =
        |names: &[&str]| changed(StepChange::Params { names: names.iter().map(|&name| name.to_owned()).collect() });
    for (from, to, expected, words) in [
        ("model: kontext", "model: photon_flash", edit_of(changed(StepChange::Model)), "model changed"),
        ("input_from: one", "input_from: other", edit_of(changed(StepChange::Input)), "input changed"),
        ("seed: 1 } }", "seed: 1 }, take: 2 }", one_and(changed(StepChange::Take)), "take changed"),
        ("seed: 1", "seed: 2", one_and(params(&["seed"])), "seed changed"),
        ("seed: 1 } }", "seed: 1 }, cache: refresh }", one_and(MissReason::Refresh), "refresh"),
        ("an edit\" }", "an edit\" }, cache: \"off\"", edit_of(MissReason::Off), "cache off"),
        ("an edit", "an edit {{random}}", edit_of(MissReason::Fleeting), "never cached: timestamp or random"),
        ("name: edit", "name: another", BTreeMap::new(), ""),
    ] {
        let document = THREE.replacen(from, to, 1);
        assert_ne!(document, THREE, "{from}");
        let preview = world.preview(&document, "unused").await;
        assert_eq!(reasons(&preview), expected, "{from} -> {to}");
        let said = preview.steps.iter().find_map(|step| step.why.as_ref()).map(ToString::to_string);
        assert_eq!(said.unwrap_or_default(), words, "{from} -> {to}");
        // It is compared only where something is new.
        let compares = expected.values().any(|why| matches!(why, MissReason::Changed { .. }));
        assert_eq!(preview.compared_with, compares.then(|| first.run_id.clone()), "{from} -> {to}");
        assert_eq!(preview.saved + preview.net, preview.price, "list prices are what was paid");
    }

    // What is said is what happens. The other take is another job; as it is seeded the simulator draws the same picture, and
    // what is made of the same bytes is there: found by generate, once it knows its input.
    for (from, to, made) in
        [("input_from: one", "input_from: other", &["edit"][..]), ("seed: 1 } }", "seed: 1 }, take: 2 }", &["one"])]
    {
        let counted = world.counters().await;
        let manifest = world.run(&THREE.replacen(from, to, 1), "unused").await;
        assert_eq!(generated(&manifest), made, "{from} -> {to}");
        assert_eq!(world.counters().await.paid_since(&counted), (made.len() as u64, made.len() as u64));
    }

    // What was cleaned up was there once.
    let again = world.run(THREE, "unused").await;
    assert!(generated(&again).is_empty());
    let which = PruneOptions { older_than: MIN_CLEAN_AGE, dry_run: false };
    clean(&world.ahead(2 * MIN_CLEAN_AGE), which).await;
    let preview = world.preview(THREE, "unused").await;
    let removed = [("one", MissReason::Removed), ("other", MissReason::Removed), ("edit", waits("one"))];
    assert_eq!((reasons(&preview), &preview.compared_with), (removed.into(), &Some(again.run_id)));
    assert_eq!(generated(&world.run(THREE, "unused").await), ["one", "other", "edit"]);
}
