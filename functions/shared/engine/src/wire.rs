//! What goes over the wire. Money is in micro-dollars, times are milliseconds since the Unix epoch. The OpenAPI document is
//! made of these types.

use std::collections::BTreeMap;

pub use crate::batch::wire::*;

use fresco_ledger::records::{ResultSource, RunStatus, StepState};
use fresco_pipeline::document::Overlap;
use fresco_pipeline::error::Failure;
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

/// Where a run is found, relative to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLinks {
    /// The run.
    #[serde(rename = "self")]
    pub this: String,
    /// Its progress.
    pub events: String,
    /// Its page: signed, read-only, for 24 hours. Whoever has the link sees the run; the page itself is not handed another.
    pub view: Option<String>,
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
    pub status: RunStatus,
    /// When it was asked for.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// How many steps it has; 0 until it is planned.
    pub step_count: u32,
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
    /// Its steps, in the document's order, as many as fit into an answer.
    pub steps: Vec<StepView>,
    /// Where the steps go on: the parameter `from`. Absent with the last of them.
    pub next: Option<u32>,
    /// Where its outputs were copied to, and what could not be.
    pub exported: Option<ExportView>,
    /// A link to its manifest, once it has ended.
    pub manifest: Option<String>,
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
    pub state: StepState,
    /// Where its result comes from, once that is known.
    pub source: Option<ResultSource>,
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

/// What an upload will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    /// A picture: PNG, JPEG or WebP, at most 14 MiB.
    Image,
    /// A video: MP4, at most 200 MiB.
    Video,
    /// A pipeline document, at most 4 MiB.
    Document,
    /// The rows of a batch, at most 1 GiB.
    Rows,
}

/// An upload that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadBody {
    /// What it will be.
    pub kind: UploadKind,
    /// Its length; exactly so many bytes are taken.
    pub bytes: u64,
    /// SHA-256 of its content, in lower-case hex. Nothing else is taken then, and the same content has the same id, so that a
    /// request that names it can be repeated under its `Idempotency-Key`. Without it, every upload has an id of its own.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Where to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadView {
    /// The id by which a run names it. It is forgotten after a day.
    pub id: String,
    /// How to send it.
    pub method: String,
    /// Where to send it.
    pub url: String,
    /// The headers that have to go with it.
    pub headers: BTreeMap<String, String>,
    /// Until when the link works.
    pub url_expires_at: i64,
}

/// What stopping a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopView {
    /// The run.
    pub id: String,
    /// Whether it was going on. Where not, nothing was done.
    pub was_running: bool,
    /// Steps that have their results.
    pub done: u32,
    /// Jobs that go on at a provider; their results will be kept.
    pub going_on: u32,
    /// Jobs that were still queued, for nobody else, and whose cancellation was asked for.
    pub cancelled: u32,
    /// What the run has paid so far.
    pub spent: i64,
    /// What is reserved for the jobs that go on.
    pub held: i64,
}

/// Something that happened in a run. Events are told at least once: `id` tells one that was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// The same at every telling.
    pub id: String,
    /// When it happened.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// The run was recorded.
    RunStarted {
        /// The run.
        run_id: String,
    },
    /// It is planned.
    RunPlanned {
        /// The run.
        run_id: String,
        /// How many steps it has.
        steps: u32,
        /// How many of them were there already.
        hits: u32,
    },
    /// A step has moved on.
    StepChanged {
        /// The run.
        run_id: String,
        /// The step.
        step: String,
        /// Its model.
        model: String,
        /// Where it is.
        state: StepState,
        /// Where its result comes from, when that is known.
        source: Option<ResultSource>,
        /// How long it took in milliseconds, when it is decided.
        took_ms: Option<i64>,
        /// Why it failed.
        failure: Option<Cause>,
    },
    /// The run has ended.
    RunEnded {
        /// The run.
        run_id: String,
        /// How.
        status: RunStatus,
        /// Why, if not well.
        failure: Option<Cause>,
    },
}

/// What went wrong, as RFC 9457 has it (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemView {
    /// Which kind of problem: a stable address made of `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What to do.
    pub advice: String,
    /// The problems of a pipeline document, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
}

/// What to do about a document with problems.
pub const MEND_PROBLEMS: &str = "Mend what `problems` lists. Nothing was started and nothing was spent.";

/// A schedule: its document, and its last and next firings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleView {
    /// Its name: its key without the prefix and the ending.
    pub name: String,
    /// The key of its document.
    pub key: String,
    /// When it is due: `cron(…)`, `rate(…)` or `at(…)`. Empty where the document cannot be read.
    pub schedule: String,
    /// The time zone of that.
    pub timezone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// What happens while the run of the last firing goes on.
    pub overlap: Overlap,
    /// When it is due next; absent where it is not. Of a `rate` it is about then.
    pub next_at: Option<i64>,
    /// Its last firing, of the last 90 days.
    pub last: Option<FiringView>,
    /// Why the schedule cannot be kept, and so does not fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The problems of the document, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
}

/// The last firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FiringView {
    /// The time that it was scheduled for.
    pub at: i64,
    /// `started`, `skipped` (the run before went on) or `failed` (its run could not be started).
    pub outcome: String,
    /// The last run that the schedule began, by this firing or one before.
    pub run_id: Option<String>,
    /// Where that run is; absent where there is no record of it.
    pub status: Option<RunStatus>,
    /// Why the run could not be started, or why it failed.
    pub failure: Option<Failure>,
}

/// The schedules by their keys, at most a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
}

/// A problem of a pipeline document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentProblem {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// A stable code.
    pub code: String,
    /// Where in the tree, as `steps[0].params.prompt`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelView {
    /// The name that documents use.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// The step type that it serves.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is what steps of the type take that name none.
    pub default: bool,
    /// Who runs it.
    pub provider: String,
    /// Its name for people.
    pub label: String,
    /// How many seconds it typically takes, from and to.
    pub seconds: (u32, u32),
    /// The timeout of steps that give none, in seconds.
    pub timeout: u32,
    /// What `price` is for: `image`, `second`, `megapixel`, `token` …
    pub unit: String,
    /// The list price of a unit.
    pub price: i64,
    /// The list price of a unit of output, where that differs.
    pub output_price: i64,
    /// Its params by name, with what they may be.
    pub params: BTreeMap<String, Value>,
    /// The params that are media.
    pub media: Vec<String>,
}

impl From<fresco_pipeline::document::Problem> for DocumentProblem {
    fn from(problem: fresco_pipeline::document::Problem) -> Self {
        DocumentProblem {
            line: problem.place.line,
            column: problem.place.column,
            code: problem.code,
            path: problem.path,
            message: problem.message,
            advice: problem.advice,
        }
    }
}
