//! Starting, showing, listing and stopping runs.

use std::collections::BTreeMap;

use fresco_pipeline::status::{ResultSource, RunStatus, StepState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::Exported;
use crate::problem::FailureView;

/// A pipeline to run or to plan, with its inputs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// The pipeline document: its text (YAML or JSON), or the document itself as JSON.
    pub pipeline: Option<Value>,
    /// In place of `pipeline`: the upload that holds its text.
    pub pipeline_upload: Option<String>,
    /// The input text: fills `{{input}}`, and is the prompt of steps that need one and have none.
    pub input: Option<String>,
    /// The input image, for first steps that need one and name none: an https URL, or a name that `media` has.
    pub image: Option<String>,
    /// Values for `{{vars.NAME}}`; they override the document's own.
    pub vars: BTreeMap<String, String>,
    /// Values for `{{env.NAME}}`. They are stored with the run: not for secrets.
    pub env: BTreeMap<String, String>,
    /// Whether groups run side by side where the document does not say.
    pub parallel: Option<bool>,
    /// Uploads by the names that the document (or `image`) gives them, such as `cat.png`.
    pub media: BTreeMap<String, String>,
}

/// A run that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunAccepted {
    /// The run's id.
    pub id: String,
    /// Whether an earlier request with the same `Idempotency-Key` started it.
    pub existing: bool,
    /// Links to the run.
    pub links: RunLinks,
}

/// Links to a run, relative to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLinks {
    /// The run.
    #[serde(rename = "self")]
    pub this: String,
    /// Its progress.
    pub events: String,
    /// Its page: signed, read-only, valid for 24 hours for anyone who has the link. Absent in the page's own data.
    pub view: Option<String>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run's id.
    pub id: String,
    /// The pipeline's name.
    pub name: String,
    /// The run's status.
    pub status: RunStatus,
    /// When it was requested.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The number of its steps; 0 until it is planned.
    pub step_count: u32,
    /// The amount that it has paid.
    pub spent: i64,
    /// The amount reserved for jobs under way.
    pub held: i64,
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// The parameter `cursor` of the next page. Absent on the last page.
    pub next: Option<String>,
}

/// A run and its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// The latest time at which the run ends; absent until it is planned.
    pub bound_at: Option<i64>,
    /// Whether a stop was requested.
    pub stopping: bool,
    /// The original cost of the results that this run did not pay for.
    pub saved: i64,
    /// The failure of the run as a whole.
    pub failure: Option<FailureView>,
    /// Its steps in the document's order, as many as fit into one answer.
    pub steps: Vec<StepView>,
    /// The parameter `from` of the next part of the steps. Absent with the last part.
    pub next: Option<u32>,
    /// The result of its export.
    pub exported: Option<ExportView>,
    /// A link to its manifest, once it has ended.
    pub manifest: Option<String>,
    /// Links to the run.
    pub links: RunLinks,
}

/// The result of a run's export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportView {
    /// The URI that all files are under.
    pub to: String,
    /// The files that were copied.
    pub files: Vec<String>,
    /// The files that could not be copied.
    pub failed: Vec<String>,
}

impl From<Exported> for ExportView {
    fn from(exported: Exported) -> Self {
        let failed = exported.failed.into_iter().map(|failed| failed.name).collect();
        ExportView { to: exported.to, files: exported.files, failed }
    }
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// The step's name.
    pub name: String,
    /// The step of the document that it is, or is a part of.
    pub of: String,
    /// The step's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its model.
    pub model: String,
    /// Its state.
    pub state: StepState,
    /// The source of its result, once that is known.
    pub source: Option<ResultSource>,
    /// When it started.
    pub started_at: Option<i64>,
    /// When it was done or failed.
    pub ended_at: Option<i64>,
    /// The amount that this run has paid for it.
    pub cost: i64,
    /// Its upper-bound price.
    pub price: i64,
    /// The steps whose results it reads.
    pub reads: Vec<String>,
    /// Its failure.
    pub failure: Option<FailureView>,
    /// Its outputs.
    pub outputs: Vec<OutputView>,
    /// What they lack of what was asked for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<String>,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputView {
    /// The name of its file.
    pub file: String,
    /// `image`, `video` or `text`.
    pub kind: String,
    /// Its media type.
    pub content_type: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in lower-case hex.
    pub sha256: String,
    /// Its width in pixels.
    pub width: Option<u32>,
    /// Its height in pixels.
    pub height: Option<u32>,
    /// Its duration in milliseconds, if it has one.
    pub duration_ms: Option<u64>,
    /// A link by which anyone can read it until `url_expires_at`.
    pub url: String,
    /// When the link expires.
    pub url_expires_at: i64,
    /// The text itself, of a short text.
    pub text: Option<String>,
}

/// The result of stopping a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopView {
    /// The run.
    pub id: String,
    /// Whether it was running. Where not, nothing was done.
    pub was_running: bool,
    /// Steps that have their results.
    pub done: u32,
    /// Jobs that a provider continues; their results are stored.
    pub going_on: u32,
    /// Jobs that were queued for this run only, and whose cancellation was requested.
    pub cancelled: u32,
    /// The amount that the run has paid so far.
    pub spent: i64,
    /// The amount reserved for the jobs that continue.
    pub held: i64,
}

/// The result of asking for outputs of a run that are paid and could not be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecollectView {
    /// The run.
    pub id: String,
    /// Steps without a result whose outputs are fetched now. The next run with the same step uses them.
    pub collecting: Vec<String>,
    /// Steps without a result whose outputs were stored since. The next run with the same step uses them.
    pub stored: Vec<String>,
    /// Steps without a result of which no provider has reported a success.
    pub nothing: Vec<String>,
}
