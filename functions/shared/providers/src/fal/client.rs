//! URLs, the key and the sending of a request. URLs are built from the configured base and never taken from an answer: the
//! request id is all that is stored of a job, and an answer cannot send the key to another host.

use std::sync::Arc;
use std::time::Duration;

use fresco_pipeline::error::Failure;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use url::Url;

use super::FalConfig;
use super::errors::{ErrorReply, call_error, terminal, unavailable};
use crate::api_key::Key;
use crate::http::{self, Answer, BodyError, MAX_ANSWER, base_url};
use crate::provider::CheckError;
use crate::secret::SecretSource;

/// From the start of a request to the end of its answer.
const TOTAL: Duration = Duration::from_secs(60);

/// The answer as an error. A body that could not be read leaves what the status and the headers say.
pub(super) fn error_in(answer: &Answer) -> ErrorReply {
    ErrorReply::read(answer.status, &answer.headers, answer.body.as_deref().unwrap_or_default())
}

/// The body as JSON, for a question whose answer can be asked for again.
pub(super) fn json(answer: &Answer) -> Result<Value, CheckError> {
    let reason = match &answer.body {
        Ok(body) => match serde_json::from_slice(body) {
            Ok(value) => return Ok(value),
            Err(_) => "fal's answer is not JSON".to_owned(),
        },
        Err(BodyError::TooLong) => format!("fal's answer is longer than {MAX_ANSWER} bytes"),
        Err(BodyError::Broken(reason)) => format!("fal: {reason}"),
    };
    Err(unavailable(reason))
}

/// Connections and the key.
pub(super) struct Client {
    http: reqwest::Client,
    queue: String,
    api: String,
    key: Key,
}

impl Client {
    pub(super) fn new(config: FalConfig, secrets: Arc<dyn SecretSource>) -> Result<Self, Failure> {
        Ok(Client {
            http: http::build(http::builder()?.timeout(TOTAL))?,
            queue: base_url("fal", &config.queue_url)?,
            api: base_url("fal", &config.api_url)?,
            key: Key::new("fal", config.key_name, secrets),
        })
    }

    /// The bare HTTP client, for what needs no key.
    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The URL to submit jobs of this model to: the full id (fal's JS client, `queue.submit`).
    pub(super) fn submit_url(&self, endpoint: &str) -> Option<Url> {
        is_endpoint(endpoint).then(|| Url::parse(&format!("{}/{endpoint}", self.queue)).ok()).flatten()
    }

    /// The URL of a job: only the app, not the path below it (fal's JS client, `queue.status`).
    pub(super) fn job_url(&self, endpoint: &str, request_id: &str, tail: &str) -> Option<Url> {
        let app = app_of(endpoint).filter(|_| is_request_id(request_id))?;
        Url::parse(&format!("{}/{app}/requests/{request_id}{tail}", self.queue)).ok()
    }

    /// A path of the platform's API.
    pub(super) fn api_url(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}{path}", self.api)).ok()
    }

    /// A request that carries the key: `Authorization: Key …` (fal's Python client, `auth.py`).
    pub(super) async fn request(&self, method: Method, url: Url) -> Result<reqwest::RequestBuilder, Failure> {
        Ok(self.http.request(method, url).header(AUTHORIZATION, self.key.header("Key ").await?))
    }

    /// Drops the key after it was refused.
    pub(super) async fn forget_key(&self) {
        self.key.forget().await;
    }

    /// Sends a request that may be asked again, and reads the answer.
    pub(super) async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, CheckError> {
        match request.send().await {
            Ok(response) => {
                let answer = Answer::read(response).await;
                if answer.status == 401 {
                    self.forget_key().await;
                }
                Ok(answer)
            }
            Err(error) => Err(unavailable(format!("fal: {}", http::describe(error)))),
        }
    }

    /// A GET with the key.
    pub(super) async fn get(&self, url: Url) -> Result<Answer, CheckError> {
        let request = self.request(Method::GET, url).await.map_err(terminal)?;
        self.ask(request).await
    }
}

/// The error that a question got.
pub(super) fn refused(answer: &Answer) -> CheckError {
    call_error(&error_in(answer))
}

/// Whether this is `owner/app[/path…]`, of characters that need no escaping.
fn is_endpoint(endpoint: &str) -> bool {
    let segment = |part: &str| {
        !part.is_empty()
            && !part.bytes().all(|b| b == b'.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    endpoint.len() <= 256 && endpoint.split('/').all(segment) && endpoint.contains('/')
}

/// The part of a model's id that names the app: `owner/app`, with a leading `workflows/` or `comfy/` kept (fal's JS client,
/// `utils.parseEndpointId`).
fn app_of(endpoint: &str) -> Option<&str> {
    if !is_endpoint(endpoint) {
        return None;
    }
    let wanted = if endpoint.starts_with("workflows/") || endpoint.starts_with("comfy/") { 3 } else { 2 };
    let end = endpoint.match_indices('/').nth(wanted - 1).map_or(endpoint.len(), |(at, _)| at);
    Some(&endpoint[..end]).filter(|app| app.split('/').count() == wanted)
}

/// Whether this can be an id that fal gave: it becomes a segment of a path.
pub(super) fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_asked_about_by_app() {
        for (endpoint, app) in [
            ("fal-ai/flux", Some("fal-ai/flux")),
            ("fal-ai/flux/schnell", Some("fal-ai/flux")),
            ("fal-ai/kling-video/v2.6/pro/text-to-video", Some("fal-ai/kling-video")),
            ("workflows/me/thing", Some("workflows/me/thing")),
            ("comfy/me/thing/path", Some("comfy/me/thing")),
            ("workflows/me", None),
            ("flux", None),
            ("fal-ai//x", None),
            ("fal-ai/../x", None),
            ("fal-ai/a b", None),
            ("fal-ai/a?x=1", None),
            ("/fal-ai/x", None),
        ] {
            assert_eq!(app_of(endpoint), app, "{endpoint}");
        }
    }

    #[test]
    fn a_request_id_is_one_segment() {
        assert!(is_request_id("764cabcf-b745-4b3e-ae38-1200304cf45b"));
        for bad in ["", "..", "a/b", "a?b", "a#b", "ä", &"x".repeat(129)] {
            assert!(!is_request_id(bad), "{bad}");
        }
    }
}
