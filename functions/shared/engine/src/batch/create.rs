//! Creates a batch: checks and records its request, and starts its execution, once for a key.

use std::future::ready;

use bytes::Bytes;
use fresco_api_types::{BatchBody, MAX_CHUNK_SIZE, MAX_CONCURRENT_CHUNKS, MAX_RATE_LIMIT_DELAY, RunBody, UploadKind};
use fresco_ledger::records::{BatchCounts, BatchRecord, BatchStatus};
use fresco_ledger::traits::{Batches as _, Clock, Executions, Objects, Put};
use fresco_pipeline::document::{MAX_WORKERS, prepare};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::Format;

use super::Batches;
use super::control::CHECK_EVERY;
use super::objects::{internal, request_key};
use super::request::{BatchRequest, RowsFrom, Tolerance};
use crate::intake::object_keys::{INBOX, ROWS, folder, is_plain};
use crate::intake::request::{Fetcher, IntakeError, InvalidRequest};
use crate::intake::start::{IdempotencyKey, StartError, StartedRun, new_run_id};
use crate::intake::uploads::UploadId;
use crate::platform::Platform;

impl<P: Platform> Batches<P> {
    /// Records and starts a batch, once for a key. Its rows are read by its planning.
    pub async fn start(
        &self,
        once: Option<&IdempotencyKey>,
        body: BatchBody,
        fetcher: &Fetcher,
    ) -> Result<StartedRun, StartError> {
        self.start_from(once, fetcher, ready(Ok((body, None)))).await
    }

    /// Records and starts a batch whose rows lie in the bucket, for an event or a schedule. A repeated call under the
    /// same key returns the same batch without awaiting `what`, whose objects may be gone.
    pub(crate) async fn start_from<'k, E: From<StartError>>(
        &self,
        once: Option<&IdempotencyKey>,
        fetcher: &Fetcher,
        what: impl Future<Output = Result<(BatchBody, Option<RowsFrom<'k>>), E>> + Send,
    ) -> Result<StartedRun, E> {
        if let Some(once) = once
            && let Some(batch) = self.started_before(once).await?
        {
            return Ok(StartedRun { run: batch, existing: true });
        }
        let (body, from) = what.await?;
        Ok(self.create(once, body, from, fetcher).await?)
    }

    async fn started_before(&self, once: &IdempotencyKey) -> Result<Option<RunId>, StartError> {
        let batch = once.run()?;
        let Some(row) = self.platform.ledger().batch(&batch).await? else { return Ok(None) };
        if self.store.request(&batch).await?.run.request_hash != once.request_hash {
            return Err(StartError::OtherRequest);
        }
        if row.status == BatchStatus::Planning {
            self.platform.executions().start_batch(&batch, row.generation).await?;
        }
        Ok(Some(batch))
    }

    async fn create(
        &self,
        once: Option<&IdempotencyKey>,
        body: BatchBody,
        from: Option<RowsFrom<'_>>,
        fetcher: &Fetcher,
    ) -> Result<StartedRun, StartError> {
        let now = self.platform.clock().now();
        let batch = match once {
            Some(once) => once.run()?,
            None => new_run_id(now, &self.platform.new_token()?)?,
        };
        let remaining = match body.max_cost {
            None => Money::UNLIMITED,
            Some(cost) if cost >= 0 => Money::micros(cost),
            Some(_) => return Err(bad("bad_max_cost", "`max_cost` is below 0", "Leave it out for no limit.").into()),
        };
        let mut request = self.request_of(&batch, body, from, fetcher).await?;
        request.run = request.run.fixed(now, &self.platform.new_token()?)?;
        request.run.request_hash = once.map(|once| once.request_hash.clone()).unwrap_or_default();
        let document = prepare(&request.run.document)?;
        document.check_unread(&request.run.inputs())?;
        let name = document.name().unwrap_or_else(|| "pipeline".to_owned());
        let json = serde_json::to_vec(&request).map_err(internal)?;
        // Of two concurrent calls under one key the request of the first stays.
        if self.intake.put_once(&request_key(&batch), Bytes::from(json)).await? == Put::Exists
            && self.store.request(&batch).await?.run.request_hash != request.run.request_hash
        {
            return Err(StartError::OtherRequest);
        }
        let row = BatchRecord {
            id: batch.clone(),
            name,
            status: BatchStatus::Planning,
            stop: false,
            created_at: now,
            began_at: now,
            kept: 0,
            ended_at: None,
            remaining,
            plan: None,
            counts: BatchCounts::default(),
            open: Default::default(),
            generation: 0,
            next_check_at: Some(now + CHECK_EVERY),
            failure: None,
        };
        let existing = !self.platform.ledger().create_batch(&row).await?;
        if let Err(error) = self.platform.executions().start_batch(&batch, 0).await {
            let cause = Failure::from(error);
            // Under a key it is started when it is requested again. Without one the caller does not learn of it, and it
            // must not be planned for ever.
            if once.is_none() {
                let ledger = self.platform.ledger();
                let closed = ledger.close_batch(&batch, 0, BatchStatus::Failed, Some(&cause), now).await;
                closed?;
            }
            return Err(cause.into());
        }
        Ok(StartedRun { run: batch, existing })
    }

    async fn request_of(
        &self,
        batch: &RunId,
        body: BatchBody,
        from: Option<RowsFrom<'_>>,
        fetcher: &Fetcher,
    ) -> Result<BatchRequest, StartError> {
        let within = |name: &'static str, value: Option<u32>, most: u32| match value {
            Some(value) if value == 0 || value > most => Err(bad(
                "bad_setting",
                format!("`{name}` is {value}; from 1 to {most} are taken"),
                "Change it, or leave it out.",
            )),
            value => Ok(value),
        };
        let chunk_size = within("chunk_size", body.chunk_size, MAX_CHUNK_SIZE)?;
        let at_once = within("max_concurrent_chunks", body.max_concurrent_chunks, MAX_CONCURRENT_CHUNKS)?.unwrap_or(1);
        let workers = within("max_workers", body.max_workers, MAX_WORKERS)?;
        let pause = body.rate_limit_delay.unwrap_or(1);
        if pause > MAX_RATE_LIMIT_DELAY {
            let detail = format!("`rate_limit_delay` is {pause}; at most {MAX_RATE_LIMIT_DELAY} seconds are taken");
            return Err(bad("bad_setting", detail, "Change it, or leave it out.").into());
        }
        let tolerate = body.tolerate.as_ref().map(|given| {
            let advice = "Write a number of rows, or a part as \"5%\".";
            Tolerance::read(given).ok_or_else(|| bad("bad_setting", "`tolerate` cannot be read", advice))
        });
        let (rows, format) = match &from {
            Some(from) => (from.key.to_owned(), from.format),
            None => self.rows_of(batch, &body).await?,
        };
        let run_body = RunBody {
            pipeline: body.pipeline,
            pipeline_upload: body.pipeline_upload,
            input: body.input,
            vars: body.vars,
            env: body.env,
            media: body.media,
            parallel: body.parallel,
            ..RunBody::default()
        };
        let run = self.intake.request(run_body, from.as_ref().map(|from| from.beside), fetcher).await?;
        if rows.starts_with(ROWS) && self.platform.objects().head(&rows).await?.is_none() {
            return Err(bad("bad_rows", format!("there is no {rows}"), "Put the rows there first.").into());
        }
        let tolerate = tolerate.transpose()?;
        let tag = from.as_ref().and_then(|from| from.tag).map(str::to_owned);
        let period = from.and_then(|from| from.period);
        let beside = [ROWS, INBOX].iter().any(|place| rows.starts_with(place)).then(|| folder(&rows).to_owned());
        Ok(BatchRequest {
            beside,
            period,
            run,
            rows,
            tag,
            format,
            chunk_size,
            at_once,
            pause,
            workers,
            tolerate,
            on_bad_row: body.on_bad_row,
        })
    }

    /// Returns the key and the format of the rows.
    async fn rows_of(&self, batch: &RunId, body: &BatchBody) -> Result<(String, Format), StartError> {
        let given =
            [body.rows.is_some(), body.rows_text.is_some(), body.rows_upload.is_some(), body.rows_key.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            let detail = "exactly one of `rows`, `rows_text`, `rows_upload` and `rows_key` is needed";
            return Err(bad("bad_rows", detail, "Give the rows in one way.").into());
        }
        let format = || {
            let missing = || bad("no_format", "`format` is missing", "Say jsonl, csv, json or text.");
            body.format.ok_or_else(missing)
        };
        if let Some(rows) = &body.rows {
            let json = serde_json::to_vec(rows).map_err(internal)?;
            return Ok((self.store_rows(batch, Bytes::from(json)).await?, Format::Json));
        }
        if let Some(text) = &body.rows_text {
            return Ok((self.store_rows(batch, Bytes::copy_from_slice(text.as_bytes())).await?, format()?));
        }
        if let Some(id) = &body.rows_upload {
            let upload = UploadId::parse(id).filter(|upload| upload.kind == UploadKind::Rows);
            let upload = upload.ok_or_else(|| {
                bad("bad_upload", "`rows_upload` is not an upload of rows", "Take the id that POST /uploads gave.")
            })?;
            self.intake.require_uploaded(&upload).await?;
            return Ok((upload.object_key(), format()?));
        }
        let key = body.rows_key.clone().unwrap_or_default();
        if !is_plain(&key) || !key.starts_with(ROWS) {
            return Err(bad("bad_rows", format!("`rows_key` is not under {ROWS}"), "Put the rows there.").into());
        }
        let format = match body.format.or_else(|| Format::of_name(&key)) {
            Some(format) => format,
            None => format()?,
        };
        Ok((key, format))
    }

    async fn store_rows(&self, batch: &RunId, bytes: Bytes) -> Result<String, Failure> {
        // Named by content: another request under the same idempotency key replaces nothing.
        let hash = ContentKey::digest(&bytes);
        let key = format!("batches/{batch}/rows-{}", hash.as_str().get(..16).unwrap_or_default());
        self.platform.objects().put(&key, bytes, "text/plain").await?;
        Ok(key)
    }
}

fn bad(code: &'static str, detail: impl Into<String>, advice: &'static str) -> IntakeError {
    IntakeError::Invalid(InvalidRequest { code, detail: detail.into(), advice, malformed: false })
}
