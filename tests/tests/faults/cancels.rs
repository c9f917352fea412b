//! Cancellations that go wrong. A run is stopped while its job is in the queue; whatever the provider answers, what is done
//! in the end is paid once and kept, what is not costs nothing, and no money stays reserved.

use fresco_engine::platform::Platform;
use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_ledger::traits::Waiters;
use fresco_tests::{World, document};
use serde_json::json;

use super::SIMULATOR;
use super::drive::{Driver, MINUTES};

/// The fault, how many of its jobs are done and billed, and whether the result is kept.
pub(crate) const TABLE: &[(&str, usize, bool)] = &[
    ("cancel_too_late", 1, true),
    ("cancel_not_found", 1, true),
    ("cancel_ignored", 1, true),
    ("cancel_200", 0, false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_may_fail_at_the_provider() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::with_short_waits().await;
    let rules: Vec<_> = TABLE.iter().map(|(fault, ..)| json!({"fault": fault, "prompt": fault})).collect();
    world.control("faults", &json!(rules)).await;
    world.control("settings", &json!({"concurrency": 0})).await;
    let mut runs = Vec::new();
    for (fault, ..) in TABLE {
        let run = world.start(&document("flux_schnell"), fault).await;
        world
            .until("the job is submitted", async || {
                world.step(&run, "image").await.is_some_and(|step| step.source == Some(ResultSource::Generated))
            })
            .await;
        world.api.stop(&run).await.unwrap();
        assert_eq!(world.ended(&run).await.status, RunStatus::Stopped, "{fault}");
        runs.push(run);
    }
    world.control("settings", &json!({"concurrency": 40})).await;
    let driver = Driver { world: &world, folder: std::path::Path::new("") };
    for ((fault, billed, kept), run) in TABLE.iter().zip(&runs) {
        let key = world.step(run, "image").await.unwrap().key.unwrap();
        world
            .until("the job has ended", async || {
                // As sweep does every minute.
                driver.world.age(&key, MINUTES).await;
                world.admin.sweep().await.unwrap();
                world.admin.status(run).await.unwrap().0.held.as_micros() == 0
            })
            .await;
        let requests = world.requests_for(fault).await;
        assert_eq!((requests.len(), &requests[0]["faults"]), (1, &json!([fault])));
        let done = requests.iter().filter(|request| request["billable_units"].as_f64().is_some()).count();
        let (record, _) = world.admin.status(run).await.unwrap();
        let entry = world.entry(&key).await;
        assert_eq!((done, record.settled.as_micros() > 0), (*billed, *billed > 0), "{fault}");
        assert_eq!((entry.result.is_some(), entry.pending.is_some()), (*kept, false), "{fault}");
        assert!(world.admin.engine().platform.ledger().waiters(&key).await.unwrap().is_empty(), "{fault}");
    }
    world.forget_faults().await;
    for (fault, _, kept) in TABLE {
        let manifest = world.run(&document("flux_schnell"), fault).await;
        let source = if *kept { ResultSource::Hit } else { ResultSource::Generated };
        assert_eq!(manifest.steps[0].source, Some(source), "{fault}");
    }
}
