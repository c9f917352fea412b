//! Receives a webhook: verifies it, checks it against its attempt, records the report and hands over to collect. It
//! does not change the entry; collect does, from the record.

use std::sync::Arc;

use bytes::Bytes;
use fresco_ledger::traits::{Clock, Invoker, StoreError};
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_providers::{JobReport, JobState, WebhookError, WebhookRequest};

use crate::commit::{Commits, Committed};
use crate::failpoint::{Failpoint, failpoint};
use crate::platform::Platform;
use crate::step::attempt::Attempts;
use fresco_ledger::records::{AttemptRecord, AttemptState};
use fresco_ledger::transition::{record_late_completion, submitted};

/// The path of a webhook: `/webhooks/{provider}/{key}/{attempt}/{token}`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRoute {
    pub provider: ProviderName,
    pub key: ContentKey,
    pub attempt: Attempt,
    pub token: String,
}

impl WebhookRoute {
    /// Parses the parts of the path; `None` where they have not the form that the stack hands out.
    pub fn parse(provider: &str, key: &str, attempt: &str, token: &str) -> Option<Self> {
        let number: u32 = attempt.parse().ok().filter(|&number| number > 0)?;
        let plain = (1..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(WebhookRoute {
            provider: ProviderName::parse(provider)?,
            key: ContentKey::parse(key).ok()?,
            attempt: Attempt(number),
            token: plain.then(|| token.to_owned())?,
        })
    }
}

/// The result of a webhook that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// Recorded and handed over to collect.
    HandedOver,
    /// The attempt was decided before.
    Nothing,
}

/// The reason for which a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefused {
    #[error("{0}")]
    Unverified(#[from] WebhookError),
    /// The token is not that of the attempt, or the attempt does not exist: the two answers are the same.
    #[error("the token is not that of the attempt")]
    WrongToken,
    #[error("the job is not that of the attempt")]
    WrongJob,
    /// It is valid, but cannot be recorded now: the provider has to deliver it again.
    #[error("{0}")]
    Later(Failure),
}

impl WebhookRefused {
    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        match self {
            WebhookRefused::Unverified(error) => error.status(),
            WebhookRefused::WrongToken | WebhookRefused::WrongJob => 401,
            WebhookRefused::Later(_) => 503,
        }
    }

    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            WebhookRefused::Unverified(error) => error.code(),
            WebhookRefused::WrongToken => "webhook_wrong_token",
            WebhookRefused::WrongJob => "webhook_wrong_job",
            WebhookRefused::Later(_) => "webhook_later",
        }
    }
}

impl From<StoreError> for WebhookRefused {
    fn from(error: StoreError) -> Self {
        WebhookRefused::Later(error.into())
    }
}

impl From<Failure> for WebhookRefused {
    fn from(failure: Failure) -> Self {
        WebhookRefused::Later(failure)
    }
}

/// Receives the webhooks of providers.
pub struct Webhooks<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) attempts: Arc<Attempts<P>>,
}

impl<P: Platform> Webhooks<P> {
    /// Receives a webhook.
    pub async fn receive(
        &self,
        route: &WebhookRoute,
        headers: Vec<(String, String)>,
        body: Bytes,
    ) -> Result<WebhookOutcome, WebhookRefused> {
        let provider = self.platform.provider(route.provider);
        let request = WebhookRequest { headers, body, now_ms: self.platform.clock().now() };
        let message = provider.read_webhook(&request).await?;
        failpoint(Failpoint::WebhookVerified);
        let row = self.commits.attempt(&route.key, route.attempt).await?;
        let row = row.filter(|row| row.request.provider == route.provider && row.token_hash.matches(&route.token));
        let Some(row) = row else { return Err(WebhookRefused::WrongToken) };
        let said = |id: &str| message.request_id == id || message.gateway_request_id.as_deref() == Some(id);
        match &row.request_id {
            Some(known) if said(known) => {}
            Some(_) => return Err(WebhookRefused::WrongJob),
            None => {
                self.adopt(route, &row, &message.request_id).await?;
                failpoint(Failpoint::WebhookAdopted);
            }
        }
        if matches!(row.state, AttemptState::Won | AttemptState::Duplicate) {
            return Ok(WebhookOutcome::Nothing);
        }
        if row.state != AttemptState::Open {
            // The attempt was given up. From here on the sweep collects it, even if the hand-over fails.
            let now = self.platform.clock().now();
            self.commits
                .commit(&route.key, route.attempt, |entry, row| record_late_completion(entry, row, now))
                .await?;
            failpoint(Failpoint::WebhookLate);
        }
        match &message.report {
            // The body does not include the result: collect asks the provider for it.
            JobReport::NotIncluded => self.hand_over_to_collect(route).await?,
            report => self.attempts.record_done(&route.key, route.attempt, report).await?,
        }
        failpoint(Failpoint::WebhookHandedOver);
        Ok(WebhookOutcome::HandedOver)
    }

    /// Adopts the job of an attempt without a request id: the webhook was faster than the record of the submission, or
    /// that was lost. The signature proves the account and not the URL, so the provider has to know the job.
    async fn adopt(&self, route: &WebhookRoute, row: &AttemptRecord, request_id: &str) -> Result<(), WebhookRefused> {
        let provider = self.platform.provider(route.provider);
        match provider.check(&row.request.endpoint, request_id).await {
            Ok(JobState::Missing) => return Err(WebhookRefused::WrongJob),
            Ok(_) => {}
            Err(error) => return Err(WebhookRefused::Later(error.failure)),
        }
        let now = self.platform.clock().now();
        match self
            .commits
            .commit(&route.key, route.attempt, |entry, row| submitted(entry, row, request_id, now))
            .await?
        {
            Committed::JobTaken | Committed::Gone => Err(WebhookRefused::WrongJob),
            Committed::Changed(_) | Committed::Unchanged => Ok(()),
        }
    }

    async fn hand_over_to_collect(&self, route: &WebhookRoute) -> Result<(), Failure> {
        Ok(self.platform.invoker().collect(&route.key, route.attempt).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_right_form_are_parsed() {
        let key = ContentKey::digest(b"k").to_string();
        assert!(WebhookRoute::parse("fal", &key, "1", "abc123").is_some());
        for (provider, key, attempt, token) in [
            ("nobody", key.as_str(), "1", "abc"),
            ("fal", "../x", "1", "abc"),
            ("fal", &key, "0", "abc"),
            ("fal", &key, "-1", "abc"),
            ("fal", &key, "1", ""),
            ("fal", &key, "1", "a/b"),
            ("fal", &key, "99999999999", "abc"),
        ] {
            assert!(WebhookRoute::parse(provider, key, attempt, token).is_none());
        }
    }
}
