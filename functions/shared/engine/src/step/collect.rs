//! Collects the outputs of an attempt: stores its media in the bucket, completes the entry and notifies the waiters. It
//! is the only place that stores outputs. It is idempotent, for any attempt at any time.

use std::sync::Arc;

use bytes::Bytes;
use fresco_ledger::records::{AttemptRecord, AttemptState, Millis};
use fresco_ledger::traits::{Clock, Entries, Objects, Upload};
use fresco_ledger::transition::{AttemptFailure, Completion, complete, fail, may_fetch, record_fetch_failure};
use fresco_pipeline::catalogue::{self, MediaKind, PriceUnit};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::media::{Media, Shortfall};
use fresco_pipeline::money::Money;
use fresco_providers::{JobReport, JobState, RemoteMedia};

use crate::commit::Commits;
use crate::failpoint::{Failpoint, failpoint};
use crate::metrics;
use crate::platform::{MediaStore, OutputPlace, Platform};
use crate::quota::Quota;
use crate::settings::Settings;
use crate::step::notify::Notifier;

/// The param that limits the length of a text, in tokens.
const TEXT_LIMIT: &str = "max_output_tokens";
/// Failed fetches after which a failure counts for the alarm: it is more than a hiccup.
const ALARMING_TRIES: u32 = 6;

/// Collects the outputs of attempts that have ended.
pub struct Collector<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) commits: Arc<Commits<P>>,
    pub(crate) quota: Arc<Quota<P>>,
    pub(crate) notifier: Arc<Notifier<P>>,
}

impl<P: Platform> Collector<P> {
    /// Collects the end of an attempt. On an error it has to be called again; the sweep does so at the latest. Outputs
    /// that cannot be stored now are fetched again after a pause, before which a call fetches nothing.
    pub async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), Failure> {
        let Some(row) = self.commits.attempt(key, attempt).await? else { return Ok(()) };
        failpoint(Failpoint::CollectRead);
        let decided = matches!(row.state, AttemptState::Won | AttemptState::Duplicate);
        if !decided && may_fetch(&row, self.platform.clock().now()) {
            match self.report_of(&row).await? {
                Some(JobReport::Succeeded { media, .. }) if media.is_empty() => {
                    let cause =
                        Failure::new(ErrorName::OutputInvalid, "the provider reports success without any output");
                    self.accept_failure(&row, cause, true).await?;
                }
                Some(JobReport::TextOutput { text, .. }) if !is_text(&text) => {
                    let cause = Failure::new(ErrorName::OutputInvalid, "the provider's text is empty or far too long");
                    self.accept_failure(&row, cause, true).await?;
                }
                Some(JobReport::Succeeded { media, blanked, billable_units, .. }) => {
                    let terms = (cost_of(&row, billable_units), missing_outputs(&row, media.len(), blanked));
                    self.accept(&row, terms, async || self.fetch_all(&row, &media).await).await?
                }
                Some(JobReport::TextOutput { text, input_tokens, output_tokens, cut, .. }) => {
                    let terms = (cost_of_text(&row, input_tokens.zip(output_tokens)), cut_text(&row, cut));
                    self.accept(&row, terms, async || Ok(vec![self.store_text(&row, &text).await?])).await?
                }
                Some(JobReport::Failed { failure, billed }) => self.accept_failure(&row, failure, billed).await?,
                Some(JobReport::Cancelled { billed }) => {
                    let entry = self.commits.entry(key).await?;
                    let pending = entry.and_then(|entry| entry.pending).filter(|pending| pending.attempt == attempt);
                    let cause = if pending.is_some_and(|pending| pending.cancelling) {
                        // The stack cancelled it when no step waited: a step that has joined since retries.
                        Failure::new(ErrorName::StepAgain, "the job was cancelled, since no step waited for it")
                    } else {
                        Failure::new(ErrorName::StepCancelled, "the job was cancelled at the provider")
                    };
                    self.accept_failure(&row, cause, billed).await?;
                }
                Some(JobReport::NotIncluded) | None => {}
            }
            failpoint(Failpoint::CollectDecided);
        }
        self.notifier.notify(key).await?;
        failpoint(Failpoint::CollectNotified);
        Ok(())
    }

    /// Returns the recorded report, or asks the provider; `None` while the job is under way.
    async fn report_of(&self, row: &AttemptRecord) -> Result<Option<JobReport>, Failure> {
        let recorded = self.platform.ledger().report(&row.key, row.attempt).await?;
        if let Some(json) = recorded {
            // A report of another version cannot be read: the provider still has the original.
            if let Ok(report) = serde_json::from_str::<JobReport>(&json) {
                return Ok(Some(report));
            }
        }
        let Some(request_id) = &row.request_id else { return Ok(None) };
        let provider = self.platform.provider(row.request.provider);
        match provider.check(&row.request.endpoint, request_id).await {
            Ok(JobState::Ended(report)) => Ok(Some(report)),
            Ok(_) => Ok(None),
            Err(error) => Err(error.failure),
        }
    }

    /// Completes the attempt at this cost and with this shortfall, with the outputs that `store` returns, or records why
    /// they could not be stored yet.
    async fn accept(
        &self,
        row: &AttemptRecord,
        (cost, shortfall): (Money, Option<Shortfall>),
        store: impl AsyncFnOnce() -> Result<Vec<Media>, Failure>,
    ) -> Result<(), Failure> {
        let (key, attempt) = (&row.key, row.attempt);
        let created_at = self.platform.clock().now();
        let superseded = self.commits.entry(key).await?;
        let superseded = superseded.is_some_and(|entry| entry.result.is_some_and(|ready| ready.attempt >= attempt));
        // The outputs of a duplicate need not be fetched.
        let fetched = if superseded { Ok(Vec::new()) } else { store().await };
        let now = self.platform.clock().now();
        match fetched {
            Ok(outputs) => {
                self.quota.record_stored(&outputs).await;
                let completion = Completion { outputs, created_at, cost, shortfall };
                self.commits
                    .commit(key, attempt, |entry, row| {
                        let duplicate = entry.result.as_ref().is_some_and(|ready| ready.attempt >= attempt);
                        // The result that superseded this one has expired since: the next call stores the media.
                        if superseded && !duplicate { None } else { complete(entry, row, completion.clone(), now) }
                    })
                    .await?;
            }
            Err(cause) => {
                self.report_unstored(row, &cause, now);
                self.commits
                    .commit(key, attempt, |entry, row| record_fetch_failure(entry, row, &cause, cost, now))
                    .await?;
            }
        }
        Ok(())
    }

    /// Logs that a paid output cannot be stored now, with what an operator has to repair, and counts it for the alarm.
    fn report_unstored(&self, row: &AttemptRecord, cause: &Failure, now: Millis) {
        let tries = row.fetching.as_ref().map_or(0, |fetching| fetching.tries) + 1;
        if cause.name.is_retryable() && tries < ALARMING_TRIES {
            tracing::warn!(entry.key = %row.key, entry.attempt = %row.attempt, error.name = %cause.name, error.message = cause.message, "output not stored yet");
            return;
        }
        tracing::error!(entry.key = %row.key, entry.attempt = %row.attempt, error.name = %cause.name, error.message = cause.message, error.advice = cause.name.advice(), tries, "paid output not stored");
        println!("{}", metrics::line(&self.settings.stack, now, &[("OutputsNotStored", "Count", 1.into())]));
    }

    async fn fetch_all(&self, row: &AttemptRecord, media: &[RemoteMedia]) -> Result<Vec<Media>, Failure> {
        let mut outputs = Vec::with_capacity(media.len());
        for (index, remote) in media.iter().enumerate() {
            let place = OutputPlace { kind: row.request.kind, key: row.key.clone(), attempt: row.attempt, index };
            outputs.push(self.platform.media().store(&place, remote).await?);
            failpoint(Failpoint::CollectStored);
        }
        Ok(outputs)
    }

    /// Stores the text as an object, visible under its key only when it is whole. Storing it again is no error.
    async fn store_text(&self, row: &AttemptRecord, text: &str) -> Result<Media, Failure> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let place = OutputPlace { kind: MediaKind::Text, key: row.key.clone(), attempt: row.attempt, index: 0 };
        let output = Media {
            key: place.object_key("txt"),
            kind: MediaKind::Text,
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: bytes.len() as u64,
            sha256: hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes)),
            width: None,
            height: None,
            duration_ms: None,
        };
        let objects = self.platform.objects();
        let mut upload = objects.upload(&output.key, &output.content_type).await?;
        upload.write(bytes.clone()).await?;
        // The first recorded report stays, so an existing object has the same text.
        upload.finish().await?;
        failpoint(Failpoint::CollectStored);
        Ok(output)
    }

    async fn accept_failure(&self, row: &AttemptRecord, cause: Failure, billed: bool) -> Result<(), Failure> {
        let outcome = AttemptFailure {
            failure: cause,
            retry_after: None,
            billed: if billed { row.hold.amount } else { Money::ZERO },
        };
        let now = self.platform.clock().now();
        self.commits.commit(&row.key, row.attempt, |entry, row| fail(entry, row, &outcome, now)).await.map(drop)
    }
}

/// What a result of so many outputs lacks of what its request asks for.
fn missing_outputs(row: &AttemptRecord, given: usize, blanked: u32) -> Option<Shortfall> {
    let model = catalogue::find(row.request.step, &row.request.model)?;
    Shortfall::of_outputs(model.output_count(&row.request.params), u32::try_from(given).unwrap_or(u32::MAX), blanked)
}

/// What a text that was cut off lacks: nothing where its request asks for another limit than the model's default.
fn cut_text(row: &AttemptRecord, cut: bool) -> Option<Shortfall> {
    let model = catalogue::find(row.request.step, &row.request.model).filter(|_| cut)?;
    let limit = row.request.params.get(TEXT_LIMIT)?;
    let default = model.params.get(TEXT_LIMIT)?.default.as_ref()?;
    (limit == default).then_some(Shortfall::Text { limit: limit.as_u64()? })
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() as u64 <= MediaKind::Text.max_bytes()
}

/// The cost of the attempt: by the units that the provider counted, the upper-bound price where it gives none.
fn cost_of(row: &AttemptRecord, units: Option<f64>) -> Money {
    let model = catalogue::find(row.request.step, &row.request.model);
    let Some((model, units)) = model.zip(units.filter(|units| units.is_finite() && *units >= 0.0)) else {
        return row.hold.amount;
    };
    match model.price.unit {
        // The unit price does not depend on the request.
        PriceUnit::Megapixel | PriceUnit::UpscaledMegapixel => {
            Money::from_dollars(units * model.price.list as f64 / 1e6).unwrap_or(row.hold.amount)
        }
        // Factors and surcharges apply that the units do not show.
        PriceUnit::Image | PriceUnit::Second | PriceUnit::Token => row.hold.amount,
    }
}

/// The cost of a text: by the tokens that the provider counted, the upper-bound price where it gives none.
fn cost_of_text(row: &AttemptRecord, tokens: Option<(u64, u64)>) -> Money {
    let model = catalogue::find(row.request.step, &row.request.model);
    let Some((model, (input, output))) = model.zip(tokens) else { return row.hold.amount };
    match model.price.unit {
        PriceUnit::Token => model.price.of_tokens(input, output),
        _ => row.hold.amount,
    }
}
