//! One call of the function of batches as it is deployed to the local stack, in a process of its own: how long it takes, how much
//! memory its process comes to, and what it asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fresco_pipeline::error::{ErrorName, Failure};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::counts::Counts;
use super::super::{Bench, BenchError, until};

/// What the name of the function holds. It has no output of its own.
pub(in super::super) const FUNCTION: &str = "-BatchFunction-";

/// A call of the function.
#[derive(Debug, Clone, Serialize)]
pub struct BatchCall {
    /// The rows of its batch.
    pub rows: usize,
    /// How long what it reads of them or makes of them is, in bytes.
    pub bytes: usize,
    /// The chunks of the batch.
    pub chunks: u32,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// The most memory that its process had resident, in bytes; absent where the system does not say.
    pub peak_bytes: Option<u64>,
    /// What it asked for.
    pub requests: Counts,
}

/// What is measured of a call, whatever it is for.
pub(super) struct Measured {
    pub(super) answer: Value,
    pub(super) took_ms: i64,
    pub(super) peak_bytes: Option<u64>,
    pub(super) requests: Counts,
}

impl Measured {
    pub(super) fn of(self, rows: usize, bytes: usize, chunks: u32) -> BatchCall {
        let Measured { took_ms, peak_bytes, requests, .. } = self;
        BatchCall { rows, bytes, chunks, took_ms, peak_bytes, requests }
    }
}

impl Bench {
    /// Calls the function, and waits as long as it takes. The SDK's clients of the project are for short calls.
    pub(super) async fn call(&self, event: &Value) -> Result<Measured, BenchError> {
        // There may be a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
        let function = self.renewed(&http).await?;
        let before = self.quiet().await?.stack;
        let begun = Instant::now();
        let answer = answered(http.post(format!("{function}/invocations")).json(event)).await?;
        let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let peak_bytes = peak_of(self.stack.instance());
        let requests = self.quiet().await?.stack.minus(&before).without_start_up();
        if answer.get("errorType").is_some() {
            return Err(failed(answer).into());
        }
        if requests.functions.len() != 1 {
            return Err(BenchError::Unexpected("a batch that nobody executes called another function than its own"));
        }
        Ok(Measured { answer, took_ms, peak_bytes, requests })
    }

    /// The address of the function, whose next call begins in a new process: an earlier one keeps what its calls came to.
    async fn renewed(&self, http: &reqwest::Client) -> Result<String, BenchError> {
        let functions = format!("{}/2015-03-31/functions", self.stack.endpoint_url());
        let listed = answered(http.get(format!("{functions}/"))).await?;
        let mut all = listed["Functions"].as_array().into_iter().flatten();
        let named = |function: &&Value| function["FunctionName"].as_str().is_some_and(|name| name.contains(FUNCTION));
        let found = all.find(named).ok_or(BenchError::Unexpected("the stack has no function for batches"))?;
        let function = format!("{functions}/{}", found["FunctionName"].as_str().unwrap_or_default());
        // Whatever its configuration is set to, and be it what it was: processes of the one before are not called any more.
        let same = json!({"Timeout": found["Timeout"]});
        answered(http.put(format!("{function}/configuration")).json(&same)).await?;
        until("the function of batches", async || {
            let now = answered(http.get(format!("{function}/configuration"))).await?;
            Ok((now["State"] == "Active").then_some(()))
        })
        .await?;
        Ok(function)
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<Value, BenchError> {
    let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    Ok(answer.json().await.map_err(failed)?)
}

fn failed(cause: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::Internal, format!("the function of batches: {cause}"))
}

/// The folders in `/proc` of the processes of the function. Their environment names it, and they lie in the stack's folder.
fn processes(instance: &Path) -> Vec<PathBuf> {
    let instance = fs::canonicalize(instance).unwrap_or_else(|_| instance.to_owned());
    let ours = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.any(|variable| variable.starts_with("AWS_LAMBDA_FUNCTION_NAME=") && variable.contains(FUNCTION))
            && fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(&instance))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.map(|entry| entry.path()).filter(ours).collect()
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
}
