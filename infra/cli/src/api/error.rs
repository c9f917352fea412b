//! Errors of requests to the API.

use fresco_api_types::ProblemView;
use fresco_pipeline::document::{Position, Problem, Problems};

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The document has problems.
    #[error("{0}")]
    Document(Problems),
    /// The API answered with a problem.
    #[error("{}. {}", .0.detail, .0.advice)]
    Problem(Box<ProblemView>),
    /// The object behind a link no longer exists.
    #[error("it is no longer in the stack")]
    Gone,
    /// No answer came.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// The host.
        place: String,
        /// Why.
        why: String,
    },
    /// The request was not authorised, before the API saw it.
    #[error(
        "the request was not authorised ({0}): check the AWS credentials and that they may execute-api:Invoke, or the bearer token in FRESCO_TOKEN"
    )]
    Unauthorised(u16),
    /// The gateway has no answer of the API for the moment.
    #[error("the API answered {0}: it is busy or unavailable for a moment; retry")]
    Busy(u16),
    /// This version cannot read the answer.
    #[error("{0}")]
    Unexpected(String),
}

impl ApiError {
    /// Returns a stable code.
    pub fn code(&self) -> &str {
        match self {
            ApiError::Document(_) => "document_invalid",
            ApiError::Problem(problem) => &problem.code,
            ApiError::Gone => "Output.Missing",
            ApiError::Unreachable { .. } => "Api.Unreachable",
            ApiError::Unauthorised(_) => "Api.Unauthorised",
            ApiError::Busy(_) => "Api.Busy",
            ApiError::Unexpected(_) => "Api.Unexpected",
        }
    }

    /// Whether a retry may succeed in a moment.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            ApiError::Unreachable { .. } | ApiError::Busy(_) => true,
            ApiError::Problem(problem) => is_busy(problem.status),
            _ => false,
        }
    }

    pub(super) fn unexpected(message: impl Into<String>) -> Self {
        ApiError::Unexpected(message.into())
    }

    /// Creates the error of a request without an answer. The URL is left out: it may be signed.
    pub(super) fn unreachable(place: &str, error: &reqwest::Error) -> Self {
        let mut why = if error.is_timeout() { "it did not answer in time".to_owned() } else { String::new() };
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source.filter(|_| why.is_empty() || !error.is_timeout()) {
            why = cause.to_string();
            source = cause.source();
        }
        ApiError::Unreachable { place: place.to_owned(), why }
    }

    /// Creates the error of an answer that is not a success.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<ProblemView>(body) {
            Ok(problem) if !problem.problems.is_empty() => {
                let problems = problem.problems.into_iter().map(|problem| Problem {
                    place: Position { line: problem.line, column: problem.column },
                    code: problem.code,
                    path: problem.path,
                    message: problem.message,
                    advice: problem.advice,
                    missing_input: None,
                });
                ApiError::Document(Problems(problems.collect()))
            }
            Ok(problem) => ApiError::Problem(Box::new(problem)),
            // The text of API Gateway adds nothing to the status.
            Err(_) if matches!(status, 401 | 403) => ApiError::Unauthorised(status),
            Err(_) if is_busy(status) => ApiError::Busy(status),
            Err(_) => ApiError::Unexpected(format!("the API answered {status}")),
        }
    }
}

/// Whether the status is that of a throttled request, or of a gateway without an answer in time.
fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_its_error() {
        let problem = r#"{"type": "t", "title": "Not Found", "status": 404, "code": "run_not_found", "detail": "d", "advice": "a."}"#;
        assert_eq!(ApiError::of(404, problem.as_bytes()).code(), "run_not_found");
        assert_eq!(ApiError::of(404, problem.as_bytes()).to_string(), "d. a.");
        assert_eq!(ApiError::of(403, br#"{"message": "Forbidden"}"#).code(), "Api.Unauthorised");
        assert_eq!(ApiError::of(502, b"<html>").code(), "Api.Busy");
        assert_eq!(ApiError::of(500, b"<html>").code(), "Api.Unexpected");
        let document = r#"{"type": "t", "title": "T", "status": 422, "code": "document_invalid", "detail": "d", "advice": "a",
            "problems": [{"line": 3, "column": 7, "code": "unknown_key", "path": "p", "message": "m", "advice": "a"}]}"#;
        let ApiError::Document(problems) = ApiError::of(422, document.as_bytes()) else { panic!("problems") };
        assert_eq!((problems.0[0].place.line, problems.0[0].place.column), (3, 7));
    }

    #[test]
    fn only_busy_answers_are_retryable() {
        let own = |status: u16| {
            format!(r#"{{"type": "t", "title": "T", "status": {status}, "code": "c", "detail": "d", "advice": "a."}}"#)
        };
        for (status, passes) in
            [(429, true), (502, true), (503, true), (504, true), (400, false), (404, false), (500, false)]
        {
            assert_eq!(
                ApiError::of(status, br#"{"message": "..."}"#).is_retryable(),
                passes,
                "{status} of the gateway"
            );
            assert_eq!(ApiError::of(status, own(status).as_bytes()).is_retryable(), passes, "{status} of the API");
        }
        assert!(ApiError::Unreachable { place: "p".to_owned(), why: "w".to_owned() }.is_retryable());
        assert!(!ApiError::Gone.is_retryable() && !ApiError::Unauthorised(403).is_retryable());
    }
}
