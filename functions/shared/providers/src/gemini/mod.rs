//! Google's Gemini API: pictures and a question in, a text out. It answers at once and keeps no job, so there is nothing to
//! check, find or cancel, and it sends no webhooks. `request` builds the one call there is, `answer` reads what comes back,
//! and `errors` says what each kind of refusal means.

mod answer;
mod errors;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::request::GenerationRequest;
use reqwest::header::CONTENT_TYPE;

use crate::api_key::Key;
use crate::http::{self, Answer};
use crate::provider::{
    Accepted, CancelAnswer, CheckError, FoundJob, JobState, Provider, SubmitError, WebhookError, WebhookReport,
    WebhookRequest,
};
use crate::secret::SecretSource;
use crate::submission::{InputForm, Submission};

/// The longest silence within an answer: no function lives longer. The model works in silence, and the deadline of a
/// submission bounds that.
const SILENCE: Duration = Duration::from_secs(900);

/// The address of Gemini. The URL is https, or http on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeminiConfig {
    /// The API, `https://generativelanguage.googleapis.com`.
    pub url: String,
    /// The name under which the [`SecretSource`] keeps the key.
    pub key_name: String,
}

/// The Gemini provider. Make one a process: it holds the connections and the key.
pub struct Gemini {
    http: reqwest::Client,
    base: String,
    key: Key,
}

impl Gemini {
    /// A provider with these settings. Nothing is connected or read yet.
    pub fn new(config: GeminiConfig, secrets: Arc<dyn SecretSource>) -> Result<Self, Failure> {
        Ok(Gemini {
            http: http::build(http::builder()?.read_timeout(SILENCE))?,
            base: http::base_url("Gemini", &config.url)?,
            key: Key::new("Gemini", config.key_name, secrets),
        })
    }
}

#[async_trait]
impl Provider for Gemini {
    fn name(&self) -> ProviderName {
        ProviderName::Gemini
    }

    /// There are no jobs that could be listed.
    fn can_find(&self) -> bool {
        false
    }

    fn input_form(&self) -> InputForm {
        InputForm::Bytes
    }

    /// `POST {url}/v1beta/models/{model}:generateContent` with the key in `x-goog-api-key` (Google's Python client,
    /// `_api_client.py`).
    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError> {
        let refused = |failure| SubmitError::Rejected { failure, retry_after: None, billed: false };
        let model = request::model(&submission.request).map_err(refused)?;
        let body = request::body(model, submission).map_err(refused)?;
        let key = self.key.header("").await.map_err(refused)?;
        let url = format!("{}/v1beta/models/{model}:generateContent", self.base);
        let request = self.http.post(url).header("x-goog-api-key", key).header(CONTENT_TYPE, "application/json");
        let begin = Instant::now();
        let answer = match request.timeout(submission.deadline).body(body).send().await {
            Ok(response) => Answer::read(response).await,
            // The connection, TLS included, never stood, so not a byte of the request left.
            Err(error) if error.is_connect() || error.is_builder() => {
                let message = format!("Gemini: {}", http::describe(error));
                return Err(refused(Failure::new(ErrorName::ProviderUnavailable, message)));
            }
            // It may have been read, worked on and billed.
            Err(error) => return Err(SubmitError::Unknown { message: format!("Gemini: {}", http::describe(error)) }),
        };
        if answer.is_success() {
            return answer::report(&answer, begin.elapsed()).map(Accepted::Done);
        }
        let (error, is_about_key) = errors::submit_error(&answer);
        if is_about_key {
            self.key.forget().await;
        }
        Err(error)
    }

    /// The answer to a submission is all there is of a job, so none is known afterwards.
    async fn check(&self, _endpoint: &str, _request_id: &str) -> Result<JobState, CheckError> {
        Ok(JobState::Missing)
    }

    /// No job outlives its answer: the whole span is empty, whatever it is. That says nothing about what was billed, which
    /// is why [`Provider::can_find`] is false.
    async fn find(&self, _request: &GenerationRequest, _not_before_ms: i64) -> Result<Vec<FoundJob>, CheckError> {
        Ok(Vec::new())
    }

    /// A call ends with its answer, so there is nothing left to cancel.
    async fn cancel(&self, _endpoint: &str, _request_id: &str) -> Result<CancelAnswer, CheckError> {
        Ok(CancelAnswer::Missing)
    }

    /// Gemini sends no webhooks and has no keys to sign any with: a request that claims to be one is not Gemini's.
    async fn read_webhook(&self, _request: &WebhookRequest) -> Result<WebhookReport, WebhookError> {
        Err(WebhookError::Unsigned)
    }
}
