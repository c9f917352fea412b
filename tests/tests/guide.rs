//! The performance guide's pipelines, as they stand there, through everything that deploys. What ran when is read off the
//! simulator's record, on the other side of the wire.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::Manifest;
use fresco_ledger::records::{RunStatus, StepState};
use fresco_tests::{Request, World, most_at_once};

/// "Parallel Groups".
const GROUP: &str = r#"
steps:
  # These run in parallel (2-3x faster)
  - type: "parallel_group"
    name: "batch_images"
    steps:
      - name: "image_1"
        type: "text_to_image"
        params: { prompt: "sunset" }
      - name: "image_2"
        type: "text_to_image"
        params: { prompt: "mountains" }
      - name: "image_3"
        type: "text_to_image"
        params: { prompt: "ocean" }
"#;

/// "Dependency-Aware Parallelization".
const DEPENDENCIES: &str = r#"
steps:
  # Step 1: Runs first (no dependencies)
  - name: "base_image"
    type: "text_to_image"

  # Steps 2-3: Run in parallel (both depend only on step 1)
  - type: "parallel_group"
    steps:
      - name: "video"
        type: "image_to_video"
        input_from: "base_image"

      - name: "thumbnail"
        type: "image_to_image"
        input_from: "base_image"

  # Step 4: Runs after parallel group completes
  - name: "analysis"
    type: "analyze_image"
    input_from: "thumbnail"
"#;

/// "Enable Parallel Processing" and "Optimal Worker Count" are settings only: they need a step to be a pipeline.
const SETTINGS: [&str; 2] =
    ["settings:\n  parallel: true\n", "settings:\n  parallel: true\n  max_workers: 4  # Adjust based on your usage\n"];

/// The document that `process_in_chunks` builds for a chunk of three prompts: unnamed steps without a model.
const CHUNK: &str = r#"{"settings": {"parallel": true}, "steps": [{"type": "parallel_group", "steps": [
    {"type": "text_to_image", "params": {"prompt": "a chunk's first"}},
    {"type": "text_to_image", "params": {"prompt": "a chunk's second"}},
    {"type": "text_to_image", "params": {"prompt": "a chunk's third"}}]}]}"#;

/// It plans, it runs, and every step has its result.
async fn runs(world: &World, document: &str, input: &str) -> Manifest {
    let preview = world.preview(document, input).await;
    let manifest = world.run(document, input).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}\n{document}", manifest.failure);
    assert!(manifest.steps.iter().all(|step| step.state == StepState::Done && !step.outputs.is_empty()));
    assert_eq!(manifest.steps.len(), preview.steps.len());
    // What it paid is what the plan said at the most.
    assert!(manifest.cost <= preview.net, "{} and {} were planned", manifest.cost, preview.net);
    assert!(preview.critical_path_ms <= preview.wall_ms && preview.wall_ms <= preview.sequential_ms);
    manifest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_yaml_block_of_the_guide_runs() {
    let world = World::get().await;
    for settings in SETTINGS {
        runs(&world, &format!("{settings}{}", GROUP.trim_start()), "unused").await;
    }
    runs(&world, GROUP, "unused").await;
    let manifest = runs(&world, DEPENDENCIES, "as the guide has it").await;
    let kinds: Vec<&str> =
        manifest.steps.iter().map(|step| step.outputs[0].content_type.split(';').next().unwrap()).collect();
    assert_eq!(kinds, ["image/jpeg", "video/mp4", "image/jpeg", "text/plain"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configurations_of_the_guides_samples_run() {
    let world = World::get().await;
    let manifest = runs(&world, CHUNK, "unused").await;
    let names: Vec<&str> = manifest.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["step_1", "step_2", "step_3"]);
    assert!(manifest.steps.iter().all(|step| step.model == "flux_dev"));
    // `generate_image(prompt="test", model="flux_schnell", timeout=30)`, `compare_models` and `generate_cached`.
    for model in ["flux_schnell", "flux_dev", "imagen4"] {
        let step = format!(
            r#"{{"type": "text_to_image", "model": "{model}", "timeout": 30, "params": {{"prompt": "a beautiful sunset"}}}}"#
        );
        runs(&world, &format!(r#"{{"steps": [{step}]}}"#), "benchmark test").await;
    }
}

/// The guide's example with prompts that identify its requests.
async fn dependencies(world: &World, schedule: &str, prompt: &str) -> Vec<Request> {
    let asked = |what: &str| format!("params: {{ prompt: \"{prompt}, {what}\" }}");
    let document = DEPENDENCIES
        .replace("steps:\n  # Step 1", &format!("settings: {{ schedule: {schedule} }}\nsteps:\n  # Step 1"))
        .replace("type: \"text_to_image\"\n", &format!("type: \"text_to_image\"\n    {}\n", asked("base")))
        .replace("type: \"image_to_video\"\n", &format!("type: \"image_to_video\"\n        {}\n", asked("video")))
        .replace("type: \"image_to_image\"\n", &format!("type: \"image_to_image\"\n        {}\n", asked("thumbnail")))
        .replace("type: \"analyze_image\"\n", &format!("type: \"analyze_image\"\n    {}\n", asked("analysis")));
    runs(world, &document, "unused").await;
    let requests = world.requests_with(|asked| asked.starts_with(prompt)).await;
    let one = |what: &str| {
        let mut found = requests.iter().filter(|request| request.prompt().ends_with(what));
        let request = found.next().unwrap().clone();
        assert!(found.next().is_none(), "{what} was asked for twice");
        request
    };
    ["base", "video", "thumbnail", "analysis"].map(one).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_after_a_group_waits_for_the_whole_group() {
    let world = World::get().await;
    let [base, video, thumbnail, analysis] = &dependencies(&world, "groups", "in groups").await[..] else { panic!() };
    assert!(base.to() <= video.from().min(thumbnail.from()));
    assert!(video.from() < thumbnail.to() && thumbnail.from() < video.to(), "they run side by side");
    assert!(analysis.from() >= video.to().max(thumbnail.to()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eager_step_starts_as_soon_as_its_input_exists() {
    let world = World::get().await;
    // Videos take three times as long as edits, but chance and a busy machine draw the times.
    let [base, video, thumbnail, analysis] = &dependencies(&world, "eager", "eagerly").await[..] else { panic!() };
    assert!(base.to() <= video.from().min(thumbnail.from()));
    assert!(analysis.from() >= thumbnail.to());
    assert!(analysis.from() < video.to(), "it did not wait for the video");
}

fn images(settings: &str, group: &str, prompt: &str, count: usize) -> String {
    let step = |n: usize| {
        format!("    - {{ name: image_{n}, type: text_to_image, params: {{ prompt: \"{prompt} {n}\" }} }}\n")
    };
    let steps: String = (1..=count).map(step).collect();
    format!("settings: {settings}\nsteps:\n- type: parallel_group\n  name: batch\n{group}  steps:\n{steps}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_of_a_group_overlap_up_to_its_workers() {
    let world = World::get().await;
    for (settings, group, prompt, most) in [
        ("{}", "", "overlapped", 3),
        ("{ max_workers: 2 }", "", "two at once", 2),
        ("{ workers: limited }", "", "limited", 2),
        ("{ max_workers: 8 }", "  max_workers: 2\n", "the group's own", 2),
    ] {
        runs(&world, &images(settings, group, prompt, 3), "unused").await;
        let requests = world.requests_with(|asked| asked.starts_with(prompt)).await;
        assert_eq!(requests.len(), 3);
        let at_once = most_at_once(&requests);
        assert!(1 < at_once && at_once <= most, "{prompt}: {at_once}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_parallel_steps_run_one_at_a_time_in_order() {
    let world = World::get().await;
    runs(&world, &images("{ parallel: false }", "", "one by one", 4), "unused").await;
    let requests = world.requests_with(|asked| asked.starts_with("one by one")).await;
    let order: Vec<&str> = requests.iter().map(|request| request.prompt().rsplit(' ').next().unwrap()).collect();
    assert_eq!(order, ["1", "2", "3", "4"]);
    assert!(requests.windows(2).all(|pair| pair[0].to() <= pair[1].from()));
}
