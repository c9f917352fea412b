//! The trait that every provider implements and the answers that come back through it; what is asked is in `submission`.
//! Together they are the whole vocabulary between a provider's wire format and the ledger: nothing here knows HTTP status
//! codes, and nothing here does I/O.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_pipeline::request::GenerationRequest;
use serde::{Deserialize, Serialize};

use crate::submission::{InputForm, Submission};

/// A service that generates media for money. No method retries anything: retries live in the state machine and the ledger.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name of the provider.
    fn name(&self) -> ProviderName;

    /// Whether jobs can be found by listing. It decides how a submission with an unknown outcome ends.
    fn can_find(&self) -> bool;

    /// The form in which it takes media.
    fn input_form(&self) -> InputForm;

    /// Asks for one job: exactly one POST. On [`SubmitError::Unknown`] the job may exist.
    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError>;

    /// Asks for the state of a job; with its report when it has ended. Never gives [`JobReport::NotIncluded`].
    async fn check(&self, endpoint: &str, request_id: &str) -> Result<JobState, CheckError>;

    /// Finds the jobs of ours that could be this request's, oldest first. Empty only if the whole span was seen.
    /// `not_before_ms` is the instant of the submission less the skew of clocks, in milliseconds since the epoch.
    async fn find(&self, request: &GenerationRequest, not_before_ms: i64) -> Result<Vec<FoundJob>, CheckError>;

    /// Asks for a job to be cancelled. It is over only when a check or a webhook says so.
    async fn cancel(&self, endpoint: &str, request_id: &str) -> Result<CancelAnswer, CheckError>;

    /// Verifies a webhook and reads it. Nothing in the request is believed before the signature and the account are right.
    async fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookReport, WebhookError>;
}

/// The provider has taken the job.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// It works on it under this id.
    Queued { request_id: String },
    /// It answered at once.
    Done(JobReport),
}

/// The provider has not accepted the job, or that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Surely not accepted: nothing runs. Whether it may be tried again is the class of the failure's name.
    #[error("{failure}")]
    Rejected {
        failure: Failure,
        /// The pause that the provider asked for.
        retry_after: Option<Duration>,
        /// Whether the refusal itself may have cost money.
        billed: bool,
    },
    /// It may have been accepted: the reply was lost, broken or ambiguous.
    #[error("it is not known whether the job was accepted: {message}")]
    Unknown { message: String },
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// Accepted, not started.
    Queued {
        /// The number of jobs before it.
        position: Option<u64>,
    },
    /// Being worked on.
    Running,
    /// Over, one way or another.
    Ended(JobReport),
    /// The provider does not know the id.
    Missing,
}

/// The report of a job's end. It is stored on the attempt by the webhook function and read by collect. Its `Debug` shows no text that
/// was generated.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum JobReport {
    /// The media exist at the provider.
    Succeeded {
        /// In the provider's order, without those that it blanked.
        media: Vec<RemoteMedia>,
        /// The number of outputs that the provider's filter blanked.
        #[serde(default, skip_serializing_if = "is_zero")]
        blanked: u32,
        /// The units that the provider bills, of its own price, where it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        billable_units: Option<f64>,
        /// The duration of the generation itself in seconds, where the provider says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The answer is a text, and this is the whole of it.
    TextOutput {
        /// The text. It fits into a row: what is longer is a failure.
        text: String,
        /// The tokens of the prompt, where the provider says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// The tokens of the answer and of the model's thoughts, where the provider says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// Whether it was cut off at the limit of its length.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// There are neither media nor a text.
    Failed {
        failure: Failure,
        /// Whether it may have been billed all the same.
        billed: bool,
    },
    /// It was cancelled.
    Cancelled {
        /// Whether it may have been billed all the same.
        billed: bool,
    },
    /// The provider says that it ended, and its message does not hold the result: fetch it with [`Provider::check`].
    NotIncluded,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl std::fmt::Debug for JobReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JobReport::Succeeded { media, blanked, billable_units, seconds } => f
                .debug_struct("Succeeded")
                .field("media", media)
                .field("blanked", blanked)
                .field("billable_units", billable_units)
                .field("seconds", seconds)
                .finish(),
            JobReport::TextOutput { text, input_tokens, output_tokens, seconds, cut } => f
                .debug_struct("TextOutput")
                .field("bytes", &text.len())
                .field("cut", cut)
                .field("input_tokens", input_tokens)
                .field("output_tokens", output_tokens)
                .field("seconds", seconds)
                .finish(),
            JobReport::Failed { failure, billed } => {
                f.debug_struct("Failed").field("failure", failure).field("billed", billed).finish()
            }
            JobReport::Cancelled { billed } => f.debug_struct("Cancelled").field("billed", billed).finish(),
            JobReport::NotIncluded => f.write_str("NotIncluded"),
        }
    }
}

/// A media object at the provider. Its `Debug` does not show the URL, which may be a signed one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMedia {
    pub url: String,
    /// The media type by the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The size that the provider says it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The width in pixels that the provider says it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The height in pixels that the provider says it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

impl std::fmt::Debug for RemoteMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteMedia")
            .field("content_type", &self.content_type)
            .field("bytes", &self.bytes)
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// The provider could not be asked. It says nothing about the job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct CheckError {
    pub failure: Failure,
    /// The pause that the provider asked for.
    pub retry_after: Option<Duration>,
}

/// A job that could be the one looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundJob {
    pub request_id: String,
    /// The instant of the submission by the provider, in milliseconds since the epoch.
    pub sent_at_ms: i64,
    pub ended: bool,
}

/// The provider's answer to a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It will try. A running job may still finish, and be billed.
    Requested,
    /// The job had ended.
    TooLate,
    /// The provider does not know the id.
    Missing,
}

/// A request to the webhook route, as it came. Its `Debug` shows neither headers' values nor the body.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    pub headers: Vec<(String, String)>,
    /// The raw body: the signature is over these bytes.
    pub body: Bytes,
    /// Now, in milliseconds since the epoch.
    pub now_ms: i64,
}

impl std::fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookRequest")
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("bytes", &self.body.len())
            .field("now_ms", &self.now_ms)
            .finish()
    }
}

/// A webhook that verified. That the request is one of ours is for the ledger to find out.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookReport {
    /// The id that the submission got.
    pub request_id: String,
    /// The id under which the provider worked last, where it differs (after its own retries).
    pub gateway_request_id: Option<String>,
    pub report: JobReport,
}

/// The reason why a webhook is refused. [`WebhookError::status`] is what to answer, [`WebhookError::code`] what to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WebhookError {
    /// A header that the signature needs is absent, given twice or not of its form.
    #[error("a signature header is absent, given twice or malformed")]
    Unsigned,
    /// It is signed for another account.
    #[error("the webhook is for another account")]
    NotOurs,
    /// Its time is too far from ours.
    #[error("the webhook's time is more than five minutes off")]
    Stale,
    /// No key of the provider's made the signature.
    #[error("no key of the provider's made the signature")]
    BadSignature,
    /// It is the provider's, and not of a form that is known.
    #[error("the webhook's body cannot be read")]
    Malformed,
    /// The provider's keys could not be had; the delivery may be tried again.
    #[error("the provider's signing keys could not be fetched")]
    KeysUnavailable,
}

impl WebhookError {
    /// A stable code for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            WebhookError::Unsigned => "webhook_unsigned",
            WebhookError::NotOurs => "webhook_not_ours",
            WebhookError::Stale => "webhook_stale",
            WebhookError::BadSignature => "webhook_bad_signature",
            WebhookError::Malformed => "webhook_malformed",
            WebhookError::KeysUnavailable => "webhook_keys_unavailable",
        }
    }

    /// The HTTP status to answer with. Whatever an outsider can cause is one and the same 401; only 503 asks for
    /// another delivery.
    pub const fn status(self) -> u16 {
        match self {
            WebhookError::Unsigned | WebhookError::NotOurs | WebhookError::Stale | WebhookError::BadSignature => 401,
            WebhookError::Malformed => 400,
            WebhookError::KeysUnavailable => 503,
        }
    }
}
