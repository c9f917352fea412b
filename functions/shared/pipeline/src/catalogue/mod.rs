//! The model catalogue: data in `models.json`, read once. A new model is one entry there. It says which step type a model
//! serves, its endpoint, its media inputs and params with their allowed values and the provider's names for them, its price
//! and its times; and of each step type its default model and how many belong into a batch.

mod kinds;
mod param;
mod price;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use kinds::{MediaKind, ProviderName, StepType};
pub use param::{BYTES_A_CHAR, IMAGE_SIDES, Param, ParamKind, ParamProblem, image_size_names};
pub use price::{Price, PriceUnit};

use crate::money::Money;

/// The number of steps of a type in one batch (the performance guide's batch size guidelines).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSize {
    /// From and to.
    pub recommended: (u32, u32),
    pub max: u32,
}

/// The properties common to the models of a step type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The model of a step that names none.
    pub default: String,
    pub batch: BatchSize,
}

/// The typical duration of a model, in seconds (the performance guide's range).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// The quick end.
    pub min: u32,
    /// The slow end.
    pub max: u32,
}

/// A param that names media: what a model takes for one of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaParam {
    /// The param of a document that names it.
    pub param: String,
    /// Other names for that param.
    #[serde(default)]
    pub aliases: Vec<String>,
    pub kind: MediaKind,
    pub to: String,
    /// Whether it has to be given.
    #[serde(default)]
    pub required: bool,
    /// Whether the field is a list.
    #[serde(default)]
    pub list: bool,
    /// The most media of one request.
    #[serde(default = "one")]
    pub max: u32,
}

const fn one() -> u32 {
    1
}

/// The outputs of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputShape {
    pub kind: MediaKind,
    /// The param that says how many there are; where there is none, it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
}

/// One model, as `models.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that documents use.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// The step type it serves.
    pub step: StepType,
    pub provider: ProviderName,
    pub endpoint: String,
    /// Its name for people.
    pub label: String,
    /// The media it takes. The first one is what `input_from` gives.
    pub inputs: Vec<MediaParam>,
    /// Its params by the names that documents use.
    pub params: BTreeMap<String, Param>,
    pub price: Price,
    pub seconds: Seconds,
    pub output: OutputShape,
}

impl Model {
    /// The step's timeout in seconds where the document gives none: the greater of 30 s and twice the typical maximum.
    pub fn timeout_seconds(&self) -> u32 {
        (self.seconds.max * 2).max(30)
    }

    /// The media input that a param of a document names, by its name or an alias.
    pub fn media_param(&self, param: &str) -> Option<&MediaParam> {
        self.inputs.iter().find(|input| input.param == param || input.aliases.iter().any(|alias| alias == param))
    }

    /// Checks a document's params (without media) and turns them into the provider's request: its names, every default
    /// spelled out, so that a default of the provider's that changes later changes neither the request nor the key.
    pub fn resolve(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<ParamProblem>> {
        param::resolve(self, given)
    }

    /// The number of outputs of a resolved request.
    pub fn output_count(&self, resolved: &Map<String, Value>) -> u32 {
        let count =
            self.output.count.as_ref().and_then(|count| resolved.get(count)).and_then(Value::as_u64).unwrap_or(1);
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// The upper-bound price of a resolved request. It is what a hold reserves. `media` has the size in pixels of every
    /// medium of the request, where it is known; what is priced by the first one is taken for 1024 by 1024 where not, which
    /// is an estimate.
    pub fn price_of(&self, resolved: &Map<String, Value>, media: &[Option<(u32, u32)>]) -> Money {
        price::upper_bound(self, resolved, media)
    }

    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

#[derive(Deserialize, Default)]
struct File {
    #[serde(rename = "version")]
    _version: u32,
    operations: BTreeMap<StepType, Operation>,
    models: Vec<Model>,
}

/// The file is part of the program and a test reads it: an unreadable one cannot be released.
fn file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| serde_json::from_str(include_str!("models.json")).unwrap_or_default())
}

/// Every model, in the order of the file.
pub fn models() -> &'static [Model] {
    &file().models
}

/// The properties common to the models of a step type.
pub fn operation(step: StepType) -> Option<&'static Operation> {
    file().operations.get(&step)
}

/// The model of this name or alias for a step type.
pub fn find(step: StepType, name: &str) -> Option<&'static Model> {
    models().iter().find(|model| model.step == step && model.names().any(|known| known == name))
}

/// The model of a step that names none.
pub fn default_model(step: StepType) -> Option<&'static Model> {
    find(step, &operation(step)?.default)
}
