//! Beginning a batch: what is asked for is checked and recorded, and its execution started, once for a key.

use std::future::ready;

use bytes::Bytes;
use fresco_ledger::records::{BatchCounts, BatchRecord, BatchStatus};
use fresco_ledger::traits::{Batches, Clock, Executions, Objects, Put};
use fresco_pipeline::document::{MAX_WORKERS, prepare};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::Format;

use super::wire::BatchBody;
use super::{
    BatchRequest, LOOK_EVERY, MAX_CHUNK, MAX_CHUNKS_AT_ONCE, MAX_PAUSE, ROWS, RowsFrom, Tolerance, internal,
    request_key,
};
use crate::Engine;
use crate::inbox::{INBOX, folder, is_plain};
use crate::order::{BadOrder, Fetcher, OrderError};
use crate::platform::Platform;
use crate::start::{Begun, Once, StartError, new_run_id};
use crate::transact::failure;
use crate::uploads::UploadId;
use crate::wire::{RunBody, UploadKind};

impl<P: Platform> Engine<P> {
    /// Records and starts a batch, once for a key. Its rows are read by its planning.
    pub async fn start_batch(
        &self,
        once: Option<&Once>,
        body: BatchBody,
        fetcher: &Fetcher,
    ) -> Result<Begun, StartError> {
        self.start_batch_of(once, fetcher, ready(Ok((body, None)))).await
    }

    /// The same, where an event or a schedule says where in the bucket the rows lie. Asked again under the same key it gives the
    /// same batch; `what` is not looked at then, and what it names may be gone.
    pub(crate) async fn start_batch_of<'k, E: From<StartError>>(
        &self,
        once: Option<&Once>,
        fetcher: &Fetcher,
        what: impl Future<Output = Result<(BatchBody, Option<RowsFrom<'k>>), E>> + Send,
    ) -> Result<Begun, E> {
        if let Some(once) = once
            && let Some(batch) = self.batch_begun_before(once).await?
        {
            return Ok(Begun { run: batch, existing: true });
        }
        let (body, from) = what.await?;
        Ok(self.begin_batch(once, body, from, fetcher).await?)
    }

    async fn batch_begun_before(&self, once: &Once) -> Result<Option<RunId>, StartError> {
        let batch = once.run()?;
        let Some(row) = self.platform.ledger().batch(&batch).await.map_err(failure)? else { return Ok(None) };
        if self.batch_request(&batch).await?.run.asked != once.asked {
            return Err(StartError::OtherRequest);
        }
        if row.status == BatchStatus::Planning {
            self.platform.executions().start_batch(&batch, row.generation).await.map_err(failure)?;
        }
        Ok(Some(batch))
    }

    async fn begin_batch(
        &self,
        once: Option<&Once>,
        body: BatchBody,
        from: Option<RowsFrom<'_>>,
        fetcher: &Fetcher,
    ) -> Result<Begun, StartError> {
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
        let mut request = self.batch_request_of(&batch, body, from, fetcher).await?;
        request.run = request.run.fixed(now, &self.platform.new_token()?)?;
        request.run.asked = once.map(|once| once.asked.clone()).unwrap_or_default();
        let name = prepare(&request.run.document)?.name().unwrap_or_else(|| "pipeline".to_owned());
        let json = serde_json::to_vec(&request).map_err(internal)?;
        // Of two under one key at once the first one's request stays.
        if self.put_once(&request_key(&batch), Bytes::from(json)).await? == Put::Exists
            && self.batch_request(&batch).await?.run.asked != request.run.asked
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
            next_check_at: Some(now + LOOK_EVERY),
            failure: None,
        };
        let existing = !self.platform.ledger().create_batch(&row).await.map_err(failure)?;
        if let Err(cause) = self.platform.executions().start_batch(&batch, 0).await.map_err(failure) {
            // Under a key it is begun when it is asked for again; else nobody hears of it, nor is it to be planned for ever.
            if once.is_none() {
                let ledger = self.platform.ledger();
                let closed = ledger.close_batch(&batch, 0, BatchStatus::Failed, Some(&cause), now).await;
                closed.map_err(failure)?;
            }
            return Err(cause.into());
        }
        Ok(Begun { run: batch, existing })
    }

    async fn batch_request_of(
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
        let chunk_size = within("chunk_size", body.chunk_size, MAX_CHUNK)?;
        let at_once = within("max_concurrent_chunks", body.max_concurrent_chunks, MAX_CHUNKS_AT_ONCE)?.unwrap_or(1);
        let workers = within("max_workers", body.max_workers, MAX_WORKERS)?;
        let pause = body.rate_limit_delay.unwrap_or(1);
        if pause > MAX_PAUSE {
            let detail = format!("`rate_limit_delay` is {pause}; at most {MAX_PAUSE} seconds are taken");
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
        let order = RunBody {
            pipeline: body.pipeline,
            pipeline_upload: body.pipeline_upload,
            input: body.input,
            vars: body.vars,
            env: body.env,
            media: body.media,
            parallel: body.parallel,
            ..RunBody::default()
        };
        let run = self.order(order, from.as_ref().map(|from| from.beside), fetcher).await?;
        if rows.starts_with(ROWS) && self.platform.objects().head(&rows).await.map_err(failure)?.is_none() {
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

    /// The key of the object that holds the rows, and how they are written.
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
            return Ok((self.keep_rows(batch, Bytes::from(json)).await?, Format::Json));
        }
        if let Some(text) = &body.rows_text {
            return Ok((self.keep_rows(batch, Bytes::copy_from_slice(text.as_bytes())).await?, format()?));
        }
        if let Some(id) = &body.rows_upload {
            let upload = UploadId::parse(id).filter(|upload| upload.kind == UploadKind::Rows);
            let upload = upload.ok_or_else(|| {
                bad("bad_upload", "`rows_upload` is not an upload of rows", "Take the id that POST /uploads gave.")
            })?;
            self.require_uploaded(&upload).await?;
            return Ok((upload.object_key(), format()?));
        }
        let key = body.rows_key.clone().unwrap_or_default();
        if !is_plain(&key) || !key.starts_with(ROWS) {
            return Err(bad("bad_rows", format!("`rows_key` is not beneath {ROWS}"), "Put the rows there.").into());
        }
        let format = match body.format.or_else(|| Format::of_name(&key)) {
            Some(format) => format,
            None => format()?,
        };
        Ok((key, format))
    }

    async fn keep_rows(&self, batch: &RunId, bytes: Bytes) -> Result<String, Failure> {
        // Named by what they are: who asks for something else under the same key replaces nothing.
        let hash = ContentKey::digest(&bytes);
        let key = format!("batches/{batch}/rows-{}", hash.as_str().get(..16).unwrap_or_default());
        self.platform.objects().put(&key, bytes, "text/plain").await.map_err(failure)?;
        Ok(key)
    }
}

fn bad(code: &'static str, detail: impl Into<String>, advice: &'static str) -> OrderError {
    OrderError::Bad(BadOrder { code, detail: detail.into(), advice, malformed: false })
}
