//! The keys that fal signs webhooks with, `{rest}/.well-known/jwks.json` (fal docs, webhooks). They are kept for at most a
//! day; a signature that none of them made has them fetched again, at most once a minute, so that a rotation of keys is
//! noticed and a flood of forgeries is not passed on to fal.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_pipeline::error::Failure;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::http::{self, base_url};

/// The longest that fetched keys are used (fal docs, webhooks: at most 24 hours).
const MAX_AGE_MS: i64 = 24 * 60 * 60 * 1000;
/// The shortest time between two fetches that a failed signature causes.
const REFETCH_MS: i64 = 60 * 1000;
/// fal gives up a delivery after 15 s, so the answer has to be there earlier.
const DEADLINE: Duration = Duration::from_secs(8);
const MAX_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 16;

/// Public keys, as they were at one fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys(Arc<[[u8; 32]]>);

impl Keys {
    /// Whether any of the keys made this signature. Any may, since old and new ones overlap while they are rotated.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|key| UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok())
    }

    /// The Ed25519 keys of a set. Others are skipped, not refused: a set may grow kinds that are not known here.
    fn read(body: &[u8]) -> Option<Keys> {
        let set: Value = serde_json::from_slice(body).ok()?;
        let keys: Vec<[u8; 32]> = set.get("keys")?.as_array()?.iter().filter_map(public_key).take(MAX_KEYS).collect();
        (!keys.is_empty()).then(|| Keys(keys.into()))
    }
}

fn public_key(jwk: &Value) -> Option<[u8; 32]> {
    let is = |field: &str, wanted: &str| jwk.get(field).and_then(Value::as_str) == Some(wanted);
    let x = jwk.get("x")?.as_str()?.trim_end_matches('=');
    (is("kty", "OKP") && is("crv", "Ed25519")).then(|| URL_SAFE_NO_PAD.decode(x).ok()?.try_into().ok()).flatten()
}

struct Cached {
    keys: Keys,
    fetched_ms: i64,
    /// The last fetch, successful or not.
    tried_ms: i64,
}

/// The cache.
pub(super) struct Jwks {
    url: String,
    // Held while fetching, so that a burst of webhooks fetches once.
    cached: Mutex<Option<Cached>>,
}

impl Jwks {
    pub(super) fn new(rest_url: &str) -> Result<Self, Failure> {
        Ok(Jwks { url: format!("{}/.well-known/jwks.json", base_url("fal", rest_url)?), cached: Mutex::new(None) })
    }

    /// The keys, fetched if there are none or they are a day old.
    pub(super) async fn current(&self, http: &reqwest::Client, now_ms: i64) -> Option<Keys> {
        let mut cached = self.cached.lock().await;
        match &*cached {
            Some(cached) if within(cached.fetched_ms, now_ms, MAX_AGE_MS) => Some(cached.keys.clone()),
            _ => {
                let keys = self.fetch(http).await?;
                *cached = Some(Cached { keys: keys.clone(), fetched_ms: now_ms, tried_ms: now_ms });
                Some(keys)
            }
        }
    }

    /// The keys after `seen` did not verify a signature: `Ok(None)` if there are no newer ones, `Err` if that could not be
    /// found out.
    pub(super) async fn newer(&self, http: &reqwest::Client, seen: &Keys, now_ms: i64) -> Result<Option<Keys>, ()> {
        let mut cached = self.cached.lock().await;
        let Some(entry) = cached.as_mut() else { return Ok(None) };
        if entry.keys != *seen {
            return Ok(Some(entry.keys.clone()));
        }
        if within(entry.tried_ms, now_ms, REFETCH_MS) {
            return Ok(None);
        }
        entry.tried_ms = now_ms;
        let keys = self.fetch(http).await.ok_or(())?;
        entry.fetched_ms = now_ms;
        Ok((keys != *seen).then(|| {
            entry.keys = keys.clone();
            keys
        }))
    }

    async fn fetch(&self, http: &reqwest::Client) -> Option<Keys> {
        let reason = match http.get(&self.url).timeout(DEADLINE).send().await {
            Ok(response) if response.status().as_u16() == 200 => match http::read_capped(response, MAX_BYTES).await {
                Ok(body) => match Keys::read(&body) {
                    Some(keys) => return Some(keys),
                    None => "no Ed25519 key in the set".to_owned(),
                },
                Err(error) => format!("{error:?}"),
            },
            Ok(response) => format!("answered {}", response.status().as_u16()),
            Err(error) => http::describe(error),
        };
        tracing::warn!(provider = "fal", reason, "the webhook keys could not be fetched");
        None
    }
}

/// Whether `now` is less than `span` from `then`; a clock that went back counts as far.
fn within(then: i64, now: i64, span: i64) -> bool {
    (0..span).contains(&now.saturating_sub(then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_ed25519_keys_are_read() {
        let good = URL_SAFE_NO_PAD.encode([7; 32]);
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": good},
            {"kty": "OKP", "crv": "Ed25519", "x": format!("{good}=")},
            {"kty": "OKP", "crv": "X25519", "x": good},
            {"kty": "RSA", "n": "AQAB"},
            {"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 31])},
            {"kty": "OKP", "crv": "Ed25519", "x": "?"},
            {"kty": "OKP", "crv": "Ed25519"},
        ]});
        assert_eq!(Keys::read(set.to_string().as_bytes()), Some(Keys(vec![[7; 32]; 2].into())));
        for empty in ["", "{}", "[]", "<html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA"}]}"#] {
            assert_eq!(Keys::read(empty.as_bytes()), None);
        }
    }

    #[test]
    fn time_that_goes_back_is_far() {
        assert!(within(100, 100, 60) && within(100, 159, 60));
        assert!(!within(100, 160, 60) && !within(100, 99, 60));
    }
}
