//! Batches: one pipeline over many rows. Planning cuts them into chunks, each chunk is a run, and what the rows came to is
//! put together in their order.

mod chunk;
mod finish;
mod plan;
pub(crate) mod wire;

use std::future::ready;

use bytes::Bytes;
use fresco_ledger::batch::{BatchCounts, BatchRow, BatchStatus};
use fresco_ledger::rows::Millis;
use fresco_ledger::traits::{Batches, Clock, Executions, HandOver, ListPlace, Objects, Put, Runs};
use fresco_pipeline::document::prepare;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::{Format, Row, RowProblem};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Engine;
use crate::inbox::{INBOX, folder, is_plain};
use crate::order::{BadOrder, Fetcher, OrderError};
use crate::platform::Platform;
use crate::start::{Begun, Once, RunRequest, StartError, new_run_id};
use crate::transact::failure;
use crate::uploads::UploadId;
use crate::wire::{RunBody, UploadKind};
use wire::{BatchBody, BatchResults, BatchView, OnBadRow};

pub use finish::BatchFinished;
pub use plan::BatchWork;

/// Where rows lie that batches name by key.
pub const ROWS: &str = "rows/";
/// The most chunks side by side.
const MAX_CHUNKS_AT_ONCE: u32 = 40;
/// How often it is looked at whether a batch's execution goes on. One that was recorded is started well within it.
const LOOK_EVERY: Millis = 300_000;
/// How many runs of a batch are told to stop side by side.
const STOPPED_AT_ONCE: usize = 16;
/// How many batches a call of the sweep looks at.
const LOOKED_AT: u32 = 100;
/// The longest pause behind a chunk, in seconds.
const MAX_PAUSE: u32 = 3_600;

/// What a batch was asked to do. It is kept as `batches/<id>/request.json`.
#[derive(Clone, Serialize, Deserialize)]
struct BatchRequest {
    /// What is given with every row.
    run: RunRequest,
    /// The key of the object that holds the rows.
    rows: String,
    /// The entity tag that the object has to have, where it was known when the batch was asked for.
    #[serde(default)]
    tag: Option<String>,
    /// How they are written.
    format: Format,
    chunk_size: Option<u32>,
    at_once: u32,
    pause: u32,
    workers: Option<u32>,
    tolerate: Option<Tolerance>,
    on_bad_row: OnBadRow,
    /// The prefix under which media are looked for that rows name; only where the rows lie in the bucket.
    #[serde(default)]
    beside: Option<String>,
    /// In how many seconds the next batch of the same schedule is due.
    #[serde(default)]
    period: Option<u64>,
}

/// Rows that lie in the bucket.
pub(crate) struct RowsFrom<'k> {
    /// The key of the object.
    pub(crate) key: &'k str,
    /// Its entity tag, where it has to be just this one.
    pub(crate) tag: Option<&'k str>,
    /// How they are written.
    pub(crate) format: Format,
    /// The prefix under which names of media are looked for.
    pub(crate) beside: &'k str,
    /// In how many seconds the next batch of the same schedule is due.
    pub(crate) period: Option<u64>,
}

/// How many failed rows are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tolerance {
    Rows(u64),
    Percent(u32),
}

impl Tolerance {
    /// Reads `12` or `"5%"`.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Tolerance::Rows),
            Value::String(text) => {
                let percent = text.trim().strip_suffix('%')?.trim().parse().ok()?;
                (percent <= 100).then_some(Tolerance::Percent(percent))
            }
            _ => None,
        }
    }

    /// How many of so many rows may fail.
    fn of(self, rows: u64) -> u64 {
        match self {
            Tolerance::Rows(rows) => rows,
            Tolerance::Percent(percent) => rows.saturating_mul(u64::from(percent)) / 100,
        }
    }
}

/// `batches/<batch>/chunks/<n>.json`: the rows of a chunk, and those that were left out of it. It lives as long as the batch,
/// which may be driven anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ChunkFile {
    rows: Vec<Row>,
    bad: Vec<RowProblem>,
    /// Of those of `rows` that the chunk's planning left out, as what they name could not be read: it may be there next time.
    #[serde(default)]
    unread: Vec<RowProblem>,
}

fn request_key(batch: &RunId) -> String {
    format!("batches/{batch}/request.json")
}

fn chunk_key(batch: &RunId, chunk: u32) -> String {
    format!("batches/{batch}/chunks/{chunk}.json")
}

fn part_key(batch: &RunId, chunk: u32) -> String {
    format!("batches/{batch}/parts/{chunk}.jsonl")
}

fn results_key(batch: &RunId) -> String {
    format!("batches/{batch}/results.jsonl")
}

/// Where a batch's manifest is kept.
pub fn batch_manifest_key(batch: &RunId) -> String {
    format!("batches/{batch}/manifest.json")
}

/// The run of a chunk, anew in each generation.
fn run_of(batch: &RunId, chunk: u32, generation: u32) -> Result<RunId, Failure> {
    let again = if generation == 0 { String::new() } else { format!("-{generation}") };
    RunId::parse(format!("{batch}-{chunk}{again}"))
        .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
}

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
        let row = BatchRow {
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
            due: Some(now + LOOK_EVERY),
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

    /// A batch as it is.
    pub async fn batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        Ok(self.view_of(self.batch_row(id).await?))
    }

    /// So many batches, newest first, behind this place; without the problems of their rows.
    pub async fn batches(&self, limit: u32, behind: Option<&ListPlace>) -> Result<Vec<BatchView>, Failure> {
        let now = self.platform.clock().now();
        let rows = self.platform.ledger().list_batches(limit, behind, now).await.map_err(failure)?;
        let mut views: Vec<BatchView> = rows.into_iter().map(|row| self.view_of(row)).collect();
        // Each has up to a hundred, and a list many batches.
        views.iter_mut().filter_map(|view| view.plan.as_mut()).for_each(|plan| plan.problems.clear());
        Ok(views)
    }

    /// Links to the results of a batch that has ended.
    pub async fn batch_results(&self, id: &RunId) -> Result<BatchResults, Failure> {
        let row = self.batch_row(id).await?;
        if !row.status.is_final() {
            return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; its results are there at its end"));
        }
        let (objects, seconds) = (self.platform.objects(), self.settings.link_life().as_secs());
        Ok(BatchResults {
            results: objects.link(&results_key(id), seconds).await.map_err(failure)?,
            manifest: objects.link(&batch_manifest_key(id), seconds).await.map_err(failure)?,
            expires_at: self.platform.clock().now() + i64::try_from(seconds).unwrap_or(0) * 1_000,
        })
    }

    /// Stops a batch: no chunk is begun, those that run are stopped as runs are, and behind the last of them the execution is
    /// ended, which closes the batch. Again is no error.
    pub async fn stop_batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.stop_batch(id).await.map_err(failure)? {
            let runs: Vec<RunId> =
                row.open.iter().map(|chunk| run_of(id, *chunk, row.generation)).collect::<Result<_, _>>()?;
            // All of them before any is let go, which asks providers and takes its time: nothing is submitted meanwhile.
            let flags: Vec<_> = runs.iter().map(|run| ledger.stop_run(run)).collect();
            stream::iter(flags).buffer_unordered(STOPPED_AT_ONCE).try_collect::<Vec<_>>().await.map_err(failure)?;
            // What is not let go here is told at its next nudge.
            for run in &runs {
                if let Err(cause) = self.let_all_go(run).await {
                    tracing::warn!(run.id = %run, error.name = %cause.name, error.message = cause.message, "not let go");
                }
            }
            self.end_stopped(id).await?;
        }
        self.batch(id).await
    }

    /// Ends the execution of a batch that is stopped and has no chunk at work: it would go through all the others for nothing.
    async fn end_stopped(&self, id: &RunId) -> Result<(), Failure> {
        // Read anew: the last chunk may have ended meanwhile.
        let row = self.batch_row(id).await?;
        let executions = self.platform.executions();
        if row.status.is_final() || !row.stop || !row.open.is_empty() {
            return Ok(());
        }
        if !executions.end_batch(id, row.generation).await.map_err(failure)? {
            // It ended without the batch. Its results are put together, for which nobody here has the time.
            self.platform.hand_over().finish_batch(id, row.generation).await.map_err(failure)?;
        }
        Ok(())
    }

    /// Closes the runs of chunks that an execution left behind when it ended. What they have paid for is kept, and what their
    /// budgets have left goes back.
    async fn close_open_chunks(&self, row: &BatchRow, generation: u32, cause: &Failure) -> Result<(), Failure> {
        for chunk in &row.open {
            match self.close(&run_of(&row.id, *chunk, generation)?, Some(cause.clone())).await {
                Ok(_) => {}
                Err(cause) if cause.name == ErrorName::RunNotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Drives a batch that has ended anew: chunks with rows that failed, or were not run, run again; what is there is a hit. One
    /// whose execution ended without closing it (it was aborted) is closed first; its results are put together at its next end.
    pub async fn redrive_batch(&self, id: &RunId) -> Result<BatchView, Failure> {
        let (record, now) = (self.batch_row(id).await?, self.platform.clock().now());
        if !record.status.is_final() {
            if self.platform.executions().batch_goes_on(id, record.generation).await.map_err(failure)? {
                return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; stop it, or wait for its end"));
            }
            let cause = Failure::new(ErrorName::RunStopped, "the batch's execution ended without it");
            let ledger = self.platform.ledger();
            let closed = ledger.close_batch(id, record.generation, BatchStatus::Stopped, Some(&cause), now).await;
            closed.map_err(failure)?;
        }
        if let Some(opened) = self.platform.ledger().reopen_batch(id, now, now + LOOK_EVERY).await.map_err(failure)? {
            self.platform.executions().start_batch(id, opened.generation).await.map_err(failure)?;
        }
        self.batch(id).await
    }

    /// Looks at the batches that are due: one whose execution ended without closing it, and whose end was not told either, is
    /// closed. How many there were.
    pub(crate) async fn sweep_batches(&self) -> Result<usize, Failure> {
        let (ledger, now) = (self.platform.ledger(), self.platform.clock().now());
        let due = ledger.due_batches(now, LOOKED_AT).await.map_err(failure)?;
        for id in &due {
            // One that cannot be looked at must not keep the others waiting, nor stay at their head.
            if let Err(cause) = self.sweep_batch(id).await {
                tracing::warn!(batch.id = %id, error.name = %cause.name, error.message = cause.message, "batch not swept");
            }
            ledger.look_at_batch(id, now + LOOK_EVERY).await.map_err(failure)?;
        }
        Ok(due.len())
    }

    async fn sweep_batch(&self, id: &RunId) -> Result<(), Failure> {
        let row = self.batch_row(id).await?;
        if !row.status.is_final()
            && !self.platform.executions().batch_goes_on(id, row.generation).await.map_err(failure)?
        {
            self.platform.hand_over().finish_batch(id, row.generation).await.map_err(failure)?;
        }
        Ok(())
    }

    async fn batch_row(&self, id: &RunId) -> Result<BatchRow, Failure> {
        let row = self.platform.ledger().batch(id).await.map_err(failure)?;
        row.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "there is no record of this batch"))
    }

    async fn batch_request(&self, id: &RunId) -> Result<BatchRequest, Failure> {
        let bytes = self.platform.objects().get(&request_key(id)).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the batch's request is gone"))?;
        serde_json::from_slice(&bytes).map_err(internal)
    }

    fn view_of(&self, row: BatchRow) -> BatchView {
        let until = row.ended_at.unwrap_or_else(|| self.platform.clock().now());
        let took = (until - row.began_at).max(1);
        let decided = row.counts.done + row.counts.failed + row.counts.bad;
        let rows = row.plan.as_ref().map_or(0, |plan| plan.rows);
        let left = i64::try_from(rows.saturating_sub(decided)).unwrap_or(i64::MAX);
        // Of those that were decided before it was driven anew nothing can be told about how long the others take.
        let decided = decided.saturating_sub(row.kept);
        let per_row = i64::try_from(decided).ok().filter(|decided| *decided > 0).map(|decided| took / decided);
        BatchView {
            id: row.id.to_string(),
            name: row.name,
            status: row.status,
            stopping: row.stop,
            created_at: row.created_at,
            began_at: row.began_at,
            ended_at: row.ended_at,
            counts: row.counts,
            running_chunks: u32::try_from(row.open.len()).unwrap_or(u32::MAX),
            rows_per_second: decided as f64 * 1_000.0 / took as f64,
            expected_end: per_row.filter(|_| row.ended_at.is_none()).map(|each| until + each.saturating_mul(left)),
            plan: row.plan,
            failure: row.failure,
        }
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
        let chunk_size = within("chunk_size", body.chunk_size, 100)?;
        let at_once = within("max_concurrent_chunks", body.max_concurrent_chunks, MAX_CHUNKS_AT_ONCE)?.unwrap_or(1);
        let workers = within("max_workers", body.max_workers, fresco_pipeline::document::MAX_WORKERS)?;
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

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ErrorName::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_borne_is_a_number_or_a_part() {
        for (given, of_200) in [("12", Some(12)), ("0", Some(0)), ("\"5%\"", Some(10)), ("\"100 %\"", Some(200))] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(Tolerance::read(&value).map(|tolerance| tolerance.of(200)), of_200, "{given}");
        }
        for bad in ["-1", "1.5", "\"5\"", "\"101%\"", "true", "[1]"] {
            assert_eq!(Tolerance::read(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn a_chunk_of_any_batch_has_a_run() {
        let batch = Once { key: "k".to_owned(), asked: String::new() }.run().unwrap();
        assert!(run_of(&batch, 1_000_000, 99).is_ok());
    }
}
