//! Storage: clean-up, exports, and the limit. All of it concerns the whole bucket, so the tests run one at a time, on a stack
//! that may store a gigabyte and may export.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

mod export;
mod limit;
mod results;

use fresco_api_types::Manifest;
use fresco_cli::api::Inputs;
use fresco_cli::api::RunRequest;
use fresco_ledger::records::{ResultSource, RunStatus, StepState};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::RunId;
use fresco_tests::World;
use serde_json::json;
use tokio::sync::Mutex;

static STACK: Mutex<()> = Mutex::const_new(());

/// One picture of the input text, with these settings.
fn one(settings: &str) -> String {
    format!(
        "name: one\nsettings: {{ {settings} }}\nsteps: [{{ name: image, type: text_to_image, model: flux_schnell }}]\n"
    )
}

fn succeeded(manifest: &Manifest, source: ResultSource) {
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    let other = manifest.steps.iter().find(|step| (step.state, step.source) != (StepState::Done, Some(source)));
    assert!(other.is_none(), "{other:?}");
}

/// A run of this document is refused with this error by its preview and by plan, and nothing is submitted for it.
async fn refused(world: &World, document: &str, input: &str, name: ErrorName) {
    let before = world.requests_for(input).await.len();
    let request = RunRequest::new(document).with_input(input);
    let said = world.api.plan(&request, &Inputs::default()).await.unwrap().refused;
    assert_eq!(said.as_ref().map(|failure| failure.name), Some(name), "{said:?}");
    let manifest = world.run_request(&request).await;
    let why = manifest.failure.as_ref().map(|failure| failure.name);
    assert_eq!((manifest.status, why), (RunStatus::Failed, Some(name)), "{:?}", manifest.failure);
    assert_eq!(manifest.cost.as_micros(), 0);
    assert_eq!(world.requests_for(input).await.len(), before, "nothing was submitted");
    assert_eq!(calls_of_generate(world, &manifest.run_id).await, 0, "refused before any of it is a task");
}

async fn calls_of_generate(world: &World, run: &RunId) -> u32 {
    world.record(run).await.1.iter().map(|step| step.calls).sum()
}

/// Sets the number of requests that the provider works on at a time; 0 holds the queue.
async fn concurrency(world: &World, most: usize) {
    world.control("settings", &json!({"concurrency": most})).await;
}
