//! A media object, chunk by chunk, so that memory does not grow with its size. A download ends well only with the length
//! that was announced; what is longer than its kind may be is given up at the first byte too many.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use url::Url;

use super::hosts::{HostList, Route, UrlProblem};
use super::resolver::{NotPublic, PublicResolver};
use crate::http;

/// From the start of a download to its last byte. The silence within it is bounded by the client (30 s).
const TOTAL: Duration = Duration::from_secs(240);

/// The most redirects that are followed, each to a host on the list.
const MAX_REDIRECTS: usize = 5;

/// The role of the media in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Output,
    Input,
}

impl Role {
    /// The failure of media that may not be fetched from where they are.
    fn refused(self, message: String) -> Failure {
        match self {
            Role::Output => Failure::new(ErrorName::OutputRefused, message),
            Role::Input => invalid(message),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Output => "output",
            Role::Input => "input",
        })
    }
}

/// Fetches media from the hosts on a list. Make one a process: it holds the connections.
pub struct Downloader {
    hosts: HostList,
    role: Role,
    /// Gets public addresses only.
    public: reqwest::Client,
    /// For the origins that are listed as such.
    listed: reqwest::Client,
}

impl Downloader {
    /// A downloader of a provider's outputs from these hosts. Nothing is connected yet.
    pub fn new(hosts: HostList) -> Result<Self, Failure> {
        Self::of(hosts, Role::Output)
    }

    /// A downloader of users' inputs. It differs in what messages call the media.
    pub fn for_inputs(hosts: HostList) -> Result<Self, Failure> {
        Self::of(hosts, Role::Input)
    }

    fn of(hosts: HostList, role: Role) -> Result<Self, Failure> {
        let public = http::builder()?.timeout(TOTAL).https_only(true).dns_resolver(Arc::new(PublicResolver));
        let listed = http::builder()?.timeout(TOTAL);
        Ok(Downloader { hosts, role, public: http::build(public)?, listed: http::build(listed)? })
    }

    /// Starts to fetch a media object of this kind and of no more than `max_bytes`. `Output.Unavailable` means that it may be
    /// there later, and also that a link has expired (403, 404, 410): how long to ask again is for the caller to bound.
    /// `Output.Refused` means that the list or the rules of addresses do not allow it: an operator may. `Output.Invalid`
    /// says that what is there is not the media it should be. Inputs have the same names without `Output.Refused`. An
    /// output without a byte is a failed download, since it is paid and may be whole the next time; an input without a byte
    /// is an empty file. Redirects of outputs are followed to hosts on the list, each checked as the first is.
    pub async fn fetch(&self, url: &str, kind: MediaKind, max_bytes: u64) -> Result<Download, Failure> {
        let role = self.role;
        let mut url =
            Url::parse(url).map_err(|_| role.refused(format!("the {role} is not fetched: {}", UrlProblem::NotUrl)))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&url).await?;
            let host = host_of(&url);
            match response.status().as_u16() {
                200 => return Download::begin(response, host, role, kind, max_bytes),
                300..400 if role == Role::Output => url = redirected(&url, &response)?,
                300..400 => return Err(invalid(format!("{host} redirects the {role} elsewhere"))),
                status => return Err(unavailable(format!("{host} answered {status} instead of the {role}"))),
            }
        }
        Err(unavailable(format!("{} redirects the {role} more than {MAX_REDIRECTS} times", host_of(&url))))
    }

    /// Requests a URL whose host is on the list.
    async fn request(&self, url: &Url) -> Result<reqwest::Response, Failure> {
        let (role, host) = (self.role, host_of(url));
        let client = match self.hosts.route(url) {
            Ok(Route::Public) => &self.public,
            Ok(Route::Listed) => &self.listed,
            // The host is all of the URL that a message may show: the rest may be signed.
            Err(problem) if host.is_empty() => {
                return Err(role.refused(format!("the {role} is not fetched: {problem}")));
            }
            Err(problem) => return Err(role.refused(format!("the {role} from {host} is not fetched: {problem}"))),
        };
        // Compressed, the bytes would not be the media.
        let request = client.get(url.clone()).header("accept-encoding", "identity");
        request.send().await.map_err(|error| unreachable(role, &host, error))
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The URL that a redirect leads to.
fn redirected(from: &Url, response: &reqwest::Response) -> Result<Url, Failure> {
    let location = response.headers().get("location").and_then(|location| location.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    to.ok_or_else(|| unavailable(format!("{} redirects the output to no URL", host_of(from))))
}

impl Download {
    fn begin(
        response: reqwest::Response,
        host: String,
        role: Role,
        kind: MediaKind,
        max_bytes: u64,
    ) -> Result<Download, Failure> {
        let length = response.content_length();
        let download = Download { response, host, role, kind, max_bytes, length, received: 0 };
        match length {
            Some(0) => Err(download.empty()),
            Some(length) if length > max_bytes => Err(download.too_long()),
            _ => Ok(download),
        }
    }
}

/// A download under way.
pub struct Download {
    response: reqwest::Response,
    host: String,
    role: Role,
    kind: MediaKind,
    max_bytes: u64,
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
                if self.received > self.max_bytes {
                    return Err(self.too_long());
                }
                Ok(Some(bytes))
            }
            None if self.received == 0 => Err(self.empty()),
            None if self.length.is_some_and(|length| length != self.received) => {
                Err(unavailable(format!("{} sent {} bytes of a longer {}", self.host, self.received, self.role)))
            }
            None => Ok(None),
        }
    }

    fn empty(&self) -> Failure {
        let message = format!("the {} is empty", self.role);
        match self.role {
            Role::Output => unavailable(message),
            Role::Input => invalid(message),
        }
    }

    fn too_long(&self) -> Failure {
        let (role, max, kind) = (self.role, self.max_bytes, self.kind.noun());
        invalid(format!("the {role} is longer than the {max} bytes that {kind} may have here"))
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

fn unreachable(role: Role, host: &str, error: reqwest::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<NotPublic>() {
            return role.refused(format!("the {role} from {host} is not fetched: {}", UrlProblem::NotPublic));
        }
        cause = inner.source();
    }
    unavailable(format!("{host}: {}", http::describe(error)))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorName::OutputInvalid, message)
}

fn unavailable(message: impl Into<String>) -> Failure {
    Failure::new(ErrorName::OutputUnavailable, message)
}
