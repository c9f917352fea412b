//! The reason for which a step has no usable result in the cache.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::StepName;
use serde::{Deserialize, Serialize};

/// The reason for which a step is a miss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum MissReason {
    /// There is no entry.
    New,
    /// It differs from the step of this name in the last run of the pipeline.
    Changed { what: Vec<Change> },
    /// The last run of the pipeline had its result, which was removed since.
    Removed,
    /// Its entry is damaged or of another version; it is generated again.
    Unreadable,
    /// Its result expires too soon.
    Expired,
    /// The object of its result is gone.
    Gone,
    /// `cache: refresh`.
    Refresh,
    /// `cache: off`.
    Off,
    /// `{{timestamp}}` or `{{random}}` stands in it.
    Fleeting,
    /// It is being generated, and the run joins.
    Pending,
    /// Its last attempt failed.
    Failed {
        /// MissReason.
        failure: Failure,
    },
    /// It reads steps that have no results yet.
    Waits { steps: Vec<StepName> },
    /// An output of the steps before it cannot be sent.
    Input {
        /// MissReason.
        failure: Failure,
    },
}

impl std::fmt::Display for MissReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MissReason::New => f.write_str("new"),
            MissReason::Changed { what } => f.write_str(&in_words(what)),
            MissReason::Removed => f.write_str("its result was removed"),
            MissReason::Unreadable => f.write_str("its entry cannot be read"),
            MissReason::Expired => f.write_str("expired"),
            MissReason::Gone => f.write_str("its object is gone"),
            MissReason::Refresh => f.write_str("refresh"),
            MissReason::Off => f.write_str("cache off"),
            MissReason::Fleeting => f.write_str("never cached: timestamp or random"),
            MissReason::Pending => f.write_str("being generated, will be joined"),
            MissReason::Failed { failure } => write!(f, "failed before ({})", failure.name),
            MissReason::Waits { steps } => {
                let names: Vec<&str> = steps.iter().map(StepName::as_str).collect();
                write!(f, "needs {}", names.join(", "))
            }
            MissReason::Input { failure } => write!(f, "{failure}"),
        }
    }
}

/// A difference between two versions of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The model, or the step's type.
    Model,
    /// The prompt.
    Prompt,
    /// Other params, by the names of the provider.
    Params { names: Vec<String> },
    /// Its input media, given with the run or made by other steps.
    Input,
    /// `take`.
    Take,
    /// Nothing in the document: this version of Fresco makes other keys.
    KeyVersion,
}

/// `prompt changed`, `model, prompt and input changed`.
fn in_words(what: &[Change]) -> String {
    let word = |change: &Change| match change {
        Change::Model => "model".to_owned(),
        Change::Prompt => "prompt".to_owned(),
        Change::Params { names } => names.join(", "),
        Change::Input => "input".to_owned(),
        Change::Take => "take".to_owned(),
        Change::KeyVersion => "key version".to_owned(),
    };
    let words: Vec<String> = what.iter().map(word).collect();
    match words.split_last() {
        Some((last, [])) => format!("{last} changed"),
        Some((last, before)) => format!("{} and {last} changed", before.join(", ")),
        None => "new".to_owned(),
    }
}
