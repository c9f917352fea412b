//! Why a step has no usable result in the cache.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::StepName;
use serde::{Deserialize, Serialize};

/// Why a step is not found in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum MissReason {
    /// Nobody has asked for it yet, or what was made of it was forgotten.
    New,
    /// It asks for something else than the step of this name did in the last run of this pipeline.
    Changed {
        /// What differs.
        what: Vec<Change>,
    },
    /// The last run of this pipeline had its result, and it was removed since.
    Removed,
    /// Its entry is damaged or of another version; it is made anew.
    Unreadable,
    /// There is a result, and it expires too soon.
    Expired,
    /// There is a result, and its object is gone.
    Gone,
    /// `cache: refresh`.
    Refresh,
    /// `cache: off`.
    Off,
    /// `{{timestamp}}` or `{{random}}` stands in it.
    Fleeting,
    /// It is being generated; the run will join.
    Pending,
    /// Its last attempt failed.
    Failed {
        /// MissReason.
        failure: Failure,
    },
    /// It reads steps whose results are not there yet.
    Waits {
        /// Those steps.
        steps: Vec<StepName>,
    },
    /// What it takes from the steps before it cannot be sent.
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

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The model, or the step's type.
    Model,
    /// The prompt.
    Prompt,
    /// Other params, by the provider's names.
    Params {
        /// Which.
        names: Vec<String>,
    },
    /// What it takes: files that were given, or what other steps made.
    Input,
    /// `take`.
    Take,
    /// Nothing that the document says: this version of Fresco makes other keys.
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
