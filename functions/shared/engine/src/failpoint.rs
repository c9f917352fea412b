//! Crash points: named places between two effects, at which a test may end the process of a function as a power cut would.
//! Builds without debug assertions, and so everything that is deployed to AWS, have none of it.
//!
//! The environment variable `FRESCO_CRASH` names a folder. A process of the Lambda function F that passes the point P ends
//! if it can remove the file `F/P` in it, or `F/P.2` to `F/P.9`: a file is one crash, and exactly one process takes it.

macro_rules! points {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// A place between two effects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Failpoint {
            $(#[doc = $what] $variant,)*
        }

        impl Failpoint {
            /// Every point there is.
            pub const ALL: &'static [Failpoint] = &[$(Failpoint::$variant,)*];

            /// Its name: the name of a file that makes a process end there.
            pub const fn name(self) -> &'static str {
                match self { $(Failpoint::$variant => $name,)* }
            }
        }
    };
}

points! {
    PlanLookedUp = "plan.looked_up", "Every key is looked up, and no row of a step is written.";
    PlanRowsWritten = "plan.rows_written", "The rows of the steps are written, and the state machine has no list of work.";
    GenerateBegun = "generate.begun", "The call is counted on the step, and the step does not wait for its entry.";
    GenerateWaiting = "generate.waiting", "The step waits, and the entry is not read.";
    GenerateExpired = "generate.expired", "A result whose object is gone is removed, and nothing is claimed in its place.";
    ResultRenewed = "result.renewed", "A result's objects are written anew, and its entry says that they are old still.";
    GenerateSourceNoted = "generate.source_noted", "The step's source is noted, and it has not joined the attempt under way.";
    GenerateJoined = "generate.joined", "The step joined the attempt under way, and has not read the entry once more.";
    GenerateClaimed = "generate.claimed", "The claim is committed, and nothing is submitted.";
    GeneratePosted = "generate.posted", "The provider has answered the POST, and nothing of it is recorded.";
    GenerateRecorded = "generate.recorded", "What came of the POST is recorded, and the step's source is not noted.";
    GenerateFailed = "generate.failed", "The step is marked failed, and its token is not answered.";
    AttemptReported = "attempt.reported", "The provider's report is recorded, and collect is not called.";
    AttemptFailed = "attempt.failed", "The attempt's failure is recorded, and nobody is told.";
    WebhookVerified = "webhook.verified", "The webhook verifies, and nothing is recorded.";
    WebhookAdopted = "webhook.adopted", "The job is registered by its webhook, and the report is not recorded.";
    WebhookLate = "webhook.late", "The end of an attempt that was given up is noted, and its report is not recorded.";
    WebhookHandedOver = "webhook.handed_over", "Collect is called, and the provider has no answer.";
    CollectRead = "collect.read", "The attempt is read, and nothing is fetched.";
    CollectStored = "collect.stored", "One output stands in the bucket, and the entry is not completed.";
    CollectDecided = "collect.decided", "The attempt's end stands in the entry, and nobody is told.";
    CollectTold = "collect.told", "Everybody is told, and the function has not returned.";
    TellPinned = "tell.pinned", "The result is pinned to the step, and its token is not answered.";
    TellAnswered = "tell.answered", "The step's token is answered with success, and the step waits still.";
    TellMarked = "tell.marked", "The step is marked failed by who tells it, and its token is not answered.";
    TellRefused = "tell.refused", "The step's token is answered with the failure, and the step waits still.";
    TellDelivered = "tell.delivered", "Every waiter is told, and the entry is marked notify_pending still.";
    ExamineUnknown = "examine.unknown", "The attempt is marked as of unknown fate, and the provider's list is not searched.";
    ExamineAdopted = "examine.adopted", "The job is found in the provider's list and registered.";
    ExamineLost = "examine.lost", "The attempt is given up as lost, and nobody is told.";
    SweepTold = "sweep.told", "The sweep has told the waiters of an entry, and has not looked at its attempt.";
    SweepHandedOver = "sweep.handed_over", "Collect is called once more for a late success, and the next look is not set.";
    SweepExamined = "sweep.examined", "The sweep has looked at an attempt, and its next look is not set.";
    StopFlagged = "stop.flagged", "The run is flagged as stopped, and its steps are not told.";
    StopReleased = "stop.released", "A step of a stopped run is told, and its job is not looked at.";
    StopCancelling = "stop.cancelling", "It is noted that a job shall be cancelled, and the provider is not asked.";
    ReportStepMarked = "report.step_marked", "A step without an end is marked failed, and the manifest is not written.";
    ReportExported = "report.exported", "The outputs are copied to where the document says, and the manifest is not written.";
    ReportManifestWritten = "report.manifest_written", "The manifest is written, and rows of its waiters may be there.";
    ReportLeft = "report.left", "No step of the run waits any more, and the run is not closed.";
    ReportClosed = "report.closed", "The run is closed, and the state machine does not know.";
}

/// The process ends here if a test wants it to.
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

/// Nothing, in a build that is deployed.
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
    fn without_the_switch_a_point_is_passed() {
        Failpoint::ALL.iter().for_each(|&passed| failpoint(passed));
    }
}
