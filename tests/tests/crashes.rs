//! Every crash point of every function, on the real stack. The table says which run is made to pass which points, and how
//! it ends where it cannot end well.

use fresco_engine::failpoint::Failpoint::{self, *};
use fresco_pipeline::error::ErrorName;
use fresco_tests::Function::*;
use fresco_tests::World;
use fresco_tests::crash_table::{Case, End, Repair, Way, case, go_through};

/// Read it as: a run made this way, ended there, ends so.
const CASES: &[Case] = &[
    // plan: the state machine calls it again.
    case(Way::Image, &[(Plan, PlanLookedUp, 1)], End::Result),
    case(Way::Image, &[(Plan, PlanRowsWritten, 1)], End::Result),
    case(Way::Stored, &[(Plan, CloseManifestWritten, 1)], End::Result),
    case(Way::Ending, &[(Plan, ResultRenewed, 1)], End::Result),
    case(Way::Stored, &[(Plan, CloseRecorded, 1)], End::Result),
    // generate: the state machine calls it again, and it finds how far it came.
    case(Way::Image, &[(TextToImage, GenerateStarted, 1)], End::Result),
    case(Way::Image, &[(TextToImage, GenerateWaiting, 1)], End::Result),
    case(Way::Image, &[(TextToImage, GenerateWaiting, 3)], End::Result),
    case(Way::Gone, &[(TextToImage, GenerateExpired, 1)], End::PaidAgain),
    case(Way::EndingSecond, &[(AnalyzeImage, ResultRenewed, 1)], End::PaidAgain),
    case(Way::SamePrompt, &[(TextToImage, GenerateSourceNoted, 1)], End::Result),
    case(Way::SamePrompt, &[(TextToImage, GenerateJoined, 1)], End::Result),
    case(Way::Again, &[(TextToImage, AnswerPinned, 1)], End::Result),
    case(Way::Again, &[(TextToImage, AnswerSucceeded, 1)], End::Result),
    case(Way::TooDear, &[(TextToImage, AnswerMarked, 1)], End::Unpaid(ErrorName::BudgetExceeded)),
    case(Way::TooDear, &[(TextToImage, AnswerFailed, 1)], End::Unpaid(ErrorName::BudgetExceeded)),
    case(
        Way::TooDear,
        &[(TextToImage, AnswerMarked, 1), (TextToImage, GenerateFailed, 1)],
        End::Unpaid(ErrorName::BudgetExceeded),
    ),
    // Between the claim and the record it is unknown whether the provider has the job. It is looked for once its submitter
    // is surely dead; a provider that lists its jobs, or calls back, shows whether it has it.
    case(Way::Image, &[(TextToImage, GenerateClaimed, 1)], End::Unpaid(ErrorName::StepUnknown)),
    case(Way::Image, &[(TextToImage, GeneratePosted, 1)], End::Result),
    case(Way::Unheard, &[(TextToImage, GeneratePosted, 1)], End::Result),
    case(Way::Image, &[(TextToImage, GenerateRecorded, 1)], End::Result),
    // One that answers at once and lists nothing cannot be asked. Where its answer is lost with the process, a call under a
    // cent is made once more.
    case(Way::Analysis, &[(AnalyzeImage, GenerateClaimed, 1)], End::Result),
    case(Way::Analysis, &[(AnalyzeImage, GeneratePosted, 1)], End::PaidTwice),
    case(Way::Analysis, &[(AnalyzeImage, AttemptReported, 1)], End::Result),
    case(Way::Analysis, &[(AnalyzeImage, GenerateRecorded, 1)], End::Result),
    case(Way::Refused, &[(AnalyzeImage, AttemptFailed, 1)], End::Unpaid(ErrorName::ProviderUnauthorized)),
    // A refresh that is called again goes on with the one attempt that it makes.
    case(Way::Refresh, &[(TextToImage, GeneratePosted, 1)], End::Result),
    case(Way::Refresh, &[(TextToImage, GenerateRecorded, 1)], End::Result),
    case(Way::Refresh, &[(Collect, CollectDecided, 1)], End::Result),
    case(
        Way::Refresh,
        &[(TextToImage, GenerateWaiting, 2), (TextToImage, GenerateRecorded, 1), (Collect, AnswerSucceeded, 1)],
        End::Result,
    ),
    // webhook: the provider has no answer and delivers again.
    case(Way::Image, &[(Webhook, WebhookVerified, 1)], End::Result),
    case(Way::Image, &[(TextToImage, GeneratePosted, 1), (Webhook, WebhookAdopted, 1)], End::Result),
    case(Way::Image, &[(Webhook, AttemptReported, 1)], End::Result),
    case(Way::Image, &[(Webhook, WebhookHandedOver, 1)], End::Result),
    case(
        Way::Late,
        &[(TextToImage, GeneratePosted, 1), (Webhook, WebhookLate, 1)],
        End::PaidLate(ErrorName::StepUnknown),
    ),
    // collect: Lambda calls it again, twice; then it is for the sweep.
    case(Way::Image, &[(Collect, CollectRead, 1)], End::Result),
    case(Way::Image, &[(Collect, CollectStored, 1)], End::Result),
    case(Way::Analysis, &[(Collect, CollectStored, 1)], End::Result),
    case(Way::Image, &[(Collect, CollectDecided, 1)], End::Result),
    case(Way::SamePrompt, &[(Collect, AnswerPinned, 1)], End::Result),
    case(Way::SamePrompt, &[(Collect, AnswerSucceeded, 1)], End::Result),
    case(Way::SamePrompt, &[(Collect, NotifyDelivered, 1)], End::Result),
    case(Way::Image, &[(Collect, CollectNotified, 1)], End::Result),
    case(Way::Rejected, &[(Collect, CollectDecided, 1)], End::Unpaid(ErrorName::ProviderContentPolicy)),
    case(Way::Rejected, &[(Collect, AnswerMarked, 1)], End::Unpaid(ErrorName::ProviderContentPolicy)),
    case(Way::Rejected, &[(Collect, AnswerFailed, 1)], End::Unpaid(ErrorName::ProviderContentPolicy)),
    case(Way::Image, &[(Collect, CollectStored, 3)], End::Result),
    // sweep: the next minute comes by itself.
    case(Way::Image, &[(Collect, AnswerPinned, 3), (Sweep, AnswerSucceeded, 1)], End::Result),
    case(Way::Unheard, &[(Sweep, SweepNotified, 1)], End::Result),
    case(Way::Unheard, &[(Sweep, AttemptReported, 1)], End::Result),
    case(Way::Unheard, &[(Sweep, SweepReconciled, 1)], End::Result),
    case(Way::Unheard, &[(TextToImage, GeneratePosted, 1), (Sweep, ReconcileAdopted, 1)], End::Result),
    case(
        Way::Image,
        &[(TextToImage, GenerateClaimed, 1), (Sweep, ReconcileUnknown, 1)],
        End::Unpaid(ErrorName::StepUnknown),
    ),
    case(
        Way::Image,
        &[(TextToImage, GenerateClaimed, 1), (Sweep, ReconcileLost, 1)],
        End::Unpaid(ErrorName::StepUnknown),
    ),
    case(
        Way::Late,
        &[(TextToImage, GeneratePosted, 1), (Collect, CollectStored, 3), (Sweep, SweepHandedOver, 1)],
        End::PaidLate(ErrorName::StepUnknown),
    ),
    // stop: the request has no answer, and is repeated.
    case(Way::Stopped, &[(Api, StopFlagged, 1)], End::Stopped),
    case(Way::Stopped, &[(Api, StopReleased, 1)], End::Stopped),
    case(Way::Stopped, &[(Api, StopCancelling, 1)], End::Stopped),
    // report: the state machine calls it again.
    case(Way::TooDear, &[(Report, CloseStepMarked, 1)], End::Unpaid(ErrorName::BudgetExceeded)),
    case(Way::Exported, &[(Report, CloseExported, 1)], End::Result),
    case(Way::Image, &[(Report, CloseManifestWritten, 1)], End::Result),
    case(Way::Image, &[(Report, CloseAbandoned, 1)], End::Result),
    case(Way::Image, &[(Report, CloseRecorded, 1)], End::Result),
];

#[test]
fn every_point_is_in_the_table() {
    let in_table = |point| CASES.iter().any(|case| case.passes(point));
    let missing: Vec<&str> =
        Failpoint::ALL.iter().filter(|point| !in_table(**point)).map(|point| point.name()).collect();
    assert!(missing.is_empty(), "no run passes {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_loses_nothing_and_pays_nothing_twice() {
    go_through(&World::with_crashes().await, Repair::Sweep, CASES).await;
}
