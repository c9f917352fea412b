//! What collect does: it brings a finished job's media into the bucket, completes the entry and tells the waiters. It is
//! the only place that stores media. Calling it again, for any attempt at any time, changes nothing that it should not.

use bytes::Bytes;
use fresco_ledger::records::{AttemptRecord, AttemptState, Output};
use fresco_ledger::traits::{Clock, Entries, Objects, Upload};
use fresco_ledger::transition::{AttemptFailure, Completion, complete, fail, record_fetch_failure};
use fresco_pipeline::catalogue::{self, MediaKind, PriceUnit};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::money::Money;
use fresco_providers::{JobReport, JobState, RemoteMedia};

use crate::Engine;
use crate::crash::{self, Point};
use crate::platform::{MediaStore, Place, Platform};
use crate::transact::failure;

impl<P: Platform> Engine<P> {
    /// Takes the attempt's end in. An error means that it should be called again; sweep does if nobody else.
    pub async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), Failure> {
        let Some(row) = self.attempt(key, attempt).await? else { return Ok(()) };
        crash::point(Point::CollectRead);
        if !matches!(row.state, AttemptState::Won | AttemptState::Duplicate) {
            match self.report_of(&row).await? {
                Some(JobReport::Succeeded { media, billable_units, .. }) => {
                    self.take_in(&row, &media, billable_units).await?
                }
                Some(JobReport::TextOutput { text, input_tokens, output_tokens, .. }) => {
                    let cost = cost_of_text(&row, input_tokens.zip(output_tokens));
                    self.take_text_in(&row, &text, cost).await?
                }
                Some(JobReport::Failed { failure, billed }) => self.take_failure(&row, failure, billed).await?,
                Some(JobReport::Cancelled { billed }) => {
                    let entry = self.entry(key).await?;
                    let pending = entry.and_then(|entry| entry.pending).filter(|pending| pending.attempt == attempt);
                    let cause = if pending.is_some_and(|pending| pending.cancelling) {
                        // Ours, and nobody waited: who has come since asks again.
                        Failure::new(ErrorName::StepAgain, "the job was cancelled, since nobody waited for it")
                    } else {
                        Failure::new(ErrorName::StepCancelled, "the job was cancelled at the provider")
                    };
                    self.take_failure(&row, cause, billed).await?;
                }
                Some(JobReport::NotIncluded) | None => {}
            }
            crash::point(Point::CollectDecided);
        }
        self.tell(key).await?;
        crash::point(Point::CollectTold);
        Ok(())
    }

    /// The recorded report, or what the provider says now; `None` while the job goes on.
    async fn report_of(&self, row: &AttemptRecord) -> Result<Option<JobReport>, Failure> {
        let recorded = self.platform.ledger().report(&row.key, row.attempt).await.map_err(failure)?;
        if let Some(json) = recorded {
            // One that cannot be read was written by another version: the provider still has the original.
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

    async fn take_in(&self, row: &AttemptRecord, media: &[RemoteMedia], units: Option<f64>) -> Result<(), Failure> {
        self.take(row, cost_of(row, units), async || self.fetch_all(row, media).await).await
    }

    async fn take_text_in(&self, row: &AttemptRecord, text: &str, cost: Money) -> Result<(), Failure> {
        self.take(row, cost, async || Ok(vec![self.store_text(row, text).await?])).await
    }

    /// Completes the attempt with what `store` stores, or notes that it could not be.
    async fn take(
        &self,
        row: &AttemptRecord,
        cost: Money,
        store: impl AsyncFnOnce() -> Result<Vec<Output>, Failure>,
    ) -> Result<(), Failure> {
        let (key, attempt) = (&row.key, row.attempt);
        let created_at = self.platform.clock().now();
        let superseded = self.entry(key).await?;
        let superseded = superseded.is_some_and(|entry| entry.result.is_some_and(|ready| ready.attempt >= attempt));
        // What will be kept out as a duplicate need not be fetched.
        let fetched = if superseded { Ok(Vec::new()) } else { store().await };
        let now = self.platform.clock().now();
        match fetched {
            Ok(outputs) => {
                self.note_stored(&outputs).await;
                let completion = Completion { outputs, created_at, cost };
                self.transact(key, attempt, |entry, row| {
                    let late = entry.result.as_ref().is_some_and(|ready| ready.attempt >= attempt);
                    // The result that superseded this one has expired since: take the media in on the next call.
                    if superseded && !late { None } else { complete(entry, row, completion.clone(), now) }
                })
                .await?;
            }
            Err(cause) => {
                tracing::warn!(entry.key = %key, entry.attempt = %attempt, error.name = %cause.name, error.message = cause.message, "output not fetched");
                self.transact(key, attempt, |entry, row| record_fetch_failure(entry, row, &cause, cost, now)).await?;
                if row.state != AttemptState::Open && cause.name.is_retryable() {
                    // Sweep looks at pending attempts only: one that was given up is fetched again by whoever called.
                    return Err(cause);
                }
            }
        }
        Ok(())
    }

    async fn fetch_all(&self, row: &AttemptRecord, media: &[RemoteMedia]) -> Result<Vec<Output>, Failure> {
        if media.is_empty() {
            return Err(Failure::new(ErrorName::OutputInvalid, "the provider reports success without any output"));
        }
        let mut outputs = Vec::with_capacity(media.len());
        for (index, remote) in media.iter().enumerate() {
            let place = Place { kind: row.request.kind, key: row.key.clone(), attempt: row.attempt, index };
            outputs.push(self.platform.media().store(&place, remote).await?);
            crash::point(Point::CollectStored);
        }
        Ok(outputs)
    }

    /// The text as an object, like every other output: under its key only when it is whole. Storing it again is no error.
    async fn store_text(&self, row: &AttemptRecord, text: &str) -> Result<Output, Failure> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        if text.trim().is_empty() || bytes.len() as u64 > MediaKind::Text.max_bytes() {
            return Err(Failure::new(ErrorName::OutputInvalid, "the provider's text is empty or far too long"));
        }
        let place = Place { kind: MediaKind::Text, key: row.key.clone(), attempt: row.attempt, index: 0 };
        let output = Output {
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
        let mut upload = objects.upload(&output.key, &output.content_type).await.map_err(failure)?;
        upload.write(bytes.clone()).await.map_err(failure)?;
        // The report that stands on the attempt is the first one and stays, so what is there already is the same text.
        upload.finish().await.map_err(failure)?;
        crash::point(Point::CollectStored);
        Ok(output)
    }

    async fn take_failure(&self, row: &AttemptRecord, cause: Failure, billed: bool) -> Result<(), Failure> {
        let outcome = AttemptFailure {
            failure: cause,
            retry_after: None,
            billed: if billed { row.hold.amount } else { Money::ZERO },
        };
        let now = self.platform.clock().now();
        self.transact(&row.key, row.attempt, |entry, row| fail(entry, row, &outcome, now)).await.map(drop)
    }
}

/// What the attempt cost: the provider's own units where it says them, the upper-bound price where not.
fn cost_of(row: &AttemptRecord, units: Option<f64>) -> Money {
    let model = catalogue::find(row.request.step, &row.request.model);
    let Some((model, units)) = model.zip(units.filter(|units| units.is_finite() && *units >= 0.0)) else {
        return row.hold.amount;
    };
    match model.price.unit {
        // The unit price of these does not depend on the request.
        PriceUnit::Megapixel | PriceUnit::UpscaledMegapixel => {
            Money::from_dollars(units * model.price.list as f64 / 1e6).unwrap_or(row.hold.amount)
        }
        // Here factors and surcharges apply that the units do not show.
        PriceUnit::Image | PriceUnit::Second | PriceUnit::Token => row.hold.amount,
    }
}

/// What a text cost: by the tokens that the provider counted, the upper-bound price where it says nothing.
fn cost_of_text(row: &AttemptRecord, tokens: Option<(u64, u64)>) -> Money {
    let model = catalogue::find(row.request.step, &row.request.model);
    let Some((model, (input, output))) = model.zip(tokens) else { return row.hold.amount };
    match model.price.unit {
        PriceUnit::Token => model.price.of_tokens(input, output),
        _ => row.hold.amount,
    }
}
