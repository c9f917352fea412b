//! The crate against the wire: against scripted answers, byte by byte, for what a real provider rarely does, and against
//! the simulator for what it always does. Everything is on loopback.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod asks;
mod bodies;
mod catalogue;
mod download;
mod gemini;
mod script;
mod simulator;
mod submit;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fresco_pipeline::catalogue::{MediaKind, ProviderName, StepType};
use fresco_pipeline::error::Failure;
use fresco_pipeline::media::{FieldMedia, Media};
use fresco_pipeline::request::GenerationRequest;
use fresco_providers::fal::{Fal, FalConfig};
use fresco_providers::{InputData, Secret, SecretSource, Submission};
use serde_json::{Map, Value};

/// A source that has one key and counts how often it is asked.
struct Keys(String, std::sync::atomic::AtomicUsize);

#[async_trait]
impl SecretSource for Keys {
    async fn get(&self, name: &str) -> Result<Secret, Failure> {
        assert!(["/fresco/fal-key", "/fresco/gemini-key"].contains(&name), "{name}");
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(Secret::new(self.0.clone()))
    }
}

fn keys(key: &str) -> Arc<Keys> {
    Arc::new(Keys(key.to_owned(), 0.into()))
}

fn config(base: &str) -> FalConfig {
    FalConfig {
        queue_url: base.to_owned(),
        rest_url: base.to_owned(),
        api_url: base.to_owned(),
        user_id: "user-1".to_owned(),
        key_name: "/fresco/fal-key".to_owned(),
    }
}

fn fal(base: &str) -> Fal {
    Fal::new(config(base), keys("id:secret")).unwrap()
}

fn params(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A request without media.
fn request(endpoint: &str, input: Value) -> GenerationRequest {
    GenerationRequest {
        provider: ProviderName::Fal,
        step: StepType::TextToImage,
        model: "model".to_owned(),
        endpoint: endpoint.to_owned(),
        params: params(input),
        inputs: Vec::new(),
        repetition: 1,
        kind: MediaKind::Image,
    }
}

fn submission(webhook_url: Option<&str>) -> Submission {
    let request = request("fal-ai/flux/schnell", serde_json::json!({"prompt": "a fox", "num_images": 1}));
    Submission {
        request,
        media: BTreeMap::new(),
        webhook_url: webhook_url.map(str::to_owned),
        deadline: std::time::Duration::from_secs(60),
    }
}

/// Adds a field with these media, under keys of their own.
fn add_media(submission: &mut Submission, to: &str, list: bool, data: Vec<InputData>) {
    let media = |data: InputData| {
        let media = object(&format!("inputs/{}", submission.media.len()));
        submission.media.insert(media.key.clone(), data);
        media
    };
    let media = data.into_iter().map(media).collect();
    submission.request.inputs.push(FieldMedia { to: to.to_owned(), list, media });
}

/// Puts these media into the n-th field in the place of those that are there.
fn set_media(submission: &mut Submission, n: usize, data: Vec<InputData>) {
    let FieldMedia { to, list, .. } = submission.request.inputs.remove(n);
    add_media(submission, &to, list, data);
    let last = submission.request.inputs.len() - 1;
    submission.request.inputs[n..=last].rotate_right(1);
}

/// An object of this key.
fn object(key: &str) -> Media {
    Media {
        key: key.to_owned(),
        kind: MediaKind::Image,
        content_type: "image/png".to_owned(),
        bytes: 1,
        sha256: "0".repeat(64),
        width: None,
        height: None,
        duration_ms: None,
    }
}
