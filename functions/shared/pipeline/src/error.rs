//! The one list of error names. A name is stable: the state machines retry by it, tables and manifests show it, and users
//! write rules on it. What a name means for a retry is its class; what to do about it is its advice.

use serde::{Deserialize, Serialize};

/// What may be done after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It surely did not happen, and may succeed later.
    Retryable,
    /// As retryable; the other side asked for a pause.
    Throttled,
    /// It will not succeed as it is.
    Terminal,
    /// It may have happened. Never retried: it has to be found out first.
    Unknown,
}

macro_rules! error_names {
    ($($variant:ident = $name:literal, $class:ident, $advice:literal;)*) => {
        /// A stable error name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorName {
            $(#[doc = $advice] #[serde(rename = $name)] $variant,)*
        }

        impl ErrorName {
            /// Every name there is.
            pub const ALL: &'static [ErrorName] = &[$(ErrorName::$variant,)*];

            /// The name as users and state machines see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorName::$variant => $name,)* }
            }

            /// What may be done after it.
            pub const fn class(self) -> Class {
                match self { $(ErrorName::$variant => Class::$class,)* }
            }

            /// What it means and who can mend it, in a sentence for the user.
            pub const fn advice(self) -> &'static str {
                match self { $(ErrorName::$variant => $advice,)* }
            }
        }
    };
}

error_names! {
    ProviderThrottled = "Provider.Throttled", Throttled, "The provider asked for a pause; tried again by itself. Fewer workers help.";
    ProviderUnavailable = "Provider.Unavailable", Retryable, "The provider failed for a reason of its own; tried again by itself. Nothing was billed.";
    ProviderRejected = "Provider.Rejected", Terminal, "The provider refused the request as it stands. Mend the step's params.";
    ProviderContentPolicy = "Provider.ContentPolicy", Terminal, "The provider's content policy refused the prompt or the input. Change them; the attempt may have been billed.";
    ProviderCredit = "Provider.Credit", Terminal, "The provider's account has no balance left. Top it up, then run again.";
    ProviderUnauthorized = "Provider.Unauthorized", Terminal, "The provider did not accept the key. Put a valid one into the stack's secret.";
    ProviderNotFound = "Provider.NotFound", Terminal, "The provider does not know the endpoint or the request. The model may have been withdrawn.";
    ProviderFailed = "Provider.Failed", Terminal, "The provider accepted the job and could not do it. Change the step, or set `take` to ask again.";
    ProviderExhausted = "Provider.Exhausted", Terminal, "The provider failed again and again for reasons of its own. Nothing was billed; run again later.";
    OutputInvalid = "Output.Invalid", Terminal, "The provider's output is not the media it should be. The job was paid; `cache: refresh` asks again.";
    OutputUnavailable = "Output.Unavailable", Retryable, "The provider's output could not be fetched yet; fetched again by itself, never generated again.";
    StepTimedOut = "Step.TimedOut", Terminal, "The step took longer than its timeout. What is paid still arrives in the ledger: run again later.";
    StepUnknown = "Step.Unknown", Terminal, "It could not be found out whether the provider accepted the job. Check the provider's dashboard before running again.";
    StepAgain = "Step.Again", Retryable, "What the step waited for ended without a result for it; it asks again by itself.";
    StepInput = "Step.InputInvalid", Terminal, "What the step was to take from another step cannot be sent. Change that step, or how its result is used.";
    StepSkipped = "Step.Skipped", Terminal, "A step that this one needs did not succeed.";
    StepCancelled = "Step.Cancelled", Terminal, "The job was cancelled at the provider.";
    BudgetExceeded = "Budget.Exceeded", Terminal, "The step's upper-bound price is more than what is left of the run's `max_cost`. Nothing was submitted.";
    RunStopped = "Run.Stopped", Terminal, "The run was stopped before this step was submitted.";
    RunNotFound = "Run.NotFound", Terminal, "There is no record of such a run. Records expire after 90 days.";
    InputInvalid = "Input.Invalid", Terminal, "A file or a URL that was given with the run cannot be used. Nothing was submitted.";
    RunTooLarge = "Run.TooLarge", Terminal, "The pipeline is larger than one run may be. Use a batch.";
    DocumentInvalid = "Document.Invalid", Terminal, "The pipeline document has problems; each is listed with its place.";
    SecretMissing = "Secret.Missing", Terminal, "The provider's key is not set for this stack. Store it as the SSM SecureString that the message names.";
    LedgerUnavailable = "Ledger.Unavailable", Retryable, "The ledger (DynamoDB) did not answer; tried again by itself.";
    StorageUnavailable = "Storage.Unavailable", Retryable, "The storage (S3) did not answer; tried again by itself.";
    StorageDenied = "Storage.Denied", Terminal, "The storage refused the access. The function's policy or the bucket's does not allow it.";
    Internal = "Fresco.Internal", Terminal, "A fault of Fresco itself. Please report it with the run's id.";
}

impl ErrorName {
    /// Whether the state machine tries again after it.
    pub const fn is_retryable(self) -> bool {
        matches!(self.class(), Class::Retryable | Class::Throttled)
    }

    /// The name that is written so, if there is one.
    pub fn parse(name: &str) -> Option<ErrorName> {
        Self::ALL.iter().copied().find(|candidate| candidate.as_str() == name)
    }
}

impl std::fmt::Display for ErrorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An error with its stable name and what is to be said of this occurrence. The message never holds a prompt, a key or a
/// signed URL: it goes into logs, records and the state machine's history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{name}: {message}")]
pub struct Failure {
    /// The stable name.
    pub name: ErrorName,
    /// This occurrence, in words.
    pub message: String,
}

impl Failure {
    /// A failure of this name.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Failure { name, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for &name in ErrorName::ALL {
            assert_eq!(ErrorName::parse(name.as_str()), Some(name));
            assert_eq!(ErrorName::ALL.iter().filter(|other| other.as_str() == name.as_str()).count(), 1);
            assert!(name.as_str().split_once('.').is_some_and(|(area, what)| !area.is_empty() && !what.is_empty()));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
