//! What every HTTP client in this crate has in common: deadlines, TLS, no redirects, no proxy, no retries, bounded bodies,
//! and errors told without their URLs. A URL may hold an attempt's token or a signature, so it never reaches a message.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::redirect::Policy;

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest silence within an answer.
const IDLE: Duration = Duration::from_secs(30);
/// A pooled connection older than this is not used again. Short, because a frozen function cannot see the other side hang
/// up, and a paid POST written into a dead connection ends as "unknown".
const POOLED: Duration = Duration::from_secs(10);

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

/// Why a body could not be read.
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
