//! The reasons for which an event starts nothing.

use fresco_api_types::{DocumentProblem, FIX_PROBLEMS};
use fresco_ledger::traits::StoreError;
use fresco_pipeline::document::Problems;
use fresco_pipeline::error::{ErrorName, ErrorOwner, Failure};

use crate::intake::start::StartError;

/// The reason for which nothing is started.
pub(crate) enum StartRejected {
    Ignored(&'static str),
    /// The request is invalid; a retry does not help.
    Invalid {
        code: String,
        detail: String,
        advice: String,
        problems: Vec<DocumentProblem>,
        /// The key of the pipeline that is not there.
        missing: Option<String>,
    },
    /// It failed; a retry may help.
    Failed(Failure),
}

impl StartRejected {
    pub(crate) fn bad(code: &str, detail: impl Into<String>, advice: &str) -> Self {
        StartRejected::Invalid {
            code: code.to_owned(),
            detail: detail.into(),
            advice: advice.to_owned(),
            problems: Vec::new(),
            missing: None,
        }
    }
}

impl From<Failure> for StartRejected {
    fn from(failure: Failure) -> Self {
        match failure.name.owner() {
            ErrorOwner::Author | ErrorOwner::Operator => {
                StartRejected::bad(failure.name.as_str(), failure.message, failure.name.advice())
            }
            _ => StartRejected::Failed(failure),
        }
    }
}

impl From<StoreError> for StartRejected {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Problems> for StartRejected {
    fn from(problems: Problems) -> Self {
        StartRejected::Invalid {
            code: "document_invalid".to_owned(),
            detail: problems.to_string(),
            advice: FIX_PROBLEMS.to_owned(),
            problems: problems.0.into_iter().map(DocumentProblem::from).collect(),
            missing: None,
        }
    }
}

/// The failure for the dead-letter queue, where there is no report.
impl From<StartRejected> for Failure {
    fn from(rejected: StartRejected) -> Self {
        match rejected {
            StartRejected::Failed(failure) => failure,
            StartRejected::Ignored(why) => Failure::new(ErrorName::Internal, why),
            StartRejected::Invalid { code, detail, advice, problems, .. } => {
                let name = match ErrorName::parse(&code) {
                    Some(name) => return Failure::new(name, detail),
                    None if problems.is_empty() => ErrorName::InputInvalid,
                    None => ErrorName::DocumentInvalid,
                };
                Failure::new(name, format!("{code}: {detail}. {advice}"))
            }
        }
    }
}

impl From<StartError> for StartRejected {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Document(problems) => problems.into(),
            StartError::Invalid(bad) => StartRejected::bad(bad.code, bad.detail, bad.advice),
            StartError::Failed(failure) => failure.into(),
            // The id and the hash of the request both derive from the event alone.
            StartError::OtherRequest => StartRejected::Failed(Failure::new(ErrorName::Internal, error.to_string())),
        }
    }
}
