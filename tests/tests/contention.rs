//! Many writers of the same items, on a table whose transactions conflict: all lanes of a run share its row, and all chunks
//! of a batch share the batch's. Nothing is lost, everything ends, and the sums are exact.

use fresco_api_types::BatchBody;
use fresco_ledger::records::{BatchStatus, ResultSource, RunStatus};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_tests::World;
use serde_json::{Value, json};

/// Lanes at a time, the most that a run has.
const LANES: usize = 40;
/// Refused writes for each transaction that was carried out, at most. Less than one is usual.
const MOST_REFUSED: u64 = 5;

fn lanes(prompt: &str) -> String {
    let step = |n: usize| {
        format!(
            "  - {{ name: s{n}, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt} {n:02}\" }} }}\n"
        )
    };
    let steps: String = (0..LANES).map(step).collect();
    format!(
        "settings: {{ max_cost: 1.00 }}\nsteps:\n- type: parallel_group\n  name: g\n  max_workers: {LANES}\n  steps:\n{steps}"
    )
}

async fn asked(world: &World, prompt: &str) -> usize {
    world.requests_with(|asked| asked.starts_with(prompt)).await.len()
}

/// Carries out a part of a test and returns its outcome. Writes are refused meanwhile, but not without bound: those that are
/// tried again do not meet each other again and again.
async fn under_conflicts<T>(world: &World, part: impl Future<Output = T>) -> T {
    let before = world.conflicts().await;
    let outcome = part.await;
    let after = world.conflicts().await;
    let (transactions, refused) = (after.0 - before.0, after.1 - before.1);
    println!("{transactions} transactions, {refused} writes refused");
    assert!(refused > 0, "no write was refused");
    assert!(refused < MOST_REFUSED * transactions, "{refused} refused for {transactions} transactions");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_lanes_claim_from_one_row() {
    let world = World::with_conflicts().await;
    let manifest = under_conflicts(&world, world.run(&lanes("a lane"), "unused")).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert!(manifest.steps.iter().all(|step| step.source == Some(ResultSource::Generated)));
    let sum: Money = manifest.steps.iter().map(|step| step.cost).sum();
    assert_eq!((manifest.cost, asked(&world, "a lane").await), (sum, LANES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_arrives_while_all_lanes_claim() {
    let world = World::with_conflicts().await;
    // No job ends before the stop.
    world.control("faults", &json!([{"fault": "slow", "seconds": 5, "prompt": "a stopped lane"}])).await;
    let stopped = async {
        let run = world.start(&lanes("a stopped lane"), "unused").await;
        world.until("lanes are at work", async || asked(&world, "a stopped lane").await > 5).await;
        world.api.stop(&run).await.unwrap();
        world.ended(&run).await
    };
    let manifest = under_conflicts(&world, stopped).await;
    world.forget_faults().await;
    assert_eq!(manifest.status, RunStatus::Stopped, "{:?}", manifest.failure);
    // What was paid is in the run's sum, and was asked for once.
    let again = world.run(&lanes("a stopped lane"), "unused").await;
    assert_eq!(again.status, RunStatus::Succeeded, "{:?}", again.failure);
    let prompts = world.requests_with(|asked| asked.starts_with("a stopped lane")).await;
    let cancelled = prompts.iter().filter(|request| request.record["error_type"] == json!("client_cancelled")).count();
    assert_eq!(prompts.len() - cancelled, LANES, "{cancelled} jobs were cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_end_on_one_row() {
    let world = World::with_conflicts().await;
    let rows: Vec<Value> = (0..40).map(|row| json!(format!("a chunk {row:02}"))).collect();
    let pipeline =
        "steps: [{ name: image, type: text_to_image, model: flux_schnell, params: { prompt: '{{input}}' } }]\n";
    let body = BatchBody {
        pipeline: Some(pipeline.into()),
        rows: Some(rows),
        chunk_size: Some(2),
        max_concurrent_chunks: Some(8),
        max_cost: Some(2_000_000),
        ..BatchBody::default()
    };
    let ended = async {
        let batch = RunId::parse(world.api.start_batch(&body, None).await.unwrap().id).unwrap();
        world.until("the batch ends", async || world.api.batch(&batch).await.unwrap().status.is_final()).await;
        world.api.batch(&batch).await.unwrap()
    };
    let view = under_conflicts(&world, ended).await;
    assert_eq!((view.status, view.counts.done, view.counts.chunks), (BatchStatus::Succeeded, 40, 20), "{view:?}");
    assert_eq!((view.running_chunks, asked(&world, "a chunk").await), (0, 40));
    assert_eq!(view.counts.spent, view.plan.unwrap().price, "all rows at their price");
}
