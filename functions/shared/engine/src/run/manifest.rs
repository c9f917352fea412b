//! The manifest of a run: its steps, their outputs, and what it cost.

use fresco_ledger::records::{Millis, Output, ResultSource, RunRecord, RunStatus, StepRecord, StepState};
use fresco_pipeline::catalogue::StepType;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::InputSource;
use serde::{Deserialize, Serialize};

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
    pub kind: StepType,
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

/// What became of a run's export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Where: everything is beneath it.
    pub to: String,
    /// The files that are there, by name.
    pub files: Vec<String>,
    /// The files that are not, and why. `cargo fresco fetch` brings them as long as the outputs live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotExported>,
}

/// A file that was not exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotExported {
    /// Its name.
    pub name: String,
    /// Why.
    pub failure: Failure,
}

impl Exported {
    /// Whether everything is there.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }
}

/// Where a run's manifest is kept.
pub fn manifest_key(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

pub(super) fn manifest_of(
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
        InputSource::Given(media) => Some(media.sha256.clone()),
        InputSource::Output { .. } => None,
    });
    hashes.collect()
}
