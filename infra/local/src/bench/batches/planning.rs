//! Planning a batch: the function as it is deployed to the local stack, called once for a batch that nobody executes.

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use fresco_engine::platform::Platform;
use fresco_engine::wire::BatchBody;
use fresco_engine::{Fetcher, ROWS, StartError};
use fresco_ledger::traits::{Objects, Upload};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::counts::Counts;
use super::super::seed::prompt;
use super::super::{Bench, BenchError};
use super::pipeline;
use crate::keep::{Keeper, Parts};

/// So many rows are written to the bucket at a time.
const PIECE: usize = 10_000;
/// What the name of the function holds. It has no output of its own.
pub(in super::super) const FUNCTION: &str = "-BatchFunction-";

/// A batch planned.
#[derive(Debug, Clone, Serialize)]
pub struct BatchPlanning {
    /// Its rows.
    pub rows: usize,
    /// How long the rows are together, in bytes.
    pub bytes: usize,
    /// The chunks that they came to.
    pub chunks: u32,
    /// The call of the function, in milliseconds.
    pub took_ms: i64,
    /// The most memory that the function's process had resident during the call, in bytes; absent where the system does not say.
    pub peak_bytes: Option<u64>,
    /// What the call asked for.
    pub requests: Counts,
}

impl Bench {
    pub(super) async fn plan_rows(&self, rows: usize) -> Result<BatchPlanning, BenchError> {
        self.progress.step(format!("writing {rows} rows"));
        let key = format!("{ROWS}bench-{rows}.jsonl");
        let bytes = self.write_rows(&key, rows).await?;
        let batch = self.record_batch(key).await?;
        let before = self.quiet().await?.stack;
        self.progress.step(format!("planning a batch of {rows} rows"));
        let begun = Instant::now();
        self.call_plan(&batch).await?;
        let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let peak_bytes = peak_of(self.stack.instance());
        let requests = self.quiet().await?.stack.minus(&before).without_start_up();
        let plan = self.keeper.engine().batch(&batch).await?.plan;
        let plan = plan.ok_or(BenchError::Unexpected("a batch was planned, and has no plan"))?;
        if (plan.rows, plan.bad_rows, plan.duplicates) != (rows as u64, 0, 0) {
            return Err(BenchError::Unexpected("the rows of the bench are not all good and different"));
        }
        Ok(BatchPlanning { rows, bytes, chunks: plan.chunks, took_ms, peak_bytes, requests })
    }

    /// Puts so many rows into the bucket: how many bytes they are.
    async fn write_rows(&self, key: &str, rows: usize) -> Result<usize, BenchError> {
        let objects = self.keeper.engine().platform.objects();
        let mut upload = objects.upload(key, "application/jsonl").await?;
        let (mut written, mut from) = (0, 1);
        while from <= rows {
            let until = rows.min(from + PIECE - 1);
            let lines: String = (from..=until).map(|number| line(rows, number)).collect();
            written += lines.len();
            upload.write(Bytes::from(lines)).await?;
            from = until + 1;
        }
        upload.finish().await?;
        Ok(written)
    }

    /// Records a batch, and names a state machine to execute it that there is not: it is called for by hand, and its chunks are
    /// left alone.
    async fn record_batch(&self, rows: String) -> Result<RunId, BenchError> {
        let parts = Parts::of(self.stack.outputs());
        let nobody = format!("{}-of-nobody", parts.batch_machine_arn);
        let keeper = Keeper::new(&self.aws, &Parts { batch_machine_arn: nobody, ..parts })?;
        let body = BatchBody { pipeline: Some(pipeline()), rows_key: Some(rows), ..BatchBody::default() };
        match keeper.engine().start_batch(None, body, &Fetcher::default()).await {
            Ok(_) => return Err(BenchError::Unexpected("a state machine that is not there has begun a batch")),
            Err(StartError::Failed(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let newest = self.keeper.engine().batches(1, None).await?.into_iter().next();
        let id = newest.and_then(|batch| RunId::parse(batch.id).ok());
        id.ok_or(BenchError::Unexpected("a batch was not recorded"))
    }

    /// Calls the function, and waits as long as it takes. The SDK's clients of the project are for short calls.
    async fn call_plan(&self, batch: &RunId) -> Result<(), BenchError> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(ErrorName::Internal, format!("planning: {error}"));
        // There may be a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(&error))?;
        let functions = format!("{}/2015-03-31/functions", self.stack.endpoint_url());
        let listed = http.get(format!("{functions}/")).send().await.map_err(|error| failed(&error))?;
        let listed: Value = listed.json().await.map_err(|error| failed(&error))?;
        let names = listed["Functions"].as_array().into_iter().flatten();
        let mut names = names.filter_map(|function| function["FunctionName"].as_str());
        let name = names.find(|name| name.contains(FUNCTION));
        let name = name.ok_or(BenchError::Unexpected("the stack has no function for batches"))?;
        forget_peak(self.stack.instance());
        let event = json!({"phase": "plan", "batch_id": batch});
        let answer = http.post(format!("{functions}/{name}/invocations")).json(&event).send().await;
        let answer: Value = answer.map_err(|error| failed(&error))?.json().await.map_err(|error| failed(&error))?;
        match answer["list"].as_str() {
            Some(_) => Ok(()),
            None => Err(failed(&answer).into()),
        }
    }
}

/// A row as a line of JSON.
fn line(set: usize, number: usize) -> String {
    let input = prompt(&format!("planning a batch of {set}"), number);
    format!("{}\n", json!({"id": format!("row-{number}"), "input": input}))
}

/// The folders in `/proc` of the processes of the function. Their environment names it, and they lie in the stack's folder.
fn processes(instance: &Path) -> Vec<std::path::PathBuf> {
    let instance = fs::canonicalize(instance).unwrap_or_else(|_| instance.to_owned());
    let ours = |process: &std::path::PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.any(|variable| variable.starts_with("AWS_LAMBDA_FUNCTION_NAME=") && variable.contains(FUNCTION))
            && fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(&instance))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.map(|entry| entry.path()).filter(ours).collect()
}

/// Lets the kernel forget the peak so far.
fn forget_peak(instance: &Path) {
    for process in processes(instance) {
        // Where it cannot be forgotten, the peak is that of the process's life: it is never too small.
        let _ = fs::write(process.join("clear_refs"), "5");
    }
}

fn peak_of(instance: &Path) -> Option<u64> {
    let peaks = processes(instance).into_iter().filter_map(|process| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        peak_in(&status)
    });
    peaks.max()
}

/// `VmHWM:     36432 kB`, in bytes.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_read() {
        assert_eq!(peak_in("Name:\tbootstrap\nVmHWM:\t   36432 kB\nVmRSS:\t 1 kB\n"), Some(36_432 * 1_024));
        assert_eq!(peak_in("Name:\tbootstrap\n"), None);
    }

    #[test]
    fn rows_are_lines_and_differ() {
        let (one, two) = (line(10, 1), line(10, 2));
        assert!(one.ends_with("}\n") && one.lines().count() == 1, "{one}");
        assert_ne!(one, two);
    }
}
