//! Content keys: SHA-256 over canonical JSON (RFC 8785) of what determines a result. Names, money, timeouts and workers are
//! not in it, so that renaming a step or raising a budget is not a reason to pay again.

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::ids::{ContentKey, RunId, StepName};
use crate::media::{FieldMedia, Media};
use crate::request::GenerationRequest;

/// Raised when what is hashed changes while the request does not: a determinant more or fewer, another form of one. Raised also
/// when a provider is sent something else for the same determinants; a test of the providers holds every model's request against
/// its key. (Another endpoint or default in the catalogue is another request and has another key by itself.)
///
/// After an upgrade that raises it no step finds a result of before. Those stay in the ledger and the bucket until they
/// expire, as they would have; nothing moves them, for a key does not say what it is the hash of. The plan says so: what it
/// showed as there it shows with its price and `key version changed`. A run that is on its way goes on under the keys that its
/// steps have noted, so that none of them requests again what is being generated.
pub const KEY_VERSION: u32 = 2;

/// The determinants of a result, as they are hashed.
#[derive(Debug, Serialize)]
struct Determinants<'a> {
    v: u32,
    #[serde(rename = "type")]
    step: &'a str,
    model: &'a str,
    endpoint: &'a str,
    params: &'a Map<String, Value>,
    /// Every input medium as `field=SHA-256`, in the order of the request.
    inputs: &'a [String],
    #[serde(rename = "take")]
    repetition: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

/// Makes a result its step's own: with `cache: off` the key holds run and step, so that no other step finds it.
#[derive(Debug, Clone)]
pub struct Salt<'a> {
    pub run: &'a RunId,
    pub step: &'a StepName,
}

/// The content key of a request.
pub fn content_key(request: &GenerationRequest, salt: Option<Salt<'_>>) -> ContentKey {
    of_version(KEY_VERSION, request, salt)
}

fn of_version(version: u32, request: &GenerationRequest, salt: Option<Salt<'_>>) -> ContentKey {
    let of = |field: &FieldMedia<Media>| {
        field.media.iter().map(|media| format!("{}={}", field.to, media.sha256)).collect::<Vec<_>>()
    };
    let inputs: Vec<String> = request.inputs.iter().flat_map(of).collect();
    let determinants = Determinants {
        v: version,
        step: request.step.as_str(),
        model: &request.model,
        endpoint: &request.endpoint,
        params: &request.params,
        inputs: &inputs,
        repetition: request.repetition,
        salt: salt.map(|salt| format!("{}/{}", salt.run, salt.step)),
    };
    // Canonical JSON fails only for what a JSON value cannot hold, or for numbers beyond a double; params are checked
    // against ranges far below. Its plain form is then still a function of the same values.
    let bytes = serde_json_canonicalizer::to_vec(&determinants)
        .or_else(|_| serde_json::to_vec(&determinants))
        .unwrap_or_default();
    ContentKey::digest(&bytes)
}
