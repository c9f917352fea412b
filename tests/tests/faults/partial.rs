//! Results that are short of what was asked for: what is good is kept and used, what needs the rest fails with the reason,
//! and the next run asks again.

use fresco_api_types::Manifest;
use fresco_ledger::records::{ResultSource, RunStatus, StepState};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::media::Shortfall;
use fresco_tests::World;
use serde_json::json;

use super::SIMULATOR;

/// Four pictures, and an edit of each.
fn document(prompt: &str) -> String {
    format!(
        "settings: {{ fail_fast: false }}
steps:
- {{ name: four, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\", num_images: 4 }} }}
- {{ name: edit, type: image_to_image, model: kontext, input_from: four, params: {{ prompt: \"{prompt}, edited\" }} }}
"
    )
}

/// Runs the document under a fault that strikes once, and again without it.
async fn short(fault: serde_json::Value, expected: Shortfall) {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let prompt = format!("four pictures, short by {}", fault["fault"]);
    let prompt = prompt.replace('"', "");
    let mut rule = fault;
    (rule["prompt"], rule["times"]) = (json!(prompt), json!(1));
    world.control("faults", &json!([rule])).await;
    let document = document(&prompt);

    let first = world.run(&document, "unused").await;
    let four = &first.steps[0];
    assert_eq!((four.state, four.source), (StepState::Done, Some(ResultSource::Generated)), "{:?}", four.failure);
    assert_eq!((four.outputs.len(), four.shortfall.as_ref()), (3, Some(&expected)));
    let edits = |manifest: &Manifest, state: StepState| {
        manifest.steps.iter().filter(|step| step.of.as_str() == "edit" && step.state == state).count()
    };
    assert_eq!((edits(&first, StepState::Done), edits(&first, StepState::Failed)), (3, 1));
    let failed = first.steps.iter().find_map(|step| step.failure.as_ref()).unwrap();
    assert_eq!(failed.name, ErrorName::StepInput);
    assert!(failed.message.contains(&expected.to_string()), "the reason is named: {failed}");
    let view = fresco_cli::view::runs::ended(&first);
    assert!(view.contains(&expected.to_string()), "{view}");

    // Three pictures are no hit for four.
    let second = world.run(&document, "unused").await;
    assert_eq!(second.status, RunStatus::Succeeded, "{:?}", second.failure);
    let four = &second.steps[0];
    assert_eq!((four.source, four.outputs.len(), &four.shortfall), (Some(ResultSource::Generated), 4, &None));
    let third = world.run(&document, "unused").await;
    assert!(third.steps.iter().all(|step| step.source == Some(ResultSource::Hit)), "four are");
    world.forget_faults().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_pictures_beside_a_blanked_one_are_kept() {
    short(json!({"fault": "nsfw", "pictures": 1}), Shortfall::Outputs { asked: 4, given: 3, blanked: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_pictures_than_asked_for_are_kept() {
    short(json!({"fault": "few_media", "files": 3}), Shortfall::Outputs { asked: 4, given: 3, blanked: 0 }).await;
}
