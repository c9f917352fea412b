//! Questions about a job that was accepted: its status, its result, its cancellation. fal has three statuses and none for
//! failure: a job that failed or was cancelled is `COMPLETED` as well, and why is in `error_type` or in the result's status.

use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, error_in, json, refused};
use super::errors::{bad_id, is_infrastructure, job_error, status_error, terminal, unavailable};
use super::output;
use crate::http::{Answer, BodyError, MAX_ANSWER};
use crate::provider::{CancelAnswer, CheckError, JobReport, JobState};

/// `GET …/requests/{id}/status`, and when the job is over `GET …/requests/{id}` (fal's Python client, `_parse_status` and
/// `get`). The status comes as 202 while it is not over and as 200 when it is; the body says the same.
pub(super) async fn check(client: &Client, endpoint: &str, request_id: &str) -> Result<JobState, CheckError> {
    let url = client.job_url(endpoint, request_id, "/status").ok_or_else(bad_id)?;
    let answer = client.get(url).await?;
    if is_missing(&answer) {
        return Ok(JobState::Missing);
    }
    if !answer.is_success() {
        return Err(refused(&answer));
    }
    let status = json(&answer)?;
    match status.get("status").and_then(Value::as_str) {
        Some("IN_QUEUE") => Ok(JobState::Queued { position: status.get("queue_position").and_then(Value::as_u64) }),
        Some("IN_PROGRESS") => Ok(JobState::Running),
        Some("COMPLETED") => result(client, endpoint, request_id, &status).await,
        _ => Err(unavailable("fal's status of the job is none of the three it has")),
    }
}

async fn result(client: &Client, endpoint: &str, request_id: &str, status: &Value) -> Result<JobState, CheckError> {
    let error = status.get("error").and_then(Value::as_str).filter(|text| !text.is_empty());
    let error_type = status.get("error_type").and_then(Value::as_str).filter(|text| !text.is_empty());
    // The infrastructure's errors are whole in the status; a model's are only in the result.
    if error_type.is_some_and(is_infrastructure)
        && let Some(report) = status_error(error, error_type)
    {
        return Ok(JobState::Ended(report));
    }
    let url = client.job_url(endpoint, request_id, "").ok_or_else(bad_id)?;
    let answer = client.get(url).await?;
    if answer.is_success() {
        return ended(&answer, status).map(JobState::Ended);
    }
    if is_missing(&answer) {
        return Ok(JobState::Missing);
    }
    let reply = error_in(&answer);
    if reply.is_still_running() {
        return Ok(JobState::Running);
    }
    // These are about the caller unless the body shows that they are the model's: the job's fate is still to be read.
    let about_us = matches!(reply.status, 401 | 402 | 403 | 408 | 429) && !reply.names_job_error();
    if about_us {
        return Err(refused(&answer));
    }
    // A finished job whose result cannot be read has not failed by that.
    match job_error(&reply).filter(|_| !reply.is_of_the_route()) {
        Some(report) => Ok(JobState::Ended(report)),
        // The result cannot be read, and the status already says that the job failed.
        None => match (error, status_error(error, error_type)) {
            (Some(_), Some(report)) => Ok(JobState::Ended(report)),
            _ => Err(refused(&answer)),
        },
    }
}

fn ended(answer: &Answer, status: &Value) -> Result<JobReport, CheckError> {
    if matches!(answer.body, Err(BodyError::TooLong)) {
        let message = format!("fal's result is longer than {MAX_ANSWER} bytes");
        return Ok(JobReport::Failed { failure: Failure::new(ErrorName::OutputInvalid, message), billed: true });
    }
    let payload = json(answer)?;
    let units = answer.headers.get("x-fal-billable-units").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let units = units.filter(|units: &f64| units.is_finite() && *units >= 0.0);
    let seconds = status.pointer("/metrics/inference_time").and_then(Value::as_f64);
    Ok(output::report(&payload, units, seconds))
}

/// `404 {"status":"NOT_FOUND"}` (fal docs, queue status and cancel). Any other 404 is not about the id.
fn is_missing(answer: &Answer) -> bool {
    answer.status == 404 && status_word(answer).as_deref() == Some("NOT_FOUND")
}

fn status_word(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(answer.body.as_ref().ok()?).ok()?;
    Some(body.get("status")?.as_str()?.to_owned())
}

/// `PUT …/requests/{id}/cancel` (fal's JS client, `queue.cancel`). 202 is the documented answer; a newer description has
/// 200 for a job that was taken straight out of the queue.
pub(super) async fn cancel(client: &Client, endpoint: &str, request_id: &str) -> Result<CancelAnswer, CheckError> {
    let url = client.job_url(endpoint, request_id, "/cancel").ok_or_else(bad_id)?;
    let request = client.request(Method::PUT, url).await.map_err(terminal)?;
    let answer = client.ask(request.header("content-length", "0")).await?;
    match answer.status {
        200 | 202 => Ok(CancelAnswer::Requested),
        400 if status_word(&answer).as_deref() == Some("ALREADY_COMPLETED") => Ok(CancelAnswer::TooLate),
        _ if is_missing(&answer) => Ok(CancelAnswer::Missing),
        _ => Err(refused(&answer)),
    }
}
