//! The common part of every HTTP client in this crate: deadlines, TLS, no redirects, no proxy, no retries, bounded answers,
//! and errors described without their URLs. A URL may hold an attempt's token or a signature, so it never reaches a message.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use url::{Host, Url};

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest silence within an answer.
const IDLE: Duration = Duration::from_secs(30);
/// A pooled connection older than this is not used again. Short, because a frozen function cannot see the other side hang
/// up, and a paid POST written into a dead connection ends as "unknown".
const POOLED: Duration = Duration::from_secs(10);
/// The longest answer to a question. Results are small where media come as URLs.
pub(crate) const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// The longest error that is read. Of one, no more than a line is kept anyway.
const MAX_ERROR: usize = 64 * 1024;

/// A builder with everything but the total deadline.
pub(crate) fn builder() -> Result<reqwest::ClientBuilder, Failure> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .user_agent(concat!("fresco/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        // One layer retries, and it is not this one. What remains is hyper's: it sends a request again only if a pooled
        // connection closed before a byte of it was written.
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .read_timeout(IDLE)
        .pool_max_idle_per_host(5)
        .pool_idle_timeout(POOLED))
}

/// Builds the client.
pub(crate) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder.build().map_err(|error| Failure::new(ErrorName::Internal, format!("no HTTP client: {}", describe(error))))
}

/// One TLS configuration a process: ring, and the machine's root certificates, read at first use. A machine without any can
/// still talk to loopback, and gets a certificate error elsewhere.
fn tls() -> Result<rustls::ClientConfig, Failure> {
    static TLS: OnceLock<Result<rustls::ClientConfig, rustls::Error>> = OnceLock::new();
    TLS.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
    })
    .clone()
    .map_err(|error| Failure::new(ErrorName::Internal, format!("no TLS: {error}")))
}

/// An error in words, from its innermost cause, without the URL.
pub(crate) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let what = if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "timed out"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the connection failed"
    };
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(|c| c.source()) {
        cause = Some(inner);
    }
    match cause {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    }
}

/// The reason why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is longer than allowed.
    TooLong,
    /// It broke off; in words.
    Broken(String),
}

/// The body, if it is no longer than `cap`.
pub(crate) async fn read_capped(mut response: reqwest::Response, cap: usize) -> Result<Bytes, BodyError> {
    if response.content_length().is_some_and(|length| length > cap as u64) {
        return Err(BodyError::TooLong);
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > cap => return Err(BodyError::TooLong),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Bytes::from(body)),
            Err(error) => return Err(BodyError::Broken(describe(error))),
        }
    }
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, BodyError>,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Answer {
        let status = response.status();
        let headers = response.headers().clone();
        let cap = if status.is_success() { MAX_ANSWER } else { MAX_ERROR };
        Answer { status: status.as_u16(), headers, body: read_capped(response, cap).await }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A provider's base URL without its trailing slash. The key travels there, so it is https unless it stays on this machine.
pub(crate) fn base_url(whose: &str, text: &str) -> Result<String, Failure> {
    let bad = |why: &str| Failure::new(ErrorName::Internal, format!("the setting of {whose}'s URL {why}"));
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

/// A pause that a provider asks for, no shorter and no longer than is sensible: 1–300 s.
pub(crate) fn bounded_pause(seconds: u64) -> Duration {
    Duration::from_secs(seconds.clamp(1, 300))
}

/// `Retry-After` in seconds or as a date, bounded.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let now = jiff::Timestamp::try_from(now).ok()?;
            u64::try_from(then.as_second().saturating_sub(now.as_second())).unwrap_or(0)
        }
    };
    Some(bounded_pause(seconds))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_key_never_travels_in_clear_over_a_network() {
        for good in [
            "https://queue.fal.run",
            "https://queue.fal.run/",
            "http://127.0.0.1:9",
            "http://localhost:9/fal",
            "http://[::1]:9",
        ] {
            assert!(base_url("fal", good).is_ok_and(|base| !base.ends_with('/')), "{good}");
        }
        for bad in
            ["http://queue.fal.run", "ftp://127.0.0.1", "queue.fal.run", "https://u:p@x.y", "https://x.y/?q=1", ""]
        {
            assert_eq!(base_url("fal", bad).unwrap_err().name, ErrorName::Internal, "{bad}");
        }
    }

    #[test]
    fn hints_are_read_in_both_forms_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (text, seconds) in [
            ("0", Some(1)),
            ("30", Some(30)),
            ("86400", Some(300)),
            ("Thu, 01 Jan 2026 00:00:45 GMT", Some(45)),
            ("Thu, 01 Jan 2026 02:00:00 GMT", Some(300)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(1)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
