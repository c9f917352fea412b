//! Submission: one POST and what its outcome proves. The line is drawn by what may have reached the queue: before the
//! request was written nothing runs; after that only an answer that says so proves that nothing runs.

use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, error_in, is_request_id};
use super::errors::{submit_error, throttled_in_disguise};
use super::input;
use crate::http::{self, Answer, BodyError};
use crate::provider::{Accepted, SubmitError};
use crate::submission::Submission;

/// `POST {queue}/{endpoint}?fal_webhook=…` with the model's input as the body (fal's JS client, `queue.submit`).
pub(super) async fn submit(client: &Client, submission: &Submission) -> Result<Accepted, SubmitError> {
    let refused = |failure| SubmitError::Rejected { failure, retry_after: None, billed: false };
    let Some(mut url) = client.submit_url(&submission.request.endpoint) else {
        return Err(refused(Failure::new(ErrorName::ProviderNotFound, "the endpoint cannot be one of fal's")));
    };
    let body = input::body(submission).map_err(refused)?;
    if let Some(webhook) = &submission.webhook_url {
        url.query_pairs_mut().append_pair("fal_webhook", webhook);
    }
    // `X-Fal-No-Retry` is not set: fal's own retries of a job run under the same request id and are not billed twice.
    let request = client.request(Method::POST, url).await.map_err(refused)?;
    let request = request.header("x-fal-queue-priority", "normal").json(&body);
    let answer = match request.send().await {
        Ok(response) => Answer::read(response).await,
        // The connection, TLS included, never stood, so not a byte of the request left.
        Err(error) if error.is_connect() || error.is_builder() => {
            let message = format!("fal: {}", http::describe(error));
            return Err(refused(Failure::new(ErrorName::ProviderUnavailable, message)));
        }
        Err(error) => return Err(SubmitError::Unknown { message: format!("fal: {}", http::describe(error)) }),
    };
    if answer.is_success() {
        return accepted(&answer);
    }
    if answer.status == 401 {
        client.forget_key().await;
    }
    Err(submit_error(&error_in(&answer)))
}

/// The reply to an accepted submission. All that is kept of it is `request_id`; the URLs beside it are built again when
/// they are needed.
fn accepted(answer: &Answer) -> Result<Accepted, SubmitError> {
    let unknown = |message: &str| SubmitError::Unknown { message: message.to_owned() };
    let body = match &answer.body {
        Ok(body) => body,
        Err(BodyError::TooLong) => return Err(unknown("fal's reply to the submission is far too long")),
        Err(BodyError::Broken(reason)) => return Err(unknown(&format!("fal's reply to the submission: {reason}"))),
    };
    let Ok(reply) = serde_json::from_slice::<Value>(body) else {
        return Err(unknown("fal's reply to the submission is not JSON"));
    };
    match reply.get("request_id").and_then(Value::as_str) {
        Some(id) if is_request_id(id) => Ok(Accepted::Queued { request_id: id.to_owned() }),
        Some(_) => Err(unknown("fal's reply to the submission has a request id that cannot be one")),
        None => Err(throttled_in_disguise(answer.status, &answer.headers, &reply)
            .unwrap_or_else(|| unknown("fal's reply to the submission has no request id"))),
    }
}
