//! Every pipeline of the performance guide, as it stands there; and what its Python samples build, as JSON.

use super::*;

const PARALLEL: &str = r#"# YAML setting
settings:
  parallel: true
"#;
const GROUP: &str = r#"steps:
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
const WORKERS: &str = r#"settings:
  parallel: true
  max_workers: 4  # Adjust based on your usage
"#;
const DEPENDENCIES: &str = r#"steps:
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

#[test]
fn fragments_of_settings() {
    for fragment in [PARALLEL, WORKERS] {
        let checked = accepted(&format!("{fragment}steps:\n  - type: text_to_image\n"), &given());
        assert!(checked.parallel && checked.groups[0].workers == 4);
    }
}

#[test]
fn the_group_of_three_images() {
    let checked = accepted(GROUP, &no_input());
    assert_eq!(checked.groups.len(), 1);
    let group = &checked.groups[0];
    assert_eq!(
        (group.name.as_ref().map(StepName::as_str), group.workers, group.steps.len()),
        (Some("batch_images"), 4, 3)
    );
    for (name, prompt) in [("image_1", "sunset"), ("image_2", "mountains"), ("image_3", "ocean")] {
        assert_eq!(step(&checked, name).params["prompt"], prompt);
    }
}

#[test]
fn the_example_with_dependencies() {
    let checked = accepted(DEPENDENCIES, &given());
    let sizes: Vec<_> = checked.groups.iter().map(|group| group.steps.len()).collect();
    assert_eq!(sizes, [1, 2, 1]);
    for (name, model, taken) in [
        ("base_image", "flux_dev", vec![]),
        ("video", "hailuo", vec!["image_url=base_image.0"]),
        ("thumbnail", "kontext", vec!["image_url=base_image.0"]),
        ("analysis", "gemini_describe", vec!["image=thumbnail.0"]),
    ] {
        assert_eq!(step(&checked, name).model.name, model);
        assert_eq!(takes(&checked, name), taken, "{name}");
    }
    // Every step but the analysis needs a prompt.
    assert_eq!(codes(DEPENDENCIES, &no_input()).len(), 3);
}

#[test]
fn the_chunked_sample_compiles() {
    let text = r#"{
      "settings": {"parallel": true},
      "steps": [
        {"type": "parallel_group", "steps": [
          {"type": "text_to_image", "params": {"prompt": "one"}},
          {"type": "text_to_image", "params": {"prompt": "two"}},
          {"type": "text_to_image", "params": {"prompt": "three"}}
        ]}
      ]
    }"#;
    let checked = accepted(text, &no_input());
    assert_eq!((checked.groups.len(), checked.groups[0].workers), (1, 4));
    for (name, prompt) in [("step_1", "one"), ("step_2", "two"), ("step_3", "three")] {
        let step = step(&checked, name);
        assert_eq!((step.model.name.as_str(), &step.params["prompt"]), ("flux_dev", &prompt.into()));
    }
}

#[test]
fn the_short_samples_compile() {
    // `generate_image(prompt, model, timeout)`; sora_2_pro makes videos, so it has an image to start from.
    for (step, seconds) in [
        (r#"{"type": "text_to_image", "model": "flux_schnell", "timeout": 30, "params": {"prompt": "test"}}"#, 30),
        (
            r#"{"type": "image_to_video", "model": "sora_2_pro", "timeout": 600, "params": {"prompt": "test", "image": "cat.png"}}"#,
            600,
        ),
    ] {
        let checked = accepted(&format!(r#"{{"steps": [{step}]}}"#), &no_input());
        assert_eq!(checked.groups[0].steps[0].timeout, Some(seconds));
    }
    for model in ["flux_schnell", "flux_dev", "imagen4", "nano_banana_pro", "nano_banana"] {
        let text = format!(r#"{{"steps": [{{"type": "text_to_image", "model": "{model}"}}]}}"#);
        accepted(&text, &RunInputs { input: Some("a beautiful sunset".into()), ..RunInputs::default() });
    }
}
