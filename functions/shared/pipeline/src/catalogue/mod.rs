//! The model catalogue: data in `models.json`, read once. A new model is one entry there. It says which step type a model
//! serves, its endpoint, its params with their allowed values and the provider's names for them, its price and its times.

mod param;
mod price;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use param::{Param, ParamProblem};
pub use price::{Price, PriceUnit};

use crate::money::Money;

/// What a step does. The deployed functions are one a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepType {
    /// Text in, pictures out.
    TextToImage,
}

impl StepType {
    /// Every type that this version carries out.
    pub const ALL: &'static [StepType] = &[StepType::TextToImage];

    /// As written in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepType::TextToImage => "text_to_image",
        }
    }

    /// The type that is written so.
    pub fn parse(text: &str) -> Option<StepType> {
        Self::ALL.iter().copied().find(|step| step.as_str() == text)
    }

    /// The model of a step that names none (the guide's unnamed steps).
    pub const fn default_model(self) -> &'static str {
        match self {
            StepType::TextToImage => "flux_dev",
        }
    }
}

/// Who generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// fal.ai: a queue, with webhooks.
    Fal,
}

impl ProviderName {
    /// As written in rows, URLs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProviderName::Fal => "fal",
        }
    }

    /// The provider that is written so.
    pub fn parse(text: &str) -> Option<ProviderName> {
        [ProviderName::Fal].into_iter().find(|provider| provider.as_str() == text)
    }
}

/// The kind of a media object; also its folder under `outputs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// PNG, JPEG or WebP.
    Image,
}

impl MediaKind {
    /// As written in keys and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
        }
    }

    /// The largest object of the kind that is accepted, in bytes.
    pub const fn max_bytes(self) -> u64 {
        match self {
            MediaKind::Image => 64 * 1024 * 1024,
        }
    }
}

/// How long a model typically takes, in seconds (the performance guide's range).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// The quick end.
    pub min: u32,
    /// The slow end.
    pub max: u32,
}

/// Where the media are in a provider's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputShape {
    /// The field of the answer that holds the list of files.
    pub field: String,
    /// What the files are.
    pub kind: MediaKind,
    /// The param that says how many there are.
    pub count: String,
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
    /// Who runs it.
    pub provider: ProviderName,
    /// The provider's id of it.
    pub endpoint: String,
    /// Its name for people.
    pub label: String,
    /// Its params by the names that documents use.
    pub params: BTreeMap<String, Param>,
    /// What it costs.
    pub price: Price,
    /// How long it takes.
    pub seconds: Seconds,
    /// What it gives.
    pub output: OutputShape,
}

impl Model {
    /// The step's timeout in seconds where the document gives none: the greater of 30 s and twice the typical maximum.
    pub fn timeout_seconds(&self) -> u32 {
        (self.seconds.max * 2).max(30)
    }

    /// Checks a document's params and turns them into the provider's request: its names, every default spelled out, so
    /// that a default of the provider's that changes later changes neither the request nor the key.
    pub fn resolve(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<ParamProblem>> {
        param::resolve(&self.params, given)
    }

    /// How many outputs a resolved request gives.
    pub fn output_count(&self, resolved: &Map<String, Value>) -> u32 {
        let count = resolved.get(&self.output.count).and_then(Value::as_u64).unwrap_or(1);
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// The upper-bound price of a resolved request. It is what a hold reserves.
    pub fn price_of(&self, resolved: &Map<String, Value>) -> Money {
        price::upper_bound(self, resolved)
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "version")]
    _version: u32,
    models: Vec<Model>,
}

/// Every model, in the order of the file.
pub fn models() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    // The file is part of the program and a test reads it: an unreadable one cannot be released.
    MODELS.get_or_init(|| {
        serde_json::from_str::<File>(include_str!("models.json")).map(|file| file.models).unwrap_or_default()
    })
}

/// The model of this name or alias for a step type.
pub fn find(step: StepType, name: &str) -> Option<&'static Model> {
    models().iter().find(|model| model.step == step && (model.name == name || model.aliases.iter().any(|a| a == name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_is_readable_and_names_are_unique_within_a_step_type() {
        assert!(serde_json::from_str::<File>(include_str!("models.json")).is_ok());
        assert!(!models().is_empty());
        for model in models() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                assert_eq!(find(model.step, name).map(|m| &m.name), Some(&model.name));
            }
            assert!(model.params.contains_key(&model.output.count));
            assert!(model.resolve(json!({"prompt": "x"}).as_object().unwrap()).is_ok(), "{}", model.name);
        }
        for step in StepType::ALL {
            assert!(find(*step, step.default_model()).is_some());
        }
    }

    #[test]
    fn timeouts_follow_the_guide() {
        assert_eq!(find(StepType::TextToImage, "flux_schnell").unwrap().timeout_seconds(), 30);
    }
}
