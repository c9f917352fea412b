//! Steps that read other steps, files and texts, through everything that deploys.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test suite: what does not work is to fail loudly")]

use std::path::Path;

use fresco_api_types::{Manifest, ManifestStep};
use fresco_cli::api::RunRequest;
use fresco_cli::api::{gather, save};
use fresco_ledger::records::{ResultSource, RunStatus, StepState};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::ErrorName;
use fresco_tests::World;

const FIVE: &str = include_str!("../../events/pipelines/five-steps.yaml");

fn step<'a>(manifest: &'a Manifest, name: &str) -> &'a ManifestStep {
    manifest.steps.iter().find(|step| step.name.as_str() == name).unwrap_or_else(|| panic!("there is no {name}"))
}

async fn text(world: &World, step: &ManifestStep) -> String {
    String::from_utf8(world.admin.object(&step.outputs[0].key).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_steps_in_one_command() {
    let world = World::get().await;
    let manifest = world.run(FIVE, "five steps of a lighthouse").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    let video = &step(&manifest, "video").outputs[0];
    assert_eq!(
        (video.kind, video.content_type.as_str(), video.duration_ms),
        (MediaKind::Video, "video/mp4", Some(6_000))
    );
    // What one step gives is what the next one takes.
    let edit = &step(&manifest, "edit").outputs[0];
    let analysis = text(&world, step(&manifest, "analysis")).await;
    assert!(analysis.contains(&edit.sha256[..8]), "the analysis is of the edit: {analysis}");
    let poster = format!("A poster of this: {analysis}");
    assert_eq!(world.requests_for(&poster).await.len(), 1, "the poster was asked for with the analysis in its prompt");
    let reads = |name: &str| step(&manifest, name).reads.iter().map(|read| read.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (reads("scene"), reads("video"), reads("poster")),
        (vec![], vec!["edit".to_owned()], vec!["analysis".to_owned()])
    );

    let folder = tempfile::tempdir().unwrap();
    let saved =
        save(&world.api, &world.api.run(&manifest.run_id).await.unwrap(), &manifest, folder.path()).await.unwrap();
    let names: Vec<&str> = saved.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["scene.jpg", "edit.jpg", "video.mp4", "analysis.txt", "poster.jpg"]);
    let sheet = std::fs::read_to_string(saved.folder.join("index.html")).unwrap();
    assert!(sheet.contains("<video src=\"video.mp4\"") && sheet.contains("(sha256 "), "{sheet}");
    assert_eq!(std::fs::read(saved.folder.join("video.mp4")).unwrap().len() as u64, video.bytes);

    // All of it is there: keys that depend on results are found level by level.
    let again = world.run(FIVE, "five steps of a lighthouse").await;
    assert!(again.steps.iter().all(|step| step.source == Some(ResultSource::Hit)), "{:?}", again.steps);
    assert_eq!(again.function_calls, 1);
    let preview = world.preview(FIVE, "five steps of a lighthouse").await;
    assert!(
        preview.steps.iter().all(|step| step.hit) && preview.net.as_micros() == 0 && preview.missing_keys.is_empty()
    );
    assert_eq!(world.requests_for(&poster).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_over_several_outputs_has_parts() {
    let world = World::get().await;
    let document = r#"
steps:
  - name: scene
    type: text_to_image
    model: flux_schnell
    params: { prompt: "parts of a scene", num_images: 2 }
  - name: other
    type: text_to_image
    model: flux_schnell
    params: { prompt: "parts, the other scene" }
  - name: video
    type: image_to_video
    input_from: [scene, other]
    params: { prompt: "the parts move", duration: 6, resolution: 512P }
  - name: all
    type: analyze_image
    input_from: [scene, other]
    params: { prompt: "What do the parts have in common?" }
"#;
    let manifest = world.run(document, "unused").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    let names: Vec<&str> = manifest.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["scene", "other", "video_1", "video_2", "video_3", "all"]);
    assert_eq!(step(&manifest, "scene").outputs.len(), 2);
    let keys: std::collections::BTreeSet<_> =
        manifest.steps.iter().filter(|step| step.of.as_str() == "video").map(|step| step.key.clone()).collect();
    assert_eq!(keys.len(), 3, "each part has an input, hence a key, of its own");
    assert_eq!(world.requests_for("the parts move").await.len(), 3);
    let asked = world.requests_for("What do the parts have in common?").await;
    assert_eq!((asked.len(), asked[0]["inputs"].as_u64()), (1, Some(3)), "all pictures go into one request");

    let folder = tempfile::tempdir().unwrap();
    let saved =
        save(&world.api, &world.api.run(&manifest.run_id).await.unwrap(), &manifest, folder.path()).await.unwrap();
    let names: Vec<&str> = saved.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        ["scene_1.jpg", "scene_2.jpg", "other.jpg", "video_1.mp4", "video_2.mp4", "video_3.mp4", "all.txt"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fail_fast_a_failure_skips_only_what_needs_it() {
    let world = World::get().await;
    // Money for the pictures and not for the edit.
    let document = r#"
settings: { fail_fast: false, max_cost: 0.01 }
steps:
  - { name: scene, type: text_to_image, model: flux_schnell, params: { prompt: "skipping, a scene" } }
  - { name: edit, type: image_to_image, params: { prompt: "skipping, an edit" } }
  - { name: analysis, type: analyze_image, params: { prompt: "skipping, an analysis" } }
  - { name: last, type: text_to_image, model: flux_schnell, params: { prompt: "skipping, the last" } }
"#;
    let manifest = world.run(document, "unused").await;
    assert_eq!(manifest.status, RunStatus::Partial);
    let failed = |name: &str| step(&manifest, name).failure.as_ref().map(|failure| failure.name);
    assert_eq!((failed("edit"), failed("analysis")), (Some(ErrorName::BudgetExceeded), Some(ErrorName::StepSkipped)));
    assert_eq!((step(&manifest, "scene").state, step(&manifest, "last").state), (StepState::Done, StepState::Done));
    assert_eq!(world.requests_with(|prompt| prompt.starts_with("skipping")).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_inputs_by_their_content() {
    let world = World::get().await;
    let folder = tempfile::tempdir().unwrap();
    let scene =
        world.run("steps: [{ name: scene, type: text_to_image, model: flux_schnell }]", "a file to be given").await;
    let bytes = world.admin.object(&scene.steps[0].outputs[0].key).await.unwrap();
    for name in ["one.jpg", "two.jpeg"] {
        std::fs::write(folder.path().join(name), &bytes).unwrap();
    }
    let document = r#"
steps:
  - { name: a, type: image_to_image, params: { image: one.jpg, prompt: "a given file, edited" } }
  - { name: b, type: image_to_image, params: { image: "{{vars.other}}", prompt: "a given file, edited" } }
  - { name: c, type: image_to_image, params: { image: "{{step_a.output}}", prompt: "a given file, edited twice" } }
vars: { other: two.jpeg }
"#;
    let mut request = RunRequest::new(document);
    let inputs = gather(&mut request, folder.path());
    assert_eq!(inputs.len(), 1, "the same content is one input");
    let manifest = world.run_with(&request, &inputs).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(step(&manifest, "a").key, step(&manifest, "b").key, "and one content key");
    assert_eq!(step(&manifest, "a").given, [scene.steps[0].outputs[0].sha256.clone()]);
    assert_eq!(world.requests_for("a given file, edited").await.len(), 1);
    assert_eq!(world.requests_for("a given file, edited twice").await.len(), 1);

    // The run's own image is for the first step that needs one and names none.
    let mut request =
        RunRequest::new("steps: [{ name: a, type: image_to_image, params: { prompt: \"a given file, edited\" } }]");
    request.inputs.image = Some(folder.path().join("two.jpeg").display().to_string());
    let inputs = gather(&mut request, Path::new(""));
    let manifest = world.run_with(&request, &inputs).await;
    assert_eq!(manifest.steps[0].source, Some(ResultSource::Hit), "{:?}", manifest.steps[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_differs_at_every_run_is_generated_at_every_run() {
    let world = World::get().await;
    let document = "steps: [{ name: a, type: text_to_image, model: flux_schnell, params: { prompt: \"at {{timestamp}}, {{random}}\" } }]";
    let preview = world.preview(document, "unused").await;
    assert_eq!(
        preview.steps[0].why.as_ref().map(ToString::to_string).as_deref(),
        Some("never cached: timestamp or random")
    );
    for _ in 0..2 {
        let manifest = world.run(document, "unused").await;
        assert_eq!(manifest.steps[0].source, Some(ResultSource::Generated));
    }
    let asked = world.requests_with(|prompt| prompt.starts_with("at 20")).await;
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].prompt(), asked[1].prompt());
}
