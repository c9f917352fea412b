//! Failpoints: named places between two effects at which a test may end the process of a function, as a power cut would.
//! Builds without debug assertions, and so everything that is deployed to AWS, have none of it.
//!
//! The environment variable `FRESCO_CRASH` names a folder. A process of the Lambda function F that passes the point P ends
//! if it can remove the file `F/P` in it, or `F/P.2` to `F/P.9`: a file is one crash, and exactly one process takes it.

macro_rules! failpoints {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// A place between two effects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Failpoint {
            $(#[doc = $what] $variant,)*
        }

        impl Failpoint {
            /// Every failpoint.
            pub const ALL: &'static [Failpoint] = &[$(Failpoint::$variant,)*];

            /// Its name, which is that of the file that sets it.
            pub const fn name(self) -> &'static str {
                match self { $(Failpoint::$variant => $name,)* }
            }
        }
    };
}

failpoints! {
    PlanLookedUp = "plan.looked_up", "Every key is looked up, and no step is recorded.";
    PlanRowsWritten = "plan.rows_written", "The steps are recorded, and the state machine has no work list.";
    GenerateStarted = "generate.started", "The call is counted on the step, and the step is no waiter yet.";
    GenerateWaiting = "generate.waiting", "The step waits, and the entry is not read.";
    GenerateExpired = "generate.expired", "A result whose object is gone is removed, and nothing is claimed in its place.";
    ResultRenewed = "result.renewed", "The objects of a result are renewed, and its entry has their old time.";
    GenerateSourceNoted = "generate.source_noted", "The source of the step is recorded, and it has not joined the attempt.";
    GenerateJoined = "generate.joined", "The step joined the attempt, and has not read the entry once more.";
    GenerateClaimed = "generate.claimed", "The claim is committed, and nothing is submitted.";
    GeneratePosted = "generate.posted", "The provider has answered the POST, and nothing of it is recorded.";
    GenerateRecorded = "generate.recorded", "The answer to the POST is recorded, and the source of the step is not.";
    GenerateFailed = "generate.failed", "The step is marked failed, and its token is not answered.";
    AttemptReported = "attempt.reported", "The provider's report is recorded, and collect is not invoked.";
    AttemptFailed = "attempt.failed", "The attempt's failure is recorded, and no waiter is notified.";
    WebhookVerified = "webhook.verified", "The webhook verifies, and nothing is recorded.";
    WebhookAdopted = "webhook.adopted", "The job is registered by its webhook, and the report is not recorded.";
    WebhookLate = "webhook.late", "The late completion of an attempt is recorded, and its report is not.";
    WebhookHandedOver = "webhook.handed_over", "Collect is invoked, and the provider has no answer.";
    CollectRead = "collect.read", "The attempt is read, and nothing is fetched.";
    CollectStored = "collect.stored", "One output is in the bucket, and the entry is not completed.";
    CollectDecided = "collect.decided", "The end of the attempt is in the entry, and no waiter is notified.";
    CollectNotified = "collect.notified", "Every waiter is notified, and the function has not returned.";
    AnswerPinned = "answer.pinned", "The result is pinned to the step, and its token is not answered.";
    AnswerSucceeded = "answer.succeeded", "The step's token is answered with success, and the step still waits.";
    AnswerMarked = "answer.marked", "The step is marked failed by a notifier, and its token is not answered.";
    AnswerFailed = "answer.failed", "The step's token is answered with the failure, and the step still waits.";
    NotifyDelivered = "notify.delivered", "Every waiter is notified, and the entry is still marked notify_pending.";
    ReconcileUnknown = "reconcile.unknown", "The attempt is marked as of unknown fate, and the provider's list is not searched.";
    ReconcileAdopted = "reconcile.adopted", "The job is found in the provider's list and registered.";
    ReconcileLost = "reconcile.lost", "The attempt is given up as lost, and no waiter is notified.";
    SweepNotified = "sweep.notified", "The sweep has notified the waiters of an entry, and has not reconciled its attempt.";
    SweepHandedOver = "sweep.handed_over", "Collect is invoked again for a late completion, and the other checks of the entry are not carried out.";
    SweepReconciled = "sweep.reconciled", "The sweep has reconciled an attempt, and has not returned.";
    StopFlagged = "stop.flagged", "The run is flagged as stopped, and its steps still wait.";
    StopReleased = "stop.released", "A step of a stopped run is answered, and its job is not checked.";
    StopCancelling = "stop.cancelling", "The cancellation of a job is recorded, and the provider is not called.";
    CloseStepMarked = "close.step_marked", "An undecided step is marked failed, and the manifest is not written.";
    CloseExported = "close.exported", "The outputs are exported, and the manifest is not written.";
    CloseManifestWritten = "close.manifest_written", "The manifest is written, and steps of the run may still wait.";
    CloseAbandoned = "close.abandoned", "No step of the run waits any more, and the run is not closed.";
    CloseRecorded = "close.recorded", "The run is closed, and the state machine has no answer.";
}

/// Ends the process where a test has set this failpoint.
#[cfg(debug_assertions)]
pub fn failpoint(point: Failpoint) {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let folder = std::env::var_os("FRESCO_CRASH")?;
        Some(PathBuf::from(folder).join(std::env::var_os("AWS_LAMBDA_FUNCTION_NAME")?))
    });
    let Some(folder) = FOLDER.as_deref() else { return };
    // Of several processes that remove one file, one succeeds.
    let take = |name: String| fs::remove_file(folder.join(name)).is_ok();
    let name = point.name();
    if take(name.to_owned()) || (2..=9).any(|further| take(format!("{name}.{further}"))) {
        tracing::warn!(crash.point = name, "the process ends here");
        // Nothing is dropped, answered or awaited; and unlike an abort it leaves no core file.
        std::process::exit(1);
    }
}

/// Does nothing in a build that is deployed.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn failpoint(_: Failpoint) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_make_files() {
        for &point in Failpoint::ALL {
            let name = point.name();
            assert_eq!(Failpoint::ALL.iter().filter(|other| other.name() == name).count(), 1, "{name}");
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'.')), "{name}");
        }
    }

    #[test]
    fn without_the_variable_a_failpoint_does_nothing() {
        Failpoint::ALL.iter().for_each(|&passed| failpoint(passed));
    }
}
