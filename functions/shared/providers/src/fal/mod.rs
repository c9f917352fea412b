//! fal.ai: a queue that takes a job, works on it, and reports by webhook. One file a call; `errors` says what each kind of
//! refusal means, `input` where media go, `output` what a result holds, and `webhook` with `jwks` when a report may be believed.

mod client;
mod errors;
mod find;
mod input;
mod job;
mod jwks;
mod output;
mod submit;
mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_pipeline::request::GenerationRequest;

use crate::provider::{
    Accepted, CancelAnswer, CheckError, FoundJob, JobState, Provider, SubmitError, WebhookError, WebhookReport,
    WebhookRequest,
};
use crate::secret::SecretSource;
use crate::submission::{InputForm, Submission};
use client::Client;
use jwks::Jwks;

/// The addresses of fal and our account there. URLs are https, or http on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalConfig {
    /// The queue, `https://queue.fal.run`.
    pub queue_url: String,
    /// The API with the webhook keys, `https://rest.fal.ai`.
    pub rest_url: String,
    /// The platform's API, `https://api.fal.ai`.
    pub api_url: String,
    /// The account whose webhooks count. An empty one lets none count.
    pub user_id: String,
    /// The name under which the [`SecretSource`] keeps the key.
    pub key_name: String,
}

/// The fal provider. Make one a process: it holds the connections, the key and the webhook keys.
pub struct Fal {
    client: Client,
    jwks: Jwks,
    user_id: String,
}

impl Fal {
    /// A provider with these settings. Nothing is connected or read yet.
    pub fn new(config: FalConfig, secrets: Arc<dyn SecretSource>) -> Result<Self, Failure> {
        let jwks = Jwks::new(&config.rest_url)?;
        let user_id = config.user_id.clone();
        Ok(Fal { client: Client::new(config, secrets)?, jwks, user_id })
    }
}

#[async_trait]
impl Provider for Fal {
    fn name(&self) -> ProviderName {
        ProviderName::Fal
    }

    fn can_find(&self) -> bool {
        true
    }

    fn input_form(&self) -> InputForm {
        InputForm::Url
    }

    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError> {
        submit::submit(&self.client, submission).await
    }

    async fn check(&self, endpoint: &str, request_id: &str) -> Result<JobState, CheckError> {
        job::check(&self.client, endpoint, request_id).await
    }

    async fn find(&self, request: &GenerationRequest, not_before_ms: i64) -> Result<Vec<FoundJob>, CheckError> {
        find::find(&self.client, request, not_before_ms).await
    }

    async fn cancel(&self, endpoint: &str, request_id: &str) -> Result<CancelAnswer, CheckError> {
        job::cancel(&self.client, endpoint, request_id).await
    }

    async fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookReport, WebhookError> {
        webhook::read(self.client.http(), &self.jwks, &self.user_id, request).await
    }
}
