//! The manifest of a run: its steps, their outputs, and what it cost.

use fresco_ledger::records::{Millis, Output, ResultSource, RunRecord, RunStatus, StepRecord, StepState};
use fresco_pipeline::catalogue::StepType;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::InputSource;
use serde::{Deserialize, Serialize};

/// The version of the manifest, raised when a reader of the old one would misread it.
pub const MANIFEST_VERSION: u32 = 2;

/// `runs/<id>/manifest.json`: the end of a run. Money is in micro-dollars, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub run_id: RunId,
    pub name: String,
    pub status: RunStatus,
    pub created_at: Millis,
    pub ended_at: Millis,
    pub took_ms: Millis,
    /// The sum of the times of its generated steps.
    pub sequential_ms: Millis,
    /// `sequential_ms` by `took_ms`; 1 where nothing was generated.
    pub speed_up: f64,
    pub cost: Money,
    /// The original cost of the results that it did not pay for.
    pub saved: Money,
    /// Function calls that the record of the run counts: plan, generate, webhook and collect of each result, and
    /// report.
    pub function_calls: u32,
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Exported>,
    /// In the order of the document.
    pub steps: Vec<ManifestStep>,
}

/// A step in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestStep {
    pub name: StepName,
    /// The step of the document; a step that fans out has several parts.
    pub of: StepName,
    #[serde(rename = "type")]
    pub kind: StepType,
    pub model: String,
    pub state: StepState,
    pub source: Option<ResultSource>,
    /// For a hit, the time to find it.
    pub took_ms: Option<Millis>,
    pub cost: Money,
    /// The upper-bound price.
    pub price: Money,
    /// Absent if it never became known.
    pub key: Option<ContentKey>,
    /// Its lineage.
    pub reads: Vec<StepName>,
    /// The hashes of its input media that were given with the run.
    pub given: Vec<String>,
    pub attempt: Option<Attempt>,
    pub outputs: Vec<Output>,
    pub failure: Option<Failure>,
}

/// The result of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The URI of the folder.
    pub to: String,
    /// The names of the copied files.
    pub files: Vec<String>,
    /// `cargo fresco fetch` downloads them while the outputs live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotExported>,
}

/// A file that was not exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotExported {
    /// Its name.
    pub name: String,
    pub failure: Failure,
}

impl Exported {
    /// Returns whether every file was copied.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }
}

/// The key of the manifest of a run.
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
