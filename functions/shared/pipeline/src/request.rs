//! The request to a provider: what the content key is the hash of, what stands on the attempt, and what the provider is
//! handed. Its media are references to objects; links and bytes are made of them when it is submitted.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{MediaKind, ProviderName, StepType};
use crate::ids::ContentKey;
use crate::media::{FieldMedia, Media, Shortfall};
use crate::money::Money;

/// A request whose inputs all exist. Its `Debug` shows no values of params, since they hold the prompt.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    pub provider: ProviderName,
    #[serde(rename = "type")]
    pub step: StepType,
    pub model: String,
    /// The provider's id of the model.
    pub endpoint: String,
    /// The body as it is sent, by the provider's names, apart from media.
    pub params: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<FieldMedia<Media>>,
    /// The number of the result among those of the same request, from 1: the document's `take`.
    pub repetition: u32,
    /// The kind of the outputs.
    pub kind: MediaKind,
}

impl fmt::Debug for GenerationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationRequest")
            .field("provider", &self.provider)
            .field("step", &self.step)
            .field("model", &self.model)
            .field("endpoint", &self.endpoint)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .field("inputs", &self.inputs)
            .field("repetition", &self.repetition)
            .field("kind", &self.kind)
            .finish()
    }
}

impl GenerationRequest {
    /// Every medium of the request, field by field.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.inputs.iter().flat_map(|field| &field.media)
    }
}

/// A request with its content key and its price.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedRequest {
    pub key: ContentKey,
    /// The upper-bound price, which a hold reserves.
    pub price: Money,
    pub request: GenerationRequest,
}

/// The outputs of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepOutputs {
    /// In the provider's order.
    pub media: Vec<Media>,
    /// The text of a step that gives one, if it has been read.
    pub text: Option<String>,
    /// What it lacks of what was asked for.
    pub shortfall: Option<Shortfall>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_debug_form_shows_no_prompt() {
        let request = GenerationRequest {
            provider: ProviderName::Fal,
            step: StepType::TextToImage,
            model: "flux_dev".to_owned(),
            endpoint: "fal-ai/flux/dev".to_owned(),
            params: json!({"prompt": "secret fox"}).as_object().unwrap().clone(),
            inputs: Vec::new(),
            repetition: 1,
            kind: MediaKind::Image,
        };
        for shown in [format!("{request:?}"), format!("{request:#?}")] {
            assert!(!shown.contains("secret") && shown.contains("prompt"), "{shown}");
        }
    }
}
