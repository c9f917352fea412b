//! The crate against the wire: against scripted answers, byte by byte, for what a real provider rarely does, and against
//! the simulator for what it always does. Everything is on loopback.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod asks;
mod catalogue;
mod download;
mod gemini;
mod script;
mod simulator;
mod submit;

use std::sync::Arc;

use async_trait::async_trait;
use fresco_pipeline::error::Failure;
use fresco_providers::fal::{Fal, FalConfig};
use fresco_providers::{Secret, SecretSource, Submission};
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

fn submission(webhook_url: Option<&str>) -> Submission {
    Submission {
        endpoint: "fal-ai/flux/schnell".to_owned(),
        params: params(serde_json::json!({"prompt": "a fox", "num_images": 1})),
        inputs: Vec::new(),
        webhook_url: webhook_url.map(str::to_owned),
    }
}
