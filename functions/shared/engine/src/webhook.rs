//! Receiving a webhook: it is verified, checked against the attempt it claims to be about, recorded, and handed over. It
//! changes nothing in the entry itself; collect does, from what was recorded.

use bytes::Bytes;
use fresco_ledger::traits::Clock;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_providers::{JobReport, JobState, WebhookError, WebhookRequest};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::{Transacted, failure};
use fresco_ledger::records::{AttemptRecord, AttemptState};
use fresco_ledger::transition::{record_late_completion, record_submission};

/// What a webhook's path says: `/webhooks/{provider}/{key}/{attempt}/{token}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    /// The provider.
    pub provider: ProviderName,
    /// The content key.
    pub key: ContentKey,
    /// The attempt.
    pub attempt: Attempt,
    /// The attempt's token.
    pub token: String,
}

impl Route {
    /// Reads the path's parts; `None` where they are not of the form that we hand out.
    pub fn parse(provider: &str, key: &str, attempt: &str, token: &str) -> Option<Self> {
        let number: u32 = attempt.parse().ok().filter(|&number| number > 0)?;
        let plain = (1..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(Route {
            provider: ProviderName::parse(provider)?,
            key: ContentKey::parse(key).ok()?,
            attempt: Attempt(number),
            token: plain.then(|| token.to_owned())?,
        })
    }
}

/// A webhook that was taken, or needed no taking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It was recorded and handed over.
    HandedOver,
    /// The attempt was decided before.
    Nothing,
}

/// A webhook that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not verify.
    #[error("{0}")]
    Unverified(#[from] WebhookError),
    /// The token is not the attempt's, or there is no such attempt: the two answers are the same.
    #[error("the token is not that of the attempt")]
    WrongToken,
    /// The job is not the attempt's.
    #[error("the job is not that of the attempt")]
    WrongJob,
    /// It counts, but cannot be taken now: the provider shall deliver it again.
    #[error("{0}")]
    Later(Failure),
}

impl Refused {
    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Refused::Unverified(error) => error.status(),
            Refused::WrongToken | Refused::WrongJob => 401,
            Refused::Later(_) => 503,
        }
    }

    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Unverified(error) => error.code(),
            Refused::WrongToken => "webhook_wrong_token",
            Refused::WrongJob => "webhook_wrong_job",
            Refused::Later(_) => "webhook_later",
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused::Later(failure)
    }
}

impl<P: Platform> Engine<P> {
    /// Takes a webhook in.
    pub async fn receive(
        &self,
        route: &Route,
        headers: Vec<(String, String)>,
        body: Bytes,
    ) -> Result<Received, Refused> {
        let provider = self.platform.provider(route.provider);
        let request = WebhookRequest { headers, body, now_ms: self.platform.clock().now() };
        let message = provider.read_webhook(&request).await?;
        crash::point(Point::WebhookVerified);
        let row = self.attempt(&route.key, route.attempt).await?;
        let row = row.filter(|row| row.request.provider == route.provider && row.token_hash.matches(&route.token));
        let Some(row) = row else { return Err(Refused::WrongToken) };
        let said = |id: &str| message.request_id == id || message.gateway_request_id.as_deref() == Some(id);
        match &row.request_id {
            Some(known) if said(known) => {}
            Some(_) => return Err(Refused::WrongJob),
            None => {
                self.adopt(route, &row, &message.request_id).await?;
                crash::point(Point::WebhookAdopted);
            }
        }
        if matches!(row.state, AttemptState::Won | AttemptState::Duplicate) {
            return Ok(Received::Nothing);
        }
        if row.state != AttemptState::Open {
            // It had been given up. Sweep looks after it from here on, whatever becomes of the hand-over.
            let now = self.platform.clock().now();
            self.transact(&route.key, route.attempt, |entry, row| record_late_completion(entry, row, now)).await?;
            crash::point(Point::WebhookLate);
        }
        match &message.report {
            // The body does not hold the result: collect asks the provider for it.
            JobReport::NotIncluded => self.hand_over_to_collect(route).await?,
            report => self.record_done(&route.key, route.attempt, report).await?,
        }
        crash::point(Point::WebhookHandedOver);
        Ok(Received::HandedOver)
    }

    /// No id is stored yet: the webhook was quicker than the record of the submission, or that was lost. The signature
    /// proves the account, not the URL; so the job has to be known to the provider under our key before it is believed.
    async fn adopt(&self, route: &Route, row: &AttemptRecord, request_id: &str) -> Result<(), Refused> {
        let provider = self.platform.provider(route.provider);
        match provider.check(&row.request.endpoint, request_id).await {
            Ok(JobState::Missing) => return Err(Refused::WrongJob),
            Ok(_) => {}
            Err(error) => return Err(Refused::Later(error.failure)),
        }
        let now = self.platform.clock().now();
        match self
            .transact(&route.key, route.attempt, |entry, row| record_submission(entry, row, request_id, now))
            .await?
        {
            Transacted::JobTaken | Transacted::Gone => Err(Refused::WrongJob),
            Transacted::Changed(_) | Transacted::Unchanged => Ok(()),
        }
    }

    async fn hand_over_to_collect(&self, route: &Route) -> Result<(), Failure> {
        use fresco_ledger::traits::Invoker;
        self.platform.invoker().collect(&route.key, route.attempt).await.map_err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_paths_are_read() {
        let key = ContentKey::digest(b"k").to_string();
        assert!(Route::parse("fal", &key, "1", "abc123").is_some());
        for (provider, key, attempt, token) in [
            ("nobody", key.as_str(), "1", "abc"),
            ("fal", "../x", "1", "abc"),
            ("fal", &key, "0", "abc"),
            ("fal", &key, "-1", "abc"),
            ("fal", &key, "1", ""),
            ("fal", &key, "1", "a/b"),
            ("fal", &key, "99999999999", "abc"),
        ] {
            assert!(Route::parse(provider, key, attempt, token).is_none());
        }
    }
}
