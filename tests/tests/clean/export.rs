//! Exports: a run's outputs, named by step, in a bucket that no clean-up touches.

use fresco_api_types::Manifest;
use fresco_cli::api::RunRequest;
use fresco_ledger::records::ResultSource;
use fresco_pipeline::error::ErrorName;
use fresco_tests::{EXPORTS, World};

use super::{STACK, calls_of_generate, one, refused, succeeded};

const TO: &str = "export: \"s3://fresco-deliverables/spring/campaign\"";

async fn run(world: &World, document: &str, input: &str) -> Manifest {
    let request = RunRequest::new(document).with_input(input);
    world.run_request(&request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_are_exported_by_name_with_their_manifest() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;

    // Another bucket is refused before anything is submitted; the one that is allowed is there or not.
    for other in ["export: \"s3://another-account/spring\"", "export: \"s3://fresco-deliverables-2\""] {
        refused(&world, &one(other), "exported to a stranger", ErrorName::ExportDenied).await;
    }
    world.remove_bucket(EXPORTS).await;
    let homeless = run(&world, &one(TO), "exported to nowhere").await;
    succeeded(&homeless, ResultSource::Generated);
    let exported = homeless.exported.as_ref().unwrap();
    let failed: Vec<_> = exported.failed.iter().map(|file| (file.name.as_str(), file.failure.name)).collect();
    assert_eq!((failed, exported.files.len()), (vec![("image.jpg", ErrorName::StorageDenied)], 0));
    assert!(exported.failed[0].failure.message.contains("no such bucket"), "{:?}", exported.failed);

    world.make_bucket(EXPORTS).await;
    let document = format!(
        "name: exported\nsettings: {{ {TO} }}\n{}",
        r#"
steps:
- { name: scene, type: text_to_image, model: flux_schnell, params: { num_images: 2 } }
- { name: words, type: analyze_image, input_from: scene, params: { prompt: "What is exported?" } }
"#
    );
    let made = run(&world, &document, "two pictures and words").await;
    succeeded(&made, ResultSource::Generated);
    exported_whole(&world, &made, &["scene_1.jpg", "scene_2.jpg", "words.txt"]).await;

    // Where everything is there already, plan exports by itself: one call, and a folder of its own.
    let again = run(&world, &document, "two pictures and words").await;
    succeeded(&again, ResultSource::Hit);
    assert_eq!((again.function_calls, calls_of_generate(&world, &again.run_id).await), (1, 0));
    exported_whole(&world, &again, &["scene_1.jpg", "scene_2.jpg", "words.txt"]).await;
    assert_ne!(again.exported.unwrap().to, made.exported.unwrap().to);
    // The bucket alone is a place, too.
    let whole = "export: \"s3://fresco-deliverables\"";
    let top = run(&world, &one(whole), "exported to nowhere").await;
    succeeded(&top, ResultSource::Hit);
    assert_eq!(top.exported.as_ref().unwrap().to, format!("s3://{EXPORTS}/{}", top.run_id));
    exported_whole(&world, &top, &["image.jpg"]).await;
}

/// The export holds the outputs of the manifest byte for byte, the manifest, and nothing else.
async fn exported_whole(world: &World, manifest: &Manifest, files: &[&str]) {
    let exported = manifest.exported.as_ref().unwrap();
    assert!(exported.is_whole(), "{:?}", exported.failed);
    assert_eq!(exported.files, files);
    let folder = exported.to.strip_prefix(&format!("s3://{EXPORTS}/")).unwrap();
    assert!(folder.ends_with(manifest.run_id.as_str()), "{folder}");
    let outputs: Vec<_> = manifest.steps.iter().flat_map(|step| &step.outputs).collect();
    assert_eq!(outputs.len(), files.len());
    for (file, output) in files.iter().zip(outputs) {
        let copy = world.object_of(EXPORTS, &format!("{folder}/{file}")).await.unwrap();
        assert_eq!(copy, world.admin.object(&output.key).await.unwrap(), "{file}");
    }
    let beside = world.object_of(EXPORTS, &format!("{folder}/manifest.json")).await.unwrap();
    assert_eq!(serde_json::from_slice::<Manifest>(&beside).unwrap(), *manifest);
    assert_eq!(world.listed(EXPORTS, &format!("{folder}/")).await.len(), files.len() + 1);
}
