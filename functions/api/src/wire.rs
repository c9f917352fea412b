//! What goes over the wire. Money is in micro-dollars, times are milliseconds since the Unix epoch. The OpenAPI document is
//! made of these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A pipeline to run or to plan, and what is given with it.
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
    /// Values for `{{vars.NAME}}`, over the document's own.
    pub vars: BTreeMap<String, String>,
    /// Values for `{{env.NAME}}`. They are kept with the run: not for secrets.
    pub env: BTreeMap<String, String>,
    /// Whether groups run side by side where the document does not say.
    pub parallel: Option<bool>,
    /// Uploads by the names that the document (or `image`) gives them, such as `cat.png`.
    pub media: BTreeMap<String, String>,
}

/// A run that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunAccepted {
    /// Its id.
    pub id: String,
    /// Whether it had been started before, under the same `Idempotency-Key`.
    pub existing: bool,
    /// Where to go from here.
    pub links: RunLinks,
}

/// Where a run is found. Links are relative to the API but for `view`, which a browser opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLinks {
    /// The run.
    #[serde(rename = "self")]
    pub this: String,
    /// Its progress.
    pub events: String,
    /// Its page: signed, read-only, for 24 hours. Whoever has the link sees the run.
    pub view: String,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Starting, planning or running.
    Running,
    /// Every step has its result.
    Succeeded,
    /// Some steps have.
    Partial,
    /// None has, or the run could not be planned.
    Failed,
    /// It was stopped.
    Stopped,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// Not yet begun.
    Waiting,
    /// Under way.
    Running,
    /// It has its result.
    Done,
    /// It has none.
    Failed,
}

/// Where a step's result came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was there already: nothing was paid.
    Hit,
    /// Another step's job was joined: this run paid nothing.
    Joined,
    /// This step submitted it.
    Generated,
}

/// Why a run or a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// A stable name, such as `Provider.Rejected`.
    pub name: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// The pipeline's name.
    pub name: String,
    /// Where it is.
    pub status: RunState,
    /// When it was asked for.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// How many steps it has; 0 until it is planned.
    pub steps: u32,
    /// What it has paid.
    pub spent: i64,
    /// What is reserved for jobs under way.
    pub held: i64,
}

/// Runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins: the parameter `cursor`. Absent on the last page.
    pub next: Option<String>,
}

/// A run and its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// When it has ended at the latest; absent until it is planned.
    pub bound_at: Option<i64>,
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// What the results that it did not pay for cost when they were made.
    pub saved: i64,
    /// Why it failed as a whole.
    pub failure: Option<Cause>,
    /// Its steps, in the document's order.
    pub steps: Vec<StepView>,
    /// Where its outputs were copied to, and what could not be.
    pub exported: Option<ExportView>,
    /// Where to go from here.
    pub links: RunLinks,
}

/// What became of a run's export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportView {
    /// Where: everything is beneath it.
    pub to: String,
    /// The files that are there.
    pub files: Vec<String>,
    /// The files that are not.
    pub failed: Vec<String>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// The step of the document that it is, or is a part of.
    pub of: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its model.
    pub model: String,
    /// Where it is.
    pub state: StepPhase,
    /// Where its result comes from, once that is known.
    pub source: Option<Origin>,
    /// When it was begun.
    pub started_at: Option<i64>,
    /// When it was decided.
    pub ended_at: Option<i64>,
    /// What this run has paid for it.
    pub cost: i64,
    /// Its upper-bound price.
    pub price: i64,
    /// The steps that it takes something from.
    pub reads: Vec<String>,
    /// Why it failed.
    pub failure: Option<Cause>,
    /// What it made.
    pub outputs: Vec<OutputView>,
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
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Length in milliseconds, of what has one.
    pub duration_ms: Option<u64>,
    /// A link by which anyone can read it, for a while.
    pub url: String,
    /// Until when the link works.
    pub url_expires_at: i64,
    /// The text itself, where it is one and is short.
    pub text: Option<String>,
}
