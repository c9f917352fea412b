//! A media object, chunk by chunk, so that memory does not grow with its size. A download ends well only with the length
//! that was announced; what is longer than its kind may be is given up at the first byte too many.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use url::Url;

use super::address::{NotPublic, PublicResolver};
use super::hosts::{HostList, Route};
use crate::http;

/// From the start of a download to its last byte. The silence within it is bounded by the client (30 s).
const TOTAL: Duration = Duration::from_secs(240);

/// Fetches media from the hosts on a list. Make one a process: it holds the connections.
pub struct Downloader {
    hosts: HostList,
    /// Gets public addresses only.
    public: reqwest::Client,
    /// For the origins that are listed as such.
    listed: reqwest::Client,
}

impl Downloader {
    /// A downloader for these hosts. Nothing is connected yet.
    pub fn new(hosts: HostList) -> Result<Self, Failure> {
        let public = http::builder()?.timeout(TOTAL).https_only(true).dns_resolver(Arc::new(PublicResolver));
        let listed = http::builder()?.timeout(TOTAL);
        Ok(Downloader { hosts, public: http::build(public)?, listed: http::build(listed)? })
    }

    /// Starts to fetch a media object of this kind. `Output.Unavailable` means that it may be there later, and also that a
    /// link has expired (403, 404, 410): how often to ask again is for the caller to bound. `Output.Invalid` is final.
    pub async fn fetch(&self, url: &str, kind: MediaKind) -> Result<Download, Failure> {
        let url = Url::parse(url).map_err(|_| invalid("the output's URL is not one"))?;
        let client = match self.hosts.route(&url)? {
            Route::Public => &self.public,
            Route::Listed => &self.listed,
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        // Compressed, the bytes would not be the media.
        let request = client.get(url).header("accept-encoding", "identity");
        let response = request.send().await.map_err(|error| unreachable(&host, error))?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            201..300 => return Err(invalid(format!("{host} answered {status} instead of the output"))),
            300..400 => return Err(invalid(format!("{host} redirects the output elsewhere"))),
            _ => return Err(unavailable(format!("{host} answered {status} instead of the output"))),
        }
        let (length, max) = (response.content_length(), kind.max_bytes());
        match length {
            Some(0) => Err(invalid("the output is empty")),
            Some(length) if length > max => Err(too_long(kind)),
            _ => Ok(Download { response, host, kind, length, received: 0 }),
        }
    }
}

/// A download under way.
pub struct Download {
    response: reqwest::Response,
    host: String,
    kind: MediaKind,
    length: Option<u64>,
    received: u64,
}

impl Download {
    /// The length that was announced, if one was.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes, or nothing once the whole object was received.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = match self.response.chunk().await {
            Ok(chunk) => chunk,
            Err(error) => return Err(unavailable(format!("{}: {}", self.host, http::describe(error)))),
        };
        match chunk {
            Some(bytes) => {
                self.received = self.received.saturating_add(bytes.len() as u64);
                if self.received > self.kind.max_bytes() {
                    return Err(too_long(self.kind));
                }
                Ok(Some(bytes))
            }
            None if self.received == 0 => Err(invalid("the output is empty")),
            None if self.length.is_some_and(|length| length != self.received) => {
                Err(unavailable(format!("{} sent {} bytes of a longer output", self.host, self.received)))
            }
            None => Ok(None),
        }
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("host", &self.host)
            .field("length", &self.length)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

fn unreachable(host: &str, error: reqwest::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<NotPublic>() {
            return invalid(format!("the output from {host} is not fetched: its address is not a public one"));
        }
        cause = inner.source();
    }
    unavailable(format!("{host}: {}", http::describe(error)))
}

fn too_long(kind: MediaKind) -> Failure {
    invalid(format!("the output is longer than the {} bytes of the largest {}", kind.max_bytes(), kind.as_str()))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorName::OutputInvalid, message)
}

fn unavailable(message: impl Into<String>) -> Failure {
    Failure::new(ErrorName::OutputUnavailable, message)
}
