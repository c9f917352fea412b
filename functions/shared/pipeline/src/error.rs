//! The one list of error names. A name is stable: the state machines retry by it, tables and manifests show it, and users
//! write rules on it. What a name means for a retry is its class; what to do about it is its advice.

use serde::{Deserialize, Serialize};

/// The class of an error: whether it may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The operation surely did not happen, and may succeed later.
    Retryable,
    /// Retryable after the pause that the other side asked for.
    Throttled,
    /// A retry would fail as well.
    Terminal,
    /// The operation may have happened. It is never retried before that is known.
    Unknown,
}

/// The party who can resolve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorOwner {
    /// Nothing to do: it is retried.
    Itself,
    /// The author of the pipeline, who starts the run.
    Author,
    /// The operator of the stack and its accounts.
    Operator,
    /// The provider.
    Provider,
    /// The developers of Fresco.
    Fresco,
}

/// Whether the failed attempt has cost money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spent {
    /// Nothing was submitted, or the provider bills nothing for it.
    No,
    /// The provider may bill it; the run's record says what was counted.
    Maybe,
    /// The job was done.
    Yes,
}

macro_rules! error_names {
    ($($variant:ident = $name:literal, $class:ident, $owner:ident, $spent:ident, $advice:literal;)*) => {
        /// A stable error name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum ErrorName {
            $(#[doc = $advice] #[serde(rename = $name)] $variant,)*
        }

        impl ErrorName {
            /// Every name.
            pub const ALL: &'static [ErrorName] = &[$(ErrorName::$variant,)*];

            /// The name as users and state machines see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorName::$variant => $name,)* }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(ErrorName::$variant => Class::$class,)* }
            }

            /// The party who can resolve it.
            pub const fn owner(self) -> ErrorOwner {
                match self { $(ErrorName::$variant => ErrorOwner::$owner,)* }
            }

            /// Whether it has cost money.
            pub const fn spent(self) -> Spent {
                match self { $(ErrorName::$variant => Spent::$spent,)* }
            }

            /// The meaning and the remedy, in a sentence for the user.
            pub const fn advice(self) -> &'static str {
                match self { $(ErrorName::$variant => $advice,)* }
            }
        }
    };
}

error_names! {
    ProviderThrottled = "Provider.Throttled", Throttled, Itself, No, "The provider asked for a pause; tried again by itself, for half an hour. Fewer workers help.";
    ProviderUnavailable = "Provider.Unavailable", Retryable, Itself, No, "The provider failed for a reason of its own; tried again by itself, for half an hour. Nothing was billed.";
    ProviderRejected = "Provider.Rejected", Terminal, Author, No, "The provider refused the request as it stands. Correct the step's params.";
    ProviderContentPolicy = "Provider.ContentPolicy", Terminal, Author, Maybe, "The provider's content policy refused the prompt or the input. Change them; the attempt may have been billed.";
    ProviderCredit = "Provider.Credit", Terminal, Operator, No, "The provider's account has no balance left. Top it up, then run again.";
    ProviderUnauthorized = "Provider.Unauthorized", Terminal, Operator, No, "The provider did not accept the key. Put a valid one into the stack's secret.";
    ProviderNotFound = "Provider.NotFound", Terminal, Operator, Maybe, "The provider does not know the endpoint or the request. The model may have been withdrawn.";
    ProviderFailed = "Provider.Failed", Terminal, Author, Maybe, "The provider accepted the job and could not do it. Change the step, or set `take` to ask again.";
    ProviderExhausted = "Provider.Exhausted", Terminal, Provider, No, "The provider failed for half an hour or longer for reasons of its own. Nothing was billed; run again later.";
    ProviderNoResult = "Provider.NoResult", Retryable, Itself, Maybe, "The provider answered without a result and without a reason; asked again by itself, at most three times in all. Each answer may be billed.";
    OutputInvalid = "Output.Invalid", Terminal, Provider, Yes, "The provider's output is not the media it should be. The job was paid. The next run fetches it once more, and generates it again only if that fails, too.";
    OutputUnavailable = "Output.Unavailable", Retryable, Itself, Yes, "The provider's output could not be fetched yet; fetched again by itself, never generated again.";
    OutputRefused = "Output.Refused", Terminal, Operator, Yes, "The stack may not fetch the provider's output from where it is. Add the host that the message names to `FalMediaHosts`, if it is the provider's; the output is then fetched, and not paid again.";
    StepTimedOut = "Step.TimedOut", Terminal, Author, Maybe, "The step took longer than its timeout. What is paid is kept: run again later, or let `cargo fresco recollect` fetch it.";
    StepUnknown = "Step.Unknown", Terminal, Operator, Maybe, "It could not be found out whether the provider accepted the job. Check the provider's dashboard before running again.";
    StepAgain = "Step.Again", Retryable, Itself, No, "What the step waited for ended without a result for it; it asks again by itself.";
    StepInput = "Step.InputInvalid", Terminal, Author, No, "What the step was to take from another step cannot be sent. Change that step, or how its result is used.";
    StepSkipped = "Step.Skipped", Terminal, Author, No, "A step that this one needs did not succeed.";
    StepCancelled = "Step.Cancelled", Terminal, Operator, Maybe, "The job was cancelled at the provider.";
    BudgetExceeded = "Budget.Exceeded", Terminal, Author, No, "The step's upper-bound price is more than what is left of the run's `max_cost`. Nothing was submitted.";
    RunStopped = "Run.Stopped", Terminal, Author, No, "The run was stopped before this step had its result. What is paid is kept: run again later.";
    RunNotFound = "Run.NotFound", Terminal, Author, No, "There is no record of such a run. Records expire after 90 days.";
    InputInvalid = "Input.Invalid", Terminal, Author, No, "A file or a URL that was given with the run cannot be used. Nothing was submitted.";
    RunTooLarge = "Run.TooLarge", Terminal, Author, No, "The pipeline is larger than one run may be. Use a batch.";
    DocumentInvalid = "Document.Invalid", Terminal, Author, No, "The pipeline document has problems; each is listed with its place.";
    SecretMissing = "Secret.Missing", Terminal, Operator, No, "The provider's key is not set for this stack. Store it as the SSM SecureString that the message names.";
    LedgerUnavailable = "Ledger.Unavailable", Retryable, Itself, No, "The ledger (DynamoDB) did not answer; tried again by itself.";
    LedgerUnreadable = "Ledger.Unreadable", Terminal, Operator, Maybe, "A row of the ledger is damaged, or another version of Fresco wrote it. An entry is rebuilt by itself and its result generated again; anything else needs an operator.";
    StorageUnavailable = "Storage.Unavailable", Retryable, Itself, No, "The storage (S3) did not answer; tried again by itself.";
    StorageDenied = "Storage.Denied", Terminal, Operator, No, "The storage refused the access. The function's policy or the bucket's does not allow it. Outputs that are paid are stored once it does.";
    StorageFull = "Storage.Full", Terminal, Operator, No, "The stack holds as much as it may (`MaxStoredGigabytes`). Remove something with `cargo fresco clean`, or raise the parameter. Nothing was submitted.";
    ExportDenied = "Export.Denied", Terminal, Operator, No, "The stack may not write to the bucket of `export`. Name the bucket in the stack's parameter `ExportBucket`. Nothing was submitted.";
    Internal = "Fresco.Internal", Terminal, Fresco, Maybe, "A fault of Fresco itself. Please report it with the run's id.";
}

impl ErrorName {
    /// Whether the state machine retries after it.
    pub const fn is_retryable(self) -> bool {
        matches!(self.class(), Class::Retryable | Class::Throttled)
    }

    /// Parses a name.
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, schemars::JsonSchema)]
#[error("{name}: {message}")]
pub struct Failure {
    /// The stable name.
    pub name: ErrorName,
    /// This occurrence.
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

    /// `ERRORS.md`: one entry an error, made of the list above.
    fn page() -> String {
        let mut page = String::from(
            "# Errors\n\nEvery failure of a step or a run has one of these names, which stay. State machines retry by them, tables and manifests\n\
             show them. This page is made from `src/error.rs`; its test says how to make it again.\n",
        );
        for name in ErrorName::ALL {
            let class = match name.class() {
                Class::Retryable => "retried automatically",
                Class::Throttled => {
                    "retried automatically, after the pause that the provider asks for (at most five minutes)"
                }
                Class::Terminal => "final",
                Class::Unknown => "not known: found out, never guessed",
            };
            let owner = match name.owner() {
                ErrorOwner::Itself => "nothing to do",
                ErrorOwner::Author => "the author of the pipeline",
                ErrorOwner::Operator => "the operator of the stack",
                ErrorOwner::Provider => "the provider",
                ErrorOwner::Fresco => "the developers of Fresco",
            };
            let spent = match name.spent() {
                Spent::No => "no",
                Spent::Maybe => "perhaps; the run's record says what was counted",
                Spent::Yes => "yes",
            };
            page.push_str(&format!(
                "\n## `{name}`\n\n{}\n\n- **Is** {class}.\n- **Resolved by:** {owner}.\n- **Money spent on the attempt:** {spent}.\n",
                name.advice()
            ));
        }
        page
    }

    #[test]
    fn every_error_has_its_entry() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ERRORS.md");
        if std::env::var_os("FRESCO_WRITE_PAGES").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page(), "FRESCO_WRITE_PAGES=1 cargo test -p fresco-pipeline every_error_has_its_entry");
    }

    #[test]
    fn an_error_that_is_retried_needs_no_action() {
        for name in ErrorName::ALL {
            assert_eq!(name.is_retryable(), name.owner() == ErrorOwner::Itself, "{name}");
        }
    }

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
