//! Content keys: SHA-256 over canonical JSON (RFC 8785) of what determines a result. Names, money, timeouts and workers are
//! not in it, so that renaming a step or raising a budget is not a reason to pay again.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalogue::Model;
use crate::ids::{ContentKey, RunId, StepName};

/// Raised when the same request has to get another key: when what is hashed changes. Older results then stay where they are
/// until they expire and are not found any more.
pub const KEY_VERSION: u32 = 1;

/// What determines a result.
#[derive(Debug, Serialize)]
struct Determinants<'a> {
    v: u32,
    #[serde(rename = "type")]
    step: &'a str,
    model: &'a str,
    endpoint: &'a str,
    params: &'a Map<String, Value>,
    /// Hashes of the input media, in order.
    inputs: &'a [String],
    take: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

/// Makes a result its step's own: with `cache: off` the key holds run and step, so that nobody else finds it.
#[derive(Debug, Clone)]
pub struct Salt<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The step.
    pub step: &'a StepName,
}

/// The content key of a resolved request.
pub fn content_key(
    model: &Model,
    resolved: &Map<String, Value>,
    inputs: &[String],
    take: u32,
    salt: Option<Salt<'_>>,
) -> ContentKey {
    let determinants = Determinants {
        v: KEY_VERSION,
        step: model.step.as_str(),
        model: &model.name,
        endpoint: &model.endpoint,
        params: resolved,
        inputs,
        take,
        salt: salt.map(|salt| format!("{}/{}", salt.run, salt.step)),
    };
    // Canonical JSON fails only for what a JSON value cannot hold, or for numbers beyond a double; params are checked
    // against ranges far below. Its plain form is then still a function of the same values.
    let bytes = serde_json_canonicalizer::to_vec(&determinants)
        .or_else(|_| serde_json::to_vec(&determinants))
        .unwrap_or_default();
    ContentKey::digest(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{StepType, find};
    use serde_json::json;

    fn key(model: &str, params: Value, take: u32) -> ContentKey {
        let model = find(StepType::TextToImage, model).unwrap();
        content_key(model, &model.resolve(params.as_object().unwrap()).unwrap(), &[], take, None)
    }

    #[test]
    fn what_changes_the_request_changes_the_key_and_nothing_else_does() {
        let base = key("flux_schnell", json!({"prompt": "a", "seed": 1}), 1);
        for same in [
            json!({"seed": 1, "prompt": "a"}),
            json!({"prompt": "a", "seed": 1, "num_images": 1}),
            json!({"prompt": "a", "seed": 1, "aspect_ratio": "4:3"}),
        ] {
            assert_eq!(key("flux_schnell", same, 1), base);
        }
        for other in [
            json!({"prompt": "b", "seed": 1}),
            json!({"prompt": "a", "seed": 2}),
            json!({"prompt": "a"}),
            json!({"prompt": "a", "seed": 1, "num_images": 2}),
        ] {
            assert_ne!(key("flux_schnell", other, 1), base);
        }
        assert_ne!(key("flux_schnell", json!({"prompt": "a", "seed": 1}), 2), base);
        assert_eq!(key("nano_banana", json!({"prompt": "a"}), 1), key("nano_banana_pro", json!({"prompt": "a"}), 1));
    }

    /// A change of this value makes every cached result unreachable: raise [`KEY_VERSION`] on purpose, never by accident.
    #[test]
    fn keys_are_stable_between_releases() {
        assert_eq!(
            key("flux_schnell", json!({"prompt": "a lighthouse at dusk"}), 1).as_str(),
            "968ebab2018c1ac250d9cade98707207094eb910dd350b9b3c9cd0fa4b79143f"
        );
    }
}
