//! Crashes where no webhook arrives and no sweep comes: the state machine calls generate again, and that finds out.

use fresco_engine::failpoint::Failpoint::*;
use fresco_pipeline::error::ErrorName;
use fresco_tests::Function::*;
use fresco_tests::World;
use fresco_tests::crash_table::{Case, End, Repair, Way, case, go_through};

/// Read it as: a run made this way, ended there, ends so.
const CASES: &[Case] = &[
    case(Way::Image, &[(TextToImage, GenerateRecorded, 1)], End::Result),
    case(Way::Image, &[(TextToImage, AttemptReported, 1)], End::Result),
    case(Way::Image, &[(Collect, CollectStored, 1)], End::Result),
    case(Way::Image, &[(TextToImage, GeneratePosted, 1), (TextToImage, ReconcileAdopted, 1)], End::Result),
    case(Way::Refresh, &[(TextToImage, GenerateWaiting, 1), (TextToImage, GenerateRecorded, 1)], End::Result),
    case(Way::Refresh, &[(TextToImage, GeneratePosted, 1), (TextToImage, ReconcileAdopted, 1)], End::Result),
    case(
        Way::Image,
        &[(TextToImage, GenerateClaimed, 1), (TextToImage, ReconcileUnknown, 1), (TextToImage, ReconcileLost, 1)],
        End::Unpaid(ErrorName::StepUnknown),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nudge_repairs_every_crash_without_webhooks_and_sweep() {
    go_through(&World::with_crashes_and_nudges().await, Repair::Nudge, CASES).await;
}
