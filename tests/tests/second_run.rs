//! The second run of a pipeline costs nothing: no submit, no money, one call of a function. What was called and billed is
//! counted over the whole stack, so this suite has one to itself.

use fresco_ledger::records::{ResultSource, RunStatus, StepState};
use fresco_pipeline::money::Money;
use fresco_tests::{World, document};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_run_costs_nothing() {
    let world = World::get().await;
    let before = world.counters().await;
    let first = world.run(&document("flux_schnell"), "a lighthouse at dusk").await;
    assert_eq!(first.status, RunStatus::Succeeded);
    let step = &first.steps[0];
    assert_eq!((step.source, step.state), (Some(ResultSource::Generated), StepState::Done));
    assert_eq!((first.cost, first.saved), (Money::micros(3_000), Money::ZERO));
    let output = &step.outputs[0];
    let bytes = world.admin.object(&output.key).await.unwrap();
    assert_eq!(bytes.len() as u64, output.bytes);
    assert_eq!((output.width, output.height), (Some(1024), Some(768)));
    assert!(bytes.starts_with(&[0xff, 0xd8]), "a JPEG");

    let between = world.counters().await;
    assert_eq!(between.paid_since(&before), (1, 1));
    world
        .until("the five calls of the first run are logged", async || {
            world.invocations().await.values().sum::<usize>() >= 5
        })
        .await;
    let calls = world.invocations().await;
    let second = world.run(&document("flux_schnell"), "a lighthouse at dusk").await;
    assert_eq!(second.status, RunStatus::Succeeded);
    assert_eq!(second.steps[0].source, Some(ResultSource::Hit));
    assert_eq!(second.steps[0].outputs, step.outputs);
    assert_eq!((second.cost, second.saved, second.function_calls), (Money::ZERO, Money::micros(3_000), 1));
    assert_eq!(world.counters().await.paid_since(&between), (0, 0));
    // Logs are written a moment after the call.
    world.until("the call of plan is logged", async || !world.invocations_since(&calls).await.is_empty()).await;
    assert_eq!(world.invocations_since(&calls).await, vec![("plan".to_owned(), 1)]);
}
