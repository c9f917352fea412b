//! Problems (RFC 9457) with stable codes, which every failed request is answered with.

use axum::Json;
use axum::response::{IntoResponse, Response};
use fresco_api_types::{DocumentProblem, FIX_PROBLEMS, ProblemView};
use fresco_engine::{AS_DESCRIBED, IntakeError, InvalidRequest, StartError};
use fresco_ledger::traits::StoreError;
use fresco_pipeline::document::Problems;
use fresco_pipeline::error::{ErrorName, Failure};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};

/// The page that describes the problems, by their codes.
const PROBLEMS: &str = "https://github.com/fresco-media/fresco/blob/main/functions/api/README.md#";

/// A problem with its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpProblem {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) advice: String,
    pub(crate) problems: Vec<DocumentProblem>,
}

impl HttpProblem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        HttpProblem {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            advice: advice.into(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        HttpProblem::new(StatusCode::BAD_REQUEST, code, detail, AS_DESCRIBED)
    }

    pub(crate) fn not_found() -> Self {
        HttpProblem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such path",
            "See /openapi.json for the paths.",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        HttpProblem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the path does not have this method",
            "See /openapi.json for the methods.",
        )
    }

    pub(crate) fn no_run() -> Self {
        let advice = "Look at GET /runs. Records of runs are kept for 90 days.";
        HttpProblem::new(StatusCode::NOT_FOUND, "run_not_found", "there is no such run in this stack", advice)
    }

    pub(crate) fn no_batch() -> Self {
        let advice = "Look at GET /batches. Records of batches are kept for 90 days.";
        HttpProblem::new(StatusCode::NOT_FOUND, "batch_not_found", "there is no such batch in this stack", advice)
    }

    fn view(&self) -> ProblemView {
        ProblemView {
            kind: format!("{PROBLEMS}{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: self.status.as_u16(),
            code: self.code.clone(),
            detail: self.detail.clone(),
            advice: self.advice.clone(),
            problems: self.problems.clone(),
        }
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.view())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Failure> for HttpProblem {
    fn from(failure: Failure) -> Self {
        let status = match failure.name {
            ErrorName::RunNotFound => return HttpProblem::no_run(),
            ErrorName::InputInvalid | ErrorName::DocumentInvalid | ErrorName::RunTooLarge => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ErrorName::LedgerUnavailable | ErrorName::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorName::ExportDenied | ErrorName::StorageFull | ErrorName::SecretMissing => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error.name = %failure.name, error.message = failure.message, "request failed");
        }
        HttpProblem::new(status, failure.name.as_str(), failure.message, failure.name.advice())
    }
}

impl From<Problems> for HttpProblem {
    fn from(problems: Problems) -> Self {
        let count = problems.0.len();
        let detail = format!("the document has {count} problem{}", if count == 1 { "" } else { "s" });
        HttpProblem {
            problems: problems.0.into_iter().map(DocumentProblem::from).collect(),
            ..HttpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "document_invalid", detail, FIX_PROBLEMS)
        }
    }
}

impl From<StoreError> for HttpProblem {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<IntakeError> for HttpProblem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Failed(failure) => failure.into(),
            IntakeError::Invalid(bad) => bad.into(),
        }
    }
}

impl From<InvalidRequest> for HttpProblem {
    fn from(bad: InvalidRequest) -> Self {
        let status = if bad.malformed { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
        HttpProblem::new(status, bad.code, bad.detail, bad.advice)
    }
}

impl From<StartError> for HttpProblem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Document(problems) => problems.into(),
            StartError::Invalid(bad) => bad.into(),
            StartError::Failed(failure) => failure.into(),
            StartError::OtherRequest => HttpProblem::new(
                StatusCode::CONFLICT,
                "idempotency_conflict",
                "another request has used this Idempotency-Key",
                "Use a new key for a new request.",
            ),
        }
    }
}
