//! URLs, the key and the sending of a request. URLs are built from the configured base and never taken from an answer: the
//! request id is all that is stored of a job, and an answer cannot send the key to another host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::sync::Mutex;
use url::{Host, Url};

use super::FalConfig;
use super::errors::{ErrorReply, call_error};
use crate::http::{self, BodyError};
use crate::secret::{Secret, SecretSource};
use crate::types::CheckError;

/// From the start of a request to the end of its answer.
const TOTAL: Duration = Duration::from_secs(60);
/// The longest answer to a question. Results are small where media come as URLs.
pub(super) const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// The longest error that is read. One is cut off after 300 characters anyway.
pub(super) const MAX_ERROR: usize = 64 * 1024;

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, BodyError>,
}

impl Answer {
    pub(super) async fn read(response: reqwest::Response) -> Answer {
        let status = response.status();
        let headers = response.headers().clone();
        let cap = if status.is_success() { MAX_ANSWER } else { MAX_ERROR };
        Answer { status: status.as_u16(), headers, body: http::read_capped(response, cap).await }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer as an error. A body that could not be read leaves what the status and the headers say.
    pub(super) fn error(&self) -> ErrorReply {
        ErrorReply::read(self.status, &self.headers, self.body.as_deref().unwrap_or_default())
    }

    /// The body as JSON, for a question whose answer can be asked for again.
    pub(super) fn json(&self) -> Result<serde_json::Value, CheckError> {
        let reason = match &self.body {
            Ok(body) => match serde_json::from_slice(body) {
                Ok(value) => return Ok(value),
                Err(_) => "fal's answer is not JSON".to_owned(),
            },
            Err(BodyError::TooLong) => format!("fal's answer is longer than {MAX_ANSWER} bytes"),
            Err(BodyError::Broken(reason)) => format!("fal: {reason}"),
        };
        Err(unavailable(reason))
    }
}

/// A check that fal could not answer and may answer later.
pub(super) fn unavailable(message: impl Into<String>) -> CheckError {
    CheckError { failure: Failure::new(ErrorName::ProviderUnavailable, message), retry_after: None }
}

/// Connections and the key.
pub(super) struct Client {
    http: reqwest::Client,
    queue: String,
    api: String,
    key_name: String,
    secrets: Arc<dyn SecretSource>,
    key: Mutex<Option<Secret>>,
}

impl Client {
    pub(super) fn new(config: FalConfig, secrets: Arc<dyn SecretSource>) -> Result<Self, Failure> {
        Ok(Client {
            http: http::build(http::builder()?.timeout(TOTAL))?,
            queue: base_url(&config.queue_url)?,
            api: base_url(&config.api_url)?,
            key_name: config.key_name,
            secrets,
            key: Mutex::new(None),
        })
    }

    /// The bare HTTP client, for what needs no key.
    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Where jobs of this model are submitted: the full id (fal's JS client, `queue.submit`).
    pub(super) fn submit_url(&self, endpoint: &str) -> Option<Url> {
        is_endpoint(endpoint).then(|| Url::parse(&format!("{}/{endpoint}", self.queue)).ok()).flatten()
    }

    /// Where a job is asked about: only the app, not the path below it (fal's JS client, `queue.status`).
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
        let mut cached = self.key.lock().await;
        let key = match &*cached {
            Some(key) => key,
            None => cached.insert(self.secrets.get(&self.key_name).await?),
        };
        let mut value = HeaderValue::try_from(format!("Key {}", key.expose().trim()))
            .map_err(|_| Failure::new(ErrorName::ProviderUnauthorized, "fal's key has characters that no key has"))?;
        value.set_sensitive(true);
        Ok(self.http.request(method, url).header(AUTHORIZATION, value))
    }

    /// Drops the key after it was refused, so that one that was put right is read by the next request.
    pub(super) async fn forget_key(&self) {
        *self.key.lock().await = None;
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

/// A check that failed before it was sent.
pub(super) fn terminal(failure: Failure) -> CheckError {
    CheckError { failure, retry_after: None }
}

/// The id of a job or a model that cannot stand in a URL.
pub(super) fn bad_id() -> CheckError {
    terminal(Failure::new(ErrorName::Internal, "the endpoint or the request id cannot be fal's"))
}

/// The error that a question got.
pub(super) fn refused(answer: &Answer) -> CheckError {
    call_error(&answer.error())
}

/// A base without its trailing slash. The key travels there, so it is https unless it stays on this machine.
pub(super) fn base_url(text: &str) -> Result<String, Failure> {
    let bad = |why: &str| Failure::new(ErrorName::Internal, format!("the setting of fal's URL {why}"));
    let url = Url::parse(text).map_err(|_| bad("is not a URL"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(bad("has no host")),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err(bad("is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("has more than a host and a path"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
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

    #[test]
    fn the_key_never_travels_in_clear_over_a_network() {
        for good in [
            "https://queue.fal.run",
            "https://queue.fal.run/",
            "http://127.0.0.1:9",
            "http://localhost:9/fal",
            "http://[::1]:9",
        ] {
            assert!(base_url(good).is_ok_and(|base| !base.ends_with('/')), "{good}");
        }
        for bad in
            ["http://queue.fal.run", "ftp://127.0.0.1", "queue.fal.run", "https://u:p@x.y", "https://x.y/?q=1", ""]
        {
            assert_eq!(base_url(bad).unwrap_err().name, ErrorName::Internal, "{bad}");
        }
    }
}
