//! The manifest of a run, `runs/<id>/manifest.json`.

use fresco_pipeline::catalogue::StepType;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepName};
use fresco_pipeline::media::{Media, Shortfall};
use fresco_pipeline::money::Money;
use fresco_pipeline::status::{ResultSource, RunStatus, StepState};
use fresco_pipeline::time::Millis;
use serde::{Deserialize, Serialize};

/// The manifest's format. Raised when a reader of the old one would misread it.
pub const MANIFEST_VERSION: u32 = 2;

/// The results of a run: `runs/<id>/manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format, [`MANIFEST_VERSION`].
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The pipeline's name.
    pub name: String,
    /// The run's status.
    pub status: RunStatus,
    /// When it was requested.
    pub created_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// From request to end.
    pub took_ms: Millis,
    /// The duration of its generated steps one after the other.
    pub sequential_ms: Millis,
    /// `sequential_ms` divided by `took_ms`; 1 where nothing was generated.
    pub speed_up: f64,
    /// The amount that this run paid.
    pub cost: Money,
    /// The original cost of the results that it did not pay for.
    pub saved: Money,
    /// Calls of functions that the run's record knows of: plan, generate, and for each result webhook and collect, and report.
    pub function_calls: u32,
    /// The failure of the run as a whole.
    pub failure: Option<Failure>,
    /// The result of the export that the document asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Exported>,
    /// Its steps, in the document's order.
    pub steps: Vec<ManifestStep>,
}

/// A step in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestStep {
    /// The step's name.
    pub name: StepName,
    /// The step of the document that it is, or is a part of.
    pub of: StepName,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// Its model.
    pub model: String,
    /// Its state.
    pub state: StepState,
    /// The source of its result.
    pub source: Option<ResultSource>,
    /// Its duration; of a hit the time to find it.
    pub took_ms: Option<Millis>,
    /// The amount that this run paid for it.
    pub cost: Money,
    /// Its upper-bound price.
    pub price: Money,
    /// The content key, if it became known.
    pub key: Option<ContentKey>,
    /// The steps whose results it reads: its lineage.
    pub reads: Vec<StepName>,
    /// Files and URLs among the run's inputs that it reads, by hash.
    pub given: Vec<String>,
    /// The attempt that generated the result.
    pub attempt: Option<Attempt>,
    /// Its outputs.
    pub outputs: Vec<Media>,
    /// What they lack of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
    /// Its failure.
    pub failure: Option<Failure>,
}

/// The result of a run's export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The URI that all files are under.
    pub to: String,
    /// The names of the files that were copied.
    pub files: Vec<String>,
    /// The files that could not be copied. `cargo fresco fetch` fetches them until the outputs expire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotExported>,
}

impl Exported {
    /// Whether every file was copied.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }
}

/// A file that was not exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotExported {
    /// Its name.
    pub name: String,
    /// The reason.
    pub failure: Failure,
}
