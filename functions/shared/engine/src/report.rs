//! What report does: it writes the run's manifest and closes its record. It may be called more than once, and by the event
//! of an execution that was aborted or timed out; the first call that closes the run decides how it ended.

use bytes::Bytes;
use fresco_ledger::records::{
    ChunkRef, Millis, Output, ResultSource, RunRecord, RunStatus, StepId, StepRecord, StepState,
};
use fresco_ledger::traits::{Clock, EventPublisher, Objects, Runs, Waiters};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName};
use fresco_pipeline::money::Money;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crash::{self, Point};
use crate::export::Exported;
use crate::platform::Platform;
use crate::start::manifest_key;
use crate::transact::failure;

/// How many rows are removed side by side.
const AT_ONCE: usize = 16;
/// The manifest's format. Raised when a reader of the old one would misread it.
pub const MANIFEST_VERSION: u32 = 2;

/// `runs/<id>/manifest.json`: what a run came to. Money is in micro-dollars, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The pipeline's name.
    pub name: String,
    /// How it ended.
    pub status: RunStatus,
    /// When it was asked for.
    pub created_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// From asked to ended.
    pub took_ms: Millis,
    /// What its generated steps took one after the other.
    pub sequential_ms: Millis,
    /// How many times quicker that was; 1 where nothing was generated.
    pub speed_up: f64,
    /// What this run paid.
    pub cost: Money,
    /// What the results that it did not pay for cost when they were made.
    pub saved: Money,
    /// Calls of functions that the run's record knows of: plan, generate, and for each result webhook and collect, and report.
    pub function_calls: u32,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
    /// What was copied to the place that the document names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Exported>,
    /// Its steps, in the document's order.
    pub steps: Vec<ManifestStep>,
}

/// A step in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestStep {
    /// Its name.
    pub name: StepName,
    /// The step of the document that it is, or is a part of.
    pub of: StepName,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: fresco_pipeline::catalogue::StepType,
    /// Its model.
    pub model: String,
    /// Where it is.
    pub state: StepState,
    /// Where its result came from.
    pub source: Option<ResultSource>,
    /// How long it took; the time to find it for a hit.
    pub took_ms: Option<Millis>,
    /// What this run paid for it.
    pub cost: Money,
    /// What it would have cost.
    pub price: Money,
    /// The content key, if it became known.
    pub key: Option<ContentKey>,
    /// The steps that it takes something from: its lineage.
    pub reads: Vec<StepName>,
    /// Files and URLs that were given with the run and that it takes, by hash.
    pub given: Vec<String>,
    /// The attempt that made the result.
    pub attempt: Option<Attempt>,
    /// What it made.
    pub outputs: Vec<Output>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What the state machine learns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// How the run ended.
    pub status: RunStatus,
    /// The stable name of why it failed, empty if it did not.
    pub error: String,
    /// The same in words.
    pub cause: String,
}

/// The kind of the event that tells of a run's end; its source is `fresco`.
const RUN_FINISHED: &str = "Run Finished";

/// What the event [`RUN_FINISHED`] says, its `detail`. It is told at least once: `run_id` tells one that was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinished {
    /// The run.
    pub run_id: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// How it ended.
    pub status: RunStatus,
    /// What it has paid, in micro-dollars.
    pub cost: Money,
    /// What the results that it did not pay for cost when they were made.
    pub saved: Money,
    /// The stack's bucket.
    pub bucket: String,
    /// The key of the run's manifest in it, which names the outputs.
    pub manifest: String,
}

impl<P: Platform> Engine<P> {
    /// Closes the run of a chunk, which may have ended before it was recorded: its rows then say why.
    pub async fn report_chunk(&self, run: &RunId, chunk: &ChunkRef, cause: Option<Failure>) -> Result<Closed, Failure> {
        // Only where something went wrong may there be no record.
        if cause.is_some()
            && self.platform.ledger().run(run).await.map_err(failure)?.is_none()
            && !self.open_unplanned(run, chunk).await?
        {
            return Ok(closed(RunStatus::Stopped, cause));
        }
        self.report(run, cause).await
    }

    /// Closes the run. `cause` is why its execution ended, where it did not end by itself.
    pub async fn report(&self, run: &RunId, cause: Option<Failure>) -> Result<Closed, Failure> {
        let (closed, chunk) = self.close(run, cause).await?;
        if let Some(chunk) = chunk {
            self.bear(&chunk.batch).await?;
        }
        Ok(closed)
    }

    /// The same without what the end of a chunk means to its batch; which chunk it was.
    pub(crate) async fn close(
        &self,
        run: &RunId,
        cause: Option<Failure>,
    ) -> Result<(Closed, Option<ChunkRef>), Failure> {
        let ledger = self.platform.ledger();
        let record = ledger.run(run).await.map_err(failure)?;
        let record = record.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this run"))?;
        if record.status.is_final() {
            if record.publish_pending {
                self.announce_closed(run).await?;
            }
            return Ok((closed(record.status, record.failure), record.chunk));
        }
        let now = self.platform.clock().now();
        let steps = ledger.steps(run).await.map_err(failure)?;
        for step in steps.iter().filter(|step| !matches!(step.state, StepState::Done | StepState::Failed)) {
            let step_id = StepId { run: run.clone(), step: step.plan.name.clone() };
            ledger.fail_step(&step_id, &undecided(step, &record, cause.as_ref()), now).await.map_err(failure)?;
            crash::point(Point::ReportStepMarked);
        }
        // Read once more: a result may have come between the reading and the marking, and it counts.
        let steps = ledger.steps(run).await.map_err(failure)?;
        let record = ledger.run(run).await.map_err(failure)?.unwrap_or(record);
        let status = status_of(&record, &steps);
        let why = if matches!(status, RunStatus::Succeeded) { None } else { cause.or_else(|| first_failure(&steps)) };
        let mut manifest = manifest_of(&record, status, why.as_ref(), &steps, now);
        // A run that was refused for its export has exported nothing.
        let export = record.export.as_ref().filter(|export| self.require_export(Some(*export)).is_ok());
        if let Some(export) = export {
            manifest.exported = Some(match &record.chunk {
                Some(chunk) => self.export_rows(export, chunk, &manifest).await?,
                None => self.export(export, &manifest).await,
            });
            crash::point(Point::ReportExported);
        }
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform
            .objects()
            .put(&manifest_key(run), Bytes::from(json), "application/json")
            .await
            .map_err(failure)?;
        if let Some(export) = export.filter(|_| record.chunk.is_none())
            && let Err(cause) = self.export_manifest(export, run, &manifest_key(run)).await
        {
            tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "manifest not exported");
        }
        crash::point(Point::ReportManifestWritten);
        // Before the run is closed: a call of report after that does nothing.
        self.leave_all(&steps).await?;
        crash::point(Point::ReportLeft);
        if let Some(chunk) = &record.chunk {
            self.end_chunk(chunk, &record, (status, why.clone()), &steps).await?;
            crash::point(Point::ReportClosed);
            return Ok((closed(status, why), record.chunk.clone()));
        }
        // Before the record is closed, too, so that it is told at least once. Where it cannot be told the record is closed all
        // the same, and says so to the next call.
        let published = self.announce_end(&manifest).await;
        ledger.close_run(run, status, why.as_ref(), published.is_err(), now).await.map_err(failure)?;
        crash::point(Point::ReportClosed);
        published?;
        Ok((closed(status, why), None))
    }

    /// Tells what was not told when the run was closed.
    async fn announce_closed(&self, run: &RunId) -> Result<(), Failure> {
        let Some(json) = self.platform.objects().get(&manifest_key(run)).await.map_err(failure)? else { return Ok(()) };
        let manifest =
            serde_json::from_slice(&json).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.announce_end(&manifest).await
    }

    /// Whoever comes after is told.
    async fn announce_end(&self, manifest: &Manifest) -> Result<(), Failure> {
        let ended = RunFinished {
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
        self.platform.publisher().publish(RUN_FINISHED, &detail).await.map_err(failure)
    }

    /// Nobody hears under the tokens of a run that ends. A row that stayed would keep a job from being cancelled that only
    /// the dead wait for.
    async fn leave_all(&self, steps: &[StepRecord]) -> Result<(), Failure> {
        let ledger = self.platform.ledger();
        let asked = steps.iter().filter(|step| step.calls > 0);
        let rows = asked.filter_map(|step| {
            let step_id = StepId { run: step.run.clone(), step: step.plan.name.clone() };
            Some((step.key.clone()?, step_id))
        });
        futures::stream::iter(rows.collect::<Vec<_>>())
            .map(|(key, step_id)| async move { ledger.delete_waiter(&key, &step_id).await.map_err(failure) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

fn closed(status: RunStatus, failure: Option<Failure>) -> Closed {
    let (error, cause) =
        failure.map_or_else(Default::default, |failure| (failure.name.as_str().to_owned(), failure.message));
    Closed { status, error, cause }
}

/// Why a step that is not decided has no result.
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
        _ => Failure::new(ErrorName::StepSkipped, "the run ended before it was begun"),
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
    Some(Failure::new(cause.name, format!("step {}: {}", failed.plan.name, cause.message)))
}

fn manifest_of(
    record: &RunRecord,
    status: RunStatus,
    failure: Option<&Failure>,
    steps: &[StepRecord],
    now: Millis,
) -> Manifest {
    let took_ms = (now - record.created_at).max(1);
    let entries: Vec<ManifestStep> = steps.iter().map(entry_of).collect();
    let generated = || entries.iter().filter(|step| step.source == Some(ResultSource::Generated));
    let sequential_ms = generated().filter_map(|step| step.took_ms).sum::<Millis>();
    let worked = entries.iter().any(|step| step.source != Some(ResultSource::Hit));
    // A result that this run paid for came by webhook and collect.
    let calls = 1
        + steps.iter().map(|step| step.calls).sum::<u32>()
        + 2 * u32::try_from(generated().count()).unwrap_or(u32::MAX)
        + u32::from(worked);
    Manifest {
        version: MANIFEST_VERSION,
        run_id: record.id.clone(),
        name: record.name.clone(),
        status,
        created_at: record.created_at,
        ended_at: now,
        took_ms,
        sequential_ms,
        speed_up: if sequential_ms == 0 { 1.0 } else { sequential_ms as f64 / took_ms as f64 },
        cost: record.settled,
        saved: steps
            .iter()
            .filter(|step| {
                matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined)) && step.state == StepState::Done
            })
            .filter_map(|step| Some(step.pinned.as_ref()?.cost))
            .sum(),
        function_calls: calls,
        failure: failure.cloned(),
        exported: None,
        steps: entries,
    }
}

fn entry_of(step: &StepRecord) -> ManifestStep {
    let ready = step.pinned.as_ref();
    ManifestStep {
        name: step.plan.name.clone(),
        of: step.plan.of.clone(),
        kind: step.plan.step,
        model: step.plan.model.clone(),
        state: step.state,
        source: step.source,
        took_ms: step.started_at.zip(step.ended_at).map(|(from, to)| (to - from).max(0)),
        cost: ready.filter(|_| step.source == Some(ResultSource::Generated)).map_or(Money::ZERO, |ready| ready.cost),
        price: step.plan.price,
        key: step.key.clone(),
        reads: step.plan.reads().into_iter().cloned().collect(),
        given: given(step),
        attempt: ready.map(|ready| ready.attempt),
        outputs: ready.map_or_else(Vec::new, |ready| ready.outputs.clone()),
        failure: step.failure.clone().filter(|_| step.state == StepState::Failed),
    }
}

fn given(step: &StepRecord) -> Vec<String> {
    let sources = step.plan.media.iter().flat_map(|slot| &slot.from);
    let hashes = sources.filter_map(|source| match source {
        fresco_pipeline::plan::InputSource::Given(media) => Some(media.sha256.clone()),
        fresco_pipeline::plan::InputSource::Output { .. } => None,
    });
    hashes.collect()
}
