//! Problems and failures as clients see them.

use fresco_pipeline::document::Problem;
use fresco_pipeline::error::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The advice for a document with problems.
pub const FIX_PROBLEMS: &str = "Fix what `problems` lists. Nothing was started and nothing was spent.";

/// A failed request, as RFC 9457 describes it (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemView {
    /// The type of the problem: a stable address made from `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason phrase of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: String,
    /// A description of this occurrence.
    pub detail: String,
    /// The way to fix it.
    pub advice: String,
    /// The problems of a pipeline document, each with its position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
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
    /// The path in the tree, such as `steps[0].params.prompt`.
    pub path: String,
    /// A description of this occurrence.
    pub message: String,
    /// The way to fix it.
    pub advice: String,
}

impl From<Problem> for DocumentProblem {
    fn from(problem: Problem) -> Self {
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

/// The failure of a run or a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureView {
    /// A stable name, such as `Provider.Rejected`.
    pub name: String,
    /// A description of this occurrence.
    pub message: String,
    /// The way to fix it.
    pub advice: String,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        FailureView {
            name: failure.name.as_str().to_owned(),
            message: failure.message.clone(),
            advice: failure.name.advice().to_owned(),
        }
    }
}

/// The report on a file that could not be run, under `inbox-errors/`, or scheduled, under `schedule-errors/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The object's key.
    pub key: String,
    /// Its entity tag; a later object under the key has another.
    pub etag: String,
    /// When the report was written.
    pub at: i64,
    /// A stable code.
    pub code: String,
    /// A description of this occurrence.
    pub detail: String,
    /// The way to fix it.
    pub advice: String,
    /// The problems of the document, each with its position.
    pub problems: Vec<DocumentProblem>,
}
