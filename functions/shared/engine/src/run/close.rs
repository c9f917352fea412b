//! Closes a run: writes its manifest, publishes its end and closes its record. It is idempotent, and the event of an
//! execution that was aborted or timed out calls it too; the first call that closes the run decides its status.

use bytes::Bytes;
use fresco_api_types::{Manifest, RunFinished};
use fresco_ledger::records::{Millis, RunRecord, RunStatus, StepId, StepRecord, StepState};
use fresco_ledger::traits::{Clock, EventPublisher, Objects, Runs as _, Waiters};
use fresco_pipeline::document::Export;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::run::Runs;
use crate::run::manifest::{manifest_key, manifest_of};

/// Waiters that are removed concurrently.
const AT_ONCE: usize = 16;
/// The end of a run, as the state machine reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRun {
    pub status: RunStatus,
    /// The stable name of the failure; empty without one.
    pub error: String,
    /// The message of the failure.
    pub cause: String,
}

/// The detail type of the event that announces the end of a run; its source is `fresco`.
const RUN_FINISHED: &str = "Run Finished";

/// A run that has ended: its steps, all decided, and its manifest.
pub(crate) struct RunEnd {
    pub(crate) record: RunRecord,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) failure: Option<Failure>,
    pub(crate) manifest: Manifest,
}

impl RunEnd {
    /// The end as the state machine reads it.
    pub(crate) fn closed(self) -> ClosedRun {
        closed(self.manifest.status, self.failure)
    }
}

impl<P: Platform> Runs<P> {
    /// Closes a run that is not a chunk of a batch. `cause` is the reason for which its execution ended early.
    pub async fn close(&self, run: &RunId, cause: Option<Failure>) -> Result<ClosedRun, Failure> {
        let record = self.record(run).await?;
        let now = self.platform.clock().now();
        if record.status.is_final() {
            if record.status == RunStatus::Failed {
                // It may have been planned while it was closed as one that never was.
                self.fail_undecided(&record, record.failure.as_ref(), now).await?;
            }
            if record.publish_pending {
                self.announce_again(run).await?;
                self.platform.ledger().record_published(run).await?;
            }
            return Ok(closed(record.status, record.failure));
        }
        let mut end = self.decide_end(record, cause, now).await?;
        let export = self.export_of(&end);
        if let Some(export) = &export {
            end.manifest.exported = Some(self.exporter.export_run(export, &end.manifest).await);
            failpoint(Failpoint::CloseExported);
        }
        self.write_manifest(&end).await?;
        if let Some(export) = &export
            && let Err(cause) = self.exporter.export_manifest(export, run, &manifest_key(run)).await
        {
            tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "manifest not exported");
        }
        failpoint(Failpoint::CloseManifestWritten);
        self.abandon_all(&end.steps).await?;
        failpoint(Failpoint::CloseAbandoned);
        // Before the record is closed, so that the event is published at least once. Where publishing fails the record
        // is closed all the same, and marks that the next call has to publish.
        let announced = self.announce(&end.manifest).await;
        let (status, failure) = (end.manifest.status, end.failure.as_ref());
        self.platform.ledger().close_run(run, status, failure, announced.is_err(), now).await?;
        failpoint(Failpoint::CloseRecorded);
        if end.steps.is_empty() {
            // It was not planned when it was read, and may have been since. From here on it cannot be.
            self.fail_undecided(&end.record, end.failure.as_ref(), now).await?;
        }
        // From here on no step of the run can claim another.
        self.cancel_abandoned(&end.steps).await;
        announced?;
        Ok(end.closed())
    }

    /// Reads the record of a run.
    pub async fn record(&self, run: &RunId) -> Result<RunRecord, Failure> {
        let record = self.platform.ledger().run(run).await?;
        record.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this run"))
    }

    /// Fails the steps that are not decided, and decides how the run ended.
    pub(crate) async fn decide_end(
        &self,
        record: RunRecord,
        cause: Option<Failure>,
        now: Millis,
    ) -> Result<RunEnd, Failure> {
        let (ledger, run) = (self.platform.ledger(), record.id.clone());
        self.fail_undecided(&record, cause.as_ref(), now).await?;
        // Read once more: a result may have come between the reading and the marking, and it counts.
        let steps = ledger.steps(&run).await?;
        let record = ledger.run(&run).await?.unwrap_or(record);
        let status = status_of(&record, &steps);
        let failure = if status == RunStatus::Succeeded { None } else { cause.or_else(|| first_failure(&steps)) };
        let manifest = manifest_of(&record, status, failure.as_ref(), &steps, now);
        Ok(RunEnd { record, steps, failure, manifest })
    }

    /// Fails the steps that are not decided.
    async fn fail_undecided(&self, record: &RunRecord, cause: Option<&Failure>, now: Millis) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let steps = ledger.steps(&record.id).await?;
        for step in steps.iter().filter(|step| !matches!(step.state, StepState::Done | StepState::Failed)) {
            let step_id = StepId { run: record.id.clone(), step: step.plan.id() };
            ledger.fail_step(&step_id, &undecided(step, record, cause), now).await?;
            failpoint(Failpoint::CloseStepMarked);
        }
        Ok(())
    }

    /// The export of the run. A run that was refused for its export exports nothing.
    pub(crate) fn export_of(&self, end: &RunEnd) -> Option<Export> {
        end.record.export.clone().filter(|export| self.exporter.require_export(Some(export)).is_ok())
    }

    /// Writes the run's manifest.
    pub(crate) async fn write_manifest(&self, end: &RunEnd) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(&end.manifest)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let key = manifest_key(&end.record.id);
        Ok(self.platform.objects().put(&key, Bytes::from(json), "application/json").await?)
    }

    /// Publishes the end of a run for which that failed when it was closed.
    async fn announce_again(&self, run: &RunId) -> Result<(), Failure> {
        let Some(json) = self.platform.objects().get(&manifest_key(run)).await? else { return Ok(()) };
        let manifest =
            serde_json::from_slice(&json).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.announce(&manifest).await
    }

    /// Publishes the end of a run.
    async fn announce(&self, manifest: &Manifest) -> Result<(), Failure> {
        let ended = RunFinished {
            stack: self.settings.stack.clone(),
            run_id: manifest.run_id.clone(),
            pipeline: manifest.name.clone(),
            status: manifest.status,
            cost: manifest.cost,
            saved: manifest.saved,
            bucket: self.settings.bucket.clone(),
            manifest: manifest_key(&manifest.run_id),
        };
        let detail =
            serde_json::to_string(&ended).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        Ok(self.platform.publisher().publish(RUN_FINISHED, &detail).await?)
    }

    /// Removes the waiters of a run that ends, whose tokens are dead. A waiter that stayed would keep a job from being
    /// cancelled that no live step waits for.
    pub(crate) async fn abandon_all(&self, steps: &[StepRecord]) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let asked = steps.iter().filter(|step| step.calls > 0);
        let rows = asked.filter_map(|step| {
            let step_id = StepId { run: step.run.clone(), step: step.plan.id() };
            Some((step.key.clone()?, step_id))
        });
        futures::stream::iter(rows.collect::<Vec<_>>())
            .map(|(key, step_id)| async move { Ok(ledger.delete_waiter(&key, &step_id).await?) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

pub(crate) fn closed(status: RunStatus, failure: Option<Failure>) -> ClosedRun {
    let (error, cause) =
        failure.map_or_else(Default::default, |failure| (failure.name.as_str().to_owned(), failure.message));
    ClosedRun { status, error, cause }
}

/// The failure of a step that is undecided when its run ends.
fn undecided(step: &StepRecord, record: &RunRecord, cause: Option<&Failure>) -> Failure {
    let timed_out = cause.is_none_or(|cause| cause.name == ErrorName::StepTimedOut);
    match step.state {
        _ if record.stop => Failure::new(
            ErrorName::RunStopped,
            "the run was stopped; a result that is paid still arrives in the ledger",
        ),
        StepState::Running if timed_out => Failure::new(
            ErrorName::StepTimedOut,
            "no result arrived in time; one that is paid still arrives in the ledger",
        ),
        StepState::Running => Failure::new(
            ErrorName::RunStopped,
            "the run ended while this was under way; a result that is paid still arrives in the ledger",
        ),
        _ => Failure::new(ErrorName::StepSkipped, "the run ended before the step started"),
    }
}

fn status_of(record: &RunRecord, steps: &[StepRecord]) -> RunStatus {
    let done = steps.iter().filter(|step| step.state == StepState::Done).count();
    if done == steps.len() && done > 0 {
        RunStatus::Succeeded
    } else if record.stop {
        RunStatus::Stopped
    } else if done > 0 && !record.fail_fast {
        RunStatus::Partial
    } else {
        RunStatus::Failed
    }
}

fn first_failure(steps: &[StepRecord]) -> Option<Failure> {
    let failed =
        steps.iter().filter(|step| step.failure.is_some()).min_by_key(|step| (step.ended_at, step.plan.index))?;
    let cause = failed.failure.as_ref()?;
    Some(Failure::new(cause.name, format!("step {}: {}", failed.plan.id().public_name(), cause.message)))
}
