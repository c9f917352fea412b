//! The plan of a run before it starts: stages, lanes, hits, prices and times.

use std::fmt;

use fresco_pipeline::catalogue::{ProviderName, StepType};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId, StepName};
use fresco_pipeline::money::Money;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A plan, with what is known of every step. Prices are list prices, times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The pipeline's name.
    pub name: String,
    /// The order of work, hits included.
    pub stages: Vec<PreviewStage>,
    /// Every step.
    pub steps: Vec<PreviewStep>,
    /// The price of all steps.
    pub price: Money,
    /// The upper-bound price of the steps that are not hits.
    pub net: Money,
    /// The original cost of the hits.
    pub saved: Money,
    /// The run that the reasons compare with: the last one of a pipeline of this name.
    pub compared_with: Option<RunId>,
    /// The reason why a run would be refused at present, before anything is spent.
    pub refused: Option<Failure>,
    /// The budget, if there is one.
    pub max_cost: Option<Money>,
    /// The expected duration of the steps that are not hits, one after the other.
    pub sequential_ms: u64,
    /// The expected duration of the steps that are not hits, in the plan's order.
    pub wall_ms: u64,
    /// The longest path through the steps that are not hits; no order is quicker.
    pub critical_path_ms: u64,
    /// Providers of such steps whose key the stack does not have.
    pub missing_keys: Vec<ProviderName>,
    /// The most events that the state machine's history can have.
    pub events: u64,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewStage {
    /// The most lanes side by side.
    pub workers: u32,
    /// Lanes of steps in a row.
    pub lanes: Vec<Vec<StepName>>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewStep {
    /// The step's name.
    pub name: StepName,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// Its model.
    pub model: String,
    /// The provider that runs the model.
    pub provider: ProviderName,
    /// Its list price; an estimate where that depends on the results that it reads.
    pub price: Money,
    /// The performance guide's figure for the price, for comparison.
    pub guide_price: Money,
    /// Its expected duration: the middle of the model's typical range.
    pub expected_ms: u64,
    /// Whether its result is in the cache.
    pub hit: bool,
    /// The original cost of that result.
    pub saves: Money,
    /// The reason why it is not a hit.
    pub why: Option<MissReason>,
    /// The content key, if it is known.
    pub key: Option<ContentKey>,
    /// The steps whose results it reads.
    pub reads: Vec<StepName>,
}

/// The reason why a step is not a hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum MissReason {
    /// The cache has no entry for it, or the entry has expired.
    New,
    /// It asks for something else than the step of this name did in the last run of this pipeline.
    Changed {
        /// The differences.
        what: Vec<StepChange>,
    },
    /// The last run of this pipeline had its result, which was removed since.
    Removed,
    /// Its entry is damaged or of another version; the result is generated again.
    Unreadable,
    /// Its result expires too soon.
    Expired,
    /// The object of its result is gone.
    Gone,
    /// Its result has fewer outputs than it asks for.
    Short {
        /// What the result has.
        lacks: String,
    },
    /// `cache: refresh`.
    Refresh,
    /// `cache: off`.
    Off,
    /// It contains `{{timestamp}}` or `{{random}}`.
    Fleeting,
    /// It is being generated; the run will join.
    Pending,
    /// Its last attempt failed.
    Failed {
        /// The failure.
        failure: Failure,
    },
    /// It reads steps that have no results yet.
    Waits {
        /// Those steps.
        steps: Vec<StepName>,
    },
    /// The results that it reads cannot be sent to its model.
    Input {
        /// The failure.
        failure: Failure,
    },
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissReason::New => f.write_str("new"),
            MissReason::Changed { what } => f.write_str(&in_words(what)),
            MissReason::Removed => f.write_str("its result was removed"),
            MissReason::Unreadable => f.write_str("its entry cannot be read"),
            MissReason::Expired => f.write_str("expired"),
            MissReason::Gone => f.write_str("its object is gone"),
            MissReason::Short { lacks } => write!(f, "its result has {lacks}"),
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

/// A difference between a step and the step of its name in an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum StepChange {
    /// The model, or the step's type.
    Model,
    /// The prompt.
    Prompt,
    /// Other params, by the provider's names.
    Params {
        /// Those params.
        names: Vec<String>,
    },
    /// The files among its inputs, or the results that it reads.
    Input,
    /// `take`.
    Take,
    /// Nothing in the document: this version of Fresco computes other keys.
    KeyVersion,
}

/// `prompt changed`, `model, prompt and input changed`.
fn in_words(what: &[StepChange]) -> String {
    let word = |change: &StepChange| match change {
        StepChange::Model => "model".to_owned(),
        StepChange::Prompt => "prompt".to_owned(),
        StepChange::Params { names } => names.join(", "),
        StepChange::Input => "input".to_owned(),
        StepChange::Take => "take".to_owned(),
        StepChange::KeyVersion => "key version".to_owned(),
    };
    let words: Vec<String> = what.iter().map(word).collect();
    match words.split_last() {
        Some((last, [])) => format!("{last} changed"),
        Some((last, before)) => format!("{} and {last} changed", before.join(", ")),
        None => "new".to_owned(),
    }
}
