//! The planning and the finalization of a batch: one invocation each of the batch function, in a new process, for a batch
//! without an execution. The results of its chunks are written by the tool, a generated picture for each row.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use fresco_api_types::{BatchBody, RowOutput, RowResult, RowStatus};
use fresco_engine::platform::{OutputPlace, Platform};
use fresco_engine::{Fetcher, IdempotencyKey, ROWS, StartError};
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::{Objects, Upload};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::batches::pipeline;
use super::counts::Counts;
use super::meter::{BATCH_FUNCTION, Meter, WITHIN, prompt};
use crate::StackAdmin;
use crate::tool_stack::{ToolStack, until};

/// Rows are written to the bucket in pieces of this many.
const PIECE: usize = 10_000;
const WRITES_AT_ONCE: usize = 64;

/// Both invocations for a batch of that many rows.
#[derive(Debug)]
pub(super) struct BatchEnds {
    pub(super) rows: usize,
    pub(super) plan: Invocation,
    pub(super) finalize: Invocation,
}

/// One invocation of the batch function.
#[derive(Debug)]
pub(super) struct Invocation {
    /// The size of its input, in bytes.
    pub(super) bytes: usize,
    pub(super) took_ms: i64,
    /// The most memory that its process had resident, in bytes; `None` where `/proc` does not exist.
    pub(super) peak_bytes: Option<u64>,
    pub(super) counts: Counts,
}

impl Meter {
    pub(super) async fn batch_ends(&self, rows: usize) -> anyhow::Result<BatchEnds> {
        eprintln!("planning and finalizing a batch of {rows} rows");
        let key = format!("{ROWS}cost-{rows}.jsonl");
        let bytes = self.write_rows(&key, rows).await?;
        let batch = self.record_batch(key).await?;
        let plan = self.invoke(bytes, &json!({"phase": "plan", "batch_id": batch})).await?;
        let planned = self.tools.admin.engine().batches.view(&batch).await?.plan.context("the batch has no plan")?;
        ensure!((planned.rows, planned.bad_rows, planned.duplicates) == (rows as u64, 0, 0), "{planned:?}");
        let chunk_size = planned.chunk_size.max(1) as usize;
        let writes = (0..planned.chunks as usize).map(|chunk| {
            let numbers = chunk * chunk_size + 1..=rows.min((chunk + 1) * chunk_size);
            self.write_results(&batch, chunk, numbers)
        });
        let written = futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
        let bytes = written.try_fold(0, |sum, bytes| async move { Ok(sum + bytes) }).await?;
        let finalize = self.invoke(bytes, &json!({"phase": "finish", "batch_id": batch})).await?;
        let objects = self.tools.admin.engine().platform.objects();
        let results = objects.head(&format!("batches/{batch}/results.jsonl")).await?.context("no results")?;
        ensure!(results.bytes == bytes as u64, "the results have {} bytes, not {bytes}", results.bytes);
        Ok(BatchEnds { rows, plan, finalize })
    }

    async fn write_rows(&self, key: &str, rows: usize) -> anyhow::Result<usize> {
        let mut upload = self.tools.admin.engine().platform.objects().upload(key, "application/jsonl").await?;
        let mut written = 0;
        for from in (1..=rows).step_by(PIECE) {
            let line = |number| format!("{}\n", json!({"id": format!("row-{number}"), "input": input(number)}));
            let lines: String = (from..=rows.min(from + PIECE - 1)).map(line).collect();
            written += lines.len();
            upload.write(Bytes::from(lines)).await?;
        }
        upload.finish().await?;
        Ok(written)
    }

    /// Records a batch whose state machine does not exist, so that nothing executes it.
    async fn record_batch(&self, rows_key: String) -> anyhow::Result<RunId> {
        let ToolStack { stack, aws, admin, .. } = &self.tools;
        let machine = format!("{}-missing", stack.output("BatchMachineArn"));
        let without_machine = StackAdmin::with_batch_machine(aws, stack, &machine)?;
        // Without an idempotency key, a batch that cannot be executed is closed.
        let once = IdempotencyKey { key: rows_key.clone(), request_hash: String::new() };
        let body = BatchBody { pipeline: Some(pipeline()), rows_key: Some(rows_key), ..BatchBody::default() };
        match without_machine.engine().batches.start(Some(&once), body, &Fetcher::default()).await {
            Ok(_) => bail!("a batch was started by a state machine that does not exist"),
            Err(StartError::Failed(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let newest = admin.engine().batches.list(1, None).await?.into_iter().next().context("no batch was recorded")?;
        Ok(RunId::parse(newest.id)?)
    }

    /// Writes the results of a chunk with these rows, and returns their size.
    async fn write_results(
        &self,
        batch: &RunId,
        chunk: usize,
        rows: std::ops::RangeInclusive<usize>,
    ) -> anyhow::Result<usize> {
        let mut lines = Vec::new();
        for number in rows {
            serde_json::to_writer(&mut lines, &result(number))?;
            lines.push(b'\n');
        }
        let (objects, bytes) = (self.tools.admin.engine().platform.objects(), lines.len());
        objects.put(&format!("batches/{batch}/parts/{chunk}.jsonl"), lines.into(), "application/jsonl").await?;
        Ok(bytes)
    }

    /// Invokes the function and waits for as long as it takes, which the AWS clients of the project do not.
    async fn invoke(&self, bytes: usize, event: &Value) -> anyhow::Result<Invocation> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let function = self.function_in_a_new_process(&http).await?;
        let before = self.idle().await?;
        let started = Instant::now();
        let answer = json_of(http.post(format!("{function}/invocations")).json(event)).await?;
        let took_ms = i64::try_from(started.elapsed().as_millis())?;
        let peak_bytes = peak_of(self.tools.stack.instance());
        ensure!(answer.get("errorType").is_none(), "the batch function failed: {answer}");
        let counts = self.idle().await?.minus(&before).without_start_up();
        Ok(Invocation { bytes, took_ms, peak_bytes, counts })
    }

    /// Returns the function's URL, after a change of its configuration: its next invocation starts a new process.
    async fn function_in_a_new_process(&self, http: &reqwest::Client) -> anyhow::Result<String> {
        let functions = format!("{}/2015-03-31/functions", self.tools.stack.endpoint_url());
        let listed = json_of(http.get(format!("{functions}/"))).await?;
        let mut all = listed["Functions"].as_array().into_iter().flatten();
        let is_batch = |one: &&Value| one["FunctionName"].as_str().is_some_and(|name| name.contains(BATCH_FUNCTION));
        let found = all.find(is_batch).context("the stack has no batch function")?;
        let function = format!("{functions}/{}", found["FunctionName"].as_str().unwrap_or_default());
        let same = json!({"Timeout": found["Timeout"]});
        json_of(http.put(format!("{function}/configuration")).json(&same)).await?;
        until("the batch function", WITHIN, async || {
            let now = json_of(http.get(format!("{function}/configuration"))).await?;
            Ok((now["State"] == "Active").then_some(()))
        })
        .await?;
        Ok(function)
    }
}

async fn json_of(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

/// The largest peak of the function's processes, by Linux's `/proc`. Their environment names the function, and their
/// executable lies in the stack's folder.
fn peak_of(instance: &Path) -> Option<u64> {
    let instance = fs::canonicalize(instance).ok()?;
    let is_ours = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.any(|variable| variable.starts_with("AWS_LAMBDA_FUNCTION_NAME=") && variable.contains(BATCH_FUNCTION))
            && fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(&instance))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    processes
        .filter(|process| is_ours(process))
        .filter_map(|process| peak_in(&fs::read_to_string(process.join("status")).ok()?))
        .max()
}

/// Parses `VmHWM:     36432 kB`, in bytes.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

fn input(number: usize) -> String {
    prompt("the rows of a batch", number)
}

/// The result of a row of which a picture was generated.
fn result(number: usize) -> RowResult {
    let key = ContentKey::digest(input(number).as_bytes());
    let place = OutputPlace { kind: MediaKind::Image, key, attempt: Attempt::NONE.next(), index: 0 };
    let picture = RowOutput {
        step: "picture".to_owned(),
        key: place.object_key("png"),
        content_type: "image/png".to_owned(),
        bytes: 1_400_000 + number as u64 % 1_000,
        sha256: ContentKey::digest(&number.to_le_bytes()).to_string(),
    };
    RowResult {
        row: number as u64,
        id: Some(format!("row-{number}")),
        status: RowStatus::Done,
        source: Some(ResultSource::Generated),
        took_ms: Some(2_500 + number as i64 * 7 % 1_000),
        cost: 3_000,
        outputs: vec![picture],
        shortfalls: BTreeMap::new(),
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_parsed() {
        assert_eq!(peak_in("Name:\tbootstrap\nVmHWM:\t   36432 kB\nVmRSS:\t 1 kB\n"), Some(36_432 * 1_024));
        assert_eq!(peak_in("Name:\tbootstrap\n"), None);
    }

    #[test]
    fn each_row_has_a_picture_of_its_own() {
        let (one, two) = (result(1), result(2));
        assert_ne!(one.outputs[0].key, two.outputs[0].key);
        let line = serde_json::to_string(&one).unwrap();
        assert!((300..400).contains(&line.len()), "{} bytes: {line}", line.len());
        assert_eq!(serde_json::from_str::<RowResult>(&line).unwrap(), one);
    }
}
