//! A client of the HTTP API of a stack: on AWS with the usual credentials, on a local stack with fixed ones.

mod batches;
mod error;
mod folder;
mod inputs;
mod request;
mod save;
mod sign;
mod storage;
mod transfer;
mod watch;

use std::time::Duration;

use aws_config::SdkConfig;
use bytes::Bytes;
use fresco_api_types::{
    Manifest, Preview, RecollectView, RunAccepted, RunBody, RunPage, RunView, SchedulePage, StopView,
};
use fresco_pipeline::ids::RunId;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use batches::{RESULTS, ResultsError, RowsUploadError, check_batch_folder};
pub use error::ApiError;
pub use folder::{FolderError, check_folder};
pub use inputs::{Inputs, gather};
pub use request::RunRequest;
pub use save::{MissingFile, MissingReason, SaveError, Saved, SavedFile, save, save_in};
pub use watch::{BatchUpdate, BatchWatch, Watch};

use sign::Signer;

/// The timeout of an answer. The gateway gives up after 29 seconds.
const ANSWER: Duration = Duration::from_secs(35);
const CONNECT: Duration = Duration::from_secs(5);
/// The longest document in a body, in bytes; a longer one is uploaded. Its JSON form is longer than itself.
const MAX_INLINE: usize = 2 * 1024 * 1024;

/// A client of a stack's API.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    /// A client of its own: the read timeout of a client runs while it sends.
    uploads: reqwest::Client,
    /// A transfer that does not move for this time is given up.
    idle: Duration,
    signer: Signer,
}

impl Api {
    /// Creates a client of the API at this address, such as `https://….execute-api.eu-central-1.amazonaws.com`, with these credentials.
    pub fn new(config: &SdkConfig, base: &str) -> Result<Self, ApiError> {
        Self::with_idle(config, base, transfer::IDLE)
    }

    /// Like [`Api::new`], with another timeout of transfers.
    fn with_idle(config: &SdkConfig, base: &str, idle: Duration) -> Result<Self, ApiError> {
        // In tests another client may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || reqwest::Client::builder().connect_timeout(CONNECT).no_proxy();
        let built =
            |client: reqwest::ClientBuilder| client.build().map_err(|error| ApiError::unreachable(base, &error));
        Ok(Api {
            base: base.trim_end_matches('/').to_owned(),
            http: built(client().read_timeout(idle))?,
            uploads: built(client())?,
            idle,
            signer: Signer::new(config),
        })
    }

    /// Returns the address of the API.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Starts a run. The same idempotency key returns the same run.
    pub async fn start(
        &self,
        request: &RunRequest,
        inputs: &Inputs,
        key: Option<&str>,
    ) -> Result<RunAccepted, ApiError> {
        let body = self.body_of(request, inputs).await?;
        self.post("/runs", &body, key).await
    }

    /// Plans a run without starting it.
    pub async fn plan(&self, request: &RunRequest, inputs: &Inputs) -> Result<Preview, ApiError> {
        let body = self.body_of(request, inputs).await?;
        self.post("/plans", &body, None).await
    }

    /// Returns a run, its steps and its outputs.
    pub async fn run(&self, run: &RunId) -> Result<RunView, ApiError> {
        let mut view: RunView = self.get(&format!("/runs/{run}")).await?;
        // A large run comes in parts. The run itself is that of the first part: a run that had ended by then has ended.
        while let Some(from) = view.next {
            let piece: RunView = self.get(&format!("/runs/{run}?from={from}")).await?;
            view.steps.extend(piece.steps);
            view.next = piece.next;
        }
        Ok(view)
    }

    /// Returns a page of runs, newest first.
    pub async fn runs(&self, limit: u32, cursor: Option<&str>) -> Result<RunPage, ApiError> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        self.get(&format!("/runs?limit={limit}{cursor}")).await
    }

    /// Returns the schedules.
    pub async fn schedules(&self) -> Result<SchedulePage, ApiError> {
        self.get("/schedules").await
    }

    /// Stops a run.
    pub async fn stop(&self, run: &RunId) -> Result<StopView, ApiError> {
        self.json(Method::DELETE, &format!("/runs/{run}"), None, None).await
    }

    /// Fetches outputs of a run again that are paid and could not be stored.
    pub async fn recollect(&self, run: &RunId) -> Result<RecollectView, ApiError> {
        self.json(Method::POST, &format!("/runs/{run}/recollect"), None, None).await
    }

    /// Returns the manifest of a run that has ended.
    pub async fn manifest(&self, view: &RunView) -> Result<Manifest, ApiError> {
        let Some(url) = &view.manifest else {
            return Err(ApiError::unexpected(format!("run {} has no manifest yet", view.run.id)));
        };
        let answer = self.fetch(url).await?;
        let bytes = answer.bytes().await.map_err(|error| ApiError::unreachable("the storage", &error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::unexpected(format!("the run's manifest cannot be read: {error}")))
    }

    /// Returns the address of a run's page for a browser.
    pub fn page(&self, view: &RunView) -> String {
        format!("{}{}", self.base, view.links.view.as_deref().unwrap_or_default())
    }

    async fn body_of(&self, request: &RunRequest, inputs: &Inputs) -> Result<RunBody, ApiError> {
        let mut body = request.body(self.upload_all(inputs).await?);
        if request.document.len() > MAX_INLINE {
            body.pipeline_upload = Some(self.upload_document(&request.document).await?);
        } else {
            body.pipeline = Some(request.document.clone().into());
        }
        Ok(body)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.json(Method::GET, path, None, None).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::unexpected(error.to_string()))?;
        self.json(Method::POST, path, Some(body), key).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        key: Option<&str>,
    ) -> Result<T, ApiError> {
        let bytes = self.ask(method, path, body, key).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::unexpected(format!("the answer to {path} cannot be read: {error}")))
    }

    /// Sends a request. An answer that is not a success is an error.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        key: Option<&str>,
    ) -> Result<Bytes, ApiError> {
        let url = format!("{}{path}", self.base);
        let mut headers = Vec::new();
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        headers.extend(key.map(|key| ("idempotency-key".to_owned(), key.to_owned())));
        let body = body.unwrap_or_default();
        let signed = self.signer.headers(method.as_str(), &url, &headers, &body).await?;
        let mut request = self.http.request(method, &url).timeout(ANSWER).body(body);
        for (name, value) in headers.iter().chain(&signed) {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| ApiError::unreachable(&self.base, &error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| ApiError::unreachable(&self.base, &error))?;
        if status.is_success() { Ok(bytes) } else { Err(ApiError::of(status.as_u16(), &bytes)) }
    }
}
