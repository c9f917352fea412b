//! Many requests at once, on a stack that does nothing else.

use std::time::Instant;

use fresco_ledger::records::RunStatus;
use fresco_tests::{RawClient, World};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

/// A hundred requests at once for ten pipelines are accepted, and submit ten jobs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_for_ten_pipelines_are_ten_jobs() {
    const REQUESTS: usize = 100;
    const PIPELINES: usize = 10;
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let answers = join_all((0..REQUESTS).map(async |n| {
        let started = Instant::now();
        let body = json!({"pipeline": RawClient::picture(&format!("load {}", n % PIPELINES))});
        (asking.start(None, &body).await, started.elapsed())
    }))
    .await;
    let (mut took, mut runs) = (Vec::new(), Vec::new());
    for ((status, answer), time) in answers {
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        runs.push(RawClient::id_of(&answer));
        took.push(time);
    }
    took.sort();
    let (middle, late, last) = (took[REQUESTS / 2], took[REQUESTS * 95 / 100], took[REQUESTS - 1]);
    println!("POST /runs, {REQUESTS} at once: median {middle:?}, 95 % {late:?}, longest {last:?}");
    for run in runs {
        let manifest = world.ended(&run).await;
        assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    }
    for n in 0..PIPELINES {
        assert_eq!(world.requests_for(&format!("load {n}")).await.len(), 1, "load {n}");
    }
}
