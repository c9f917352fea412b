//! A stack that no webhook can reach, as on a laptop with a real provider: the nudge is the poll loop. The state machine's
//! timeout is the check interval, so this is the nudge's own way through the real state machine.

use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_tests::{World, document};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_webhooks_are_repaired_by_the_nudge() {
    let world = World::without_webhooks().await;
    let manifest = world.run(&document("imagen4"), "no webhook arrives").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(manifest.steps[0].source, Some(ResultSource::Generated));
    let requests = world.requests_for("no webhook arrives").await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["webhook_url"], serde_json::Value::Null);
    // Generate was called again, and asked instead of submitting.
    let run = world.step(&manifest.run_id, "image").await.unwrap();
    assert!(run.calls > 1, "{} calls", run.calls);
}
