//! Many requests at once, on a stack that does nothing else.

use std::time::Instant;

use fresco_ledger::records::RunStatus;
use fresco_tests::{Asking, World};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

/// Two hundred requests at once for twenty pipelines: twenty pipelines' worth of work, and nobody is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ask_for_few_things() {
    const REQUESTS: usize = 200;
    const PIPELINES: usize = 20;
    let world = World::get().await;
    let asking = Asking::new(&world);
    let answers = join_all((0..REQUESTS).map(async |n| {
        let begun = Instant::now();
        let body = json!({"pipeline": Asking::picture(&format!("load {}", n % PIPELINES))});
        (asking.start(None, &body).await, begun.elapsed())
    }))
    .await;
    let (mut took, mut runs) = (Vec::new(), Vec::new());
    for ((status, answer), time) in answers {
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        runs.push(Asking::id_of(&answer));
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
