//! The faults that can be asked for, in the form that `POST /_control/faults` takes. The tables of README.md say what a
//! client sees of each.

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use crate::fal::model_error;
use crate::fal::platform_error::PlatformError;

/// The longest that a fault may take, in seconds.
const LONGEST_SECONDS: f64 = 86_400.0;
/// The most deliveries of one webhook.
const LARGEST_BURST: u32 = 1_000;

/// One fault with its own fields. `seconds` are real seconds, whatever the scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Fault {
    // Submission, refused: nothing is accepted.
    Unauthorized,
    ExhaustedBalance,
    Forbidden,
    NotFound,
    Validation,
    ContentPolicySubmit,
    Throttled {
        /// In seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    #[serde(rename = "throttled_200")]
    #[strum(serialize = "throttled_200")]
    Throttled200,
    DailyQuota,
    ServerError {
        /// 500 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    #[serde(rename = "html_502")]
    #[strum(serialize = "html_502")]
    Html502,
    Infrastructure {
        error_type: PlatformError,
    },
    CutBefore,
    // Submission, accepted: the request goes on, and the reply is broken.
    CutAfter,
    ReplyNever {
        #[serde(default = "half_a_minute")]
        seconds: f64,
    },
    SlowReply {
        seconds: f64,
    },
    BrokenJson,
    NoRequestId,
    // Work.
    ModelError {
        r#type: String,
        /// 400 to 599; a documented type has its own.
        #[serde(default)]
        status: Option<u16>,
        #[serde(default)]
        retryable: Option<bool>,
    },
    InfrastructureEnd {
        error_type: PlatformError,
    },
    PayloadNull {
        /// 200, or 400 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    PayloadError,
    Nsfw {
        /// The number of pictures that are blanked, from the first; all by default.
        #[serde(default)]
        pictures: Option<usize>,
    },
    NoMedia,
    FewMedia {
        /// The number of files that are left.
        files: usize,
    },
    NeverStarts,
    NeverEnds,
    Slow {
        seconds: f64,
    },
    Blocked {
        /// `promptFeedback.blockReason`.
        #[serde(default = "safety")]
        reason: String,
    },
    Safety {
        /// `finishReason`.
        #[serde(default = "safety")]
        reason: String,
        /// The length of the text before it.
        #[serde(default)]
        characters: usize,
    },
    Empty,
    MaxTokens {
        #[serde(default)]
        characters: usize,
    },
    // Status, result, listing, keys.
    StatusError {
        /// 400 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    StatusHtml,
    StatusCut,
    ResultError {
        /// 400 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    ResultHtml,
    ResultCut,
    Missing,
    ListingError {
        /// 400 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    ListingHides,
    KeysError {
        /// 400 to 599.
        #[serde(default = "internal_server_error")]
        status: u16,
    },
    // Media.
    MediaStatus {
        /// 400 to 599.
        #[serde(default = "not_found")]
        status: u16,
    },
    MediaTruncated,
    MediaShort,
    MediaEmpty,
    MediaWrongType,
    MediaMislabelled,
    MediaOversized {
        /// The length in all.
        bytes: u64,
        /// Whether the length is announced.
        #[serde(default = "yes")]
        length: bool,
    },
    MediaWrongLength {
        /// Bytes that are added to the announced length.
        #[serde(default = "a_thousand")]
        by: i64,
    },
    MediaNoLength,
    MediaRedirect {
        location: String,
    },
    MediaSlow {
        seconds: f64,
    },
    MediaUrl {
        url: String,
    },
    // Webhook. `instead`: the genuine webhook is not delivered.
    WebhookLost,
    WebhookTwice,
    WebhookBurst {
        /// 1 to 1000.
        #[serde(default = "fifty")]
        count: u32,
    },
    WebhookLate {
        seconds: f64,
    },
    WebhookBeforeReply {
        #[serde(default = "half_a_minute")]
        seconds: f64,
    },
    WebhookReordered {
        #[serde(default)]
        seconds: Option<f64>,
    },
    WebhookForgedSignature {
        #[serde(default)]
        instead: bool,
    },
    WebhookWrongUser {
        #[serde(default)]
        instead: bool,
    },
    WebhookStale {
        #[serde(default)]
        instead: bool,
    },
    WebhookUnknownRequest {
        #[serde(default)]
        instead: bool,
    },
    WebhookWrongToken {
        #[serde(default)]
        instead: bool,
    },
    // Cancel.
    CancelTooLate,
    CancelNotFound,
    CancelIgnored,
    #[serde(rename = "cancel_200")]
    #[strum(serialize = "cancel_200")]
    Cancel200,
}

impl Fault {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The name of the field whose value makes no sense, if there is one.
    pub(super) fn field_out_of_bounds(&self) -> Option<&'static str> {
        let is_error = |status: &u16| (400..600).contains(status);
        let is_long_enough = |seconds: &f64| (0.0..=LONGEST_SECONDS).contains(seconds);
        let (field, is_sound) = match self {
            Self::ServerError { status } => ("status", (500..600).contains(status)),
            Self::ModelError { r#type, status: None, .. } => ("status", model_error::status(r#type).is_some()),
            Self::PayloadNull { status } => ("status", *status == 200 || is_error(status)),
            Self::ModelError { status: Some(status), .. }
            | Self::StatusError { status }
            | Self::ResultError { status }
            | Self::ListingError { status }
            | Self::KeysError { status }
            | Self::MediaStatus { status } => ("status", is_error(status)),
            Self::ReplyNever { seconds }
            | Self::SlowReply { seconds }
            | Self::Slow { seconds }
            | Self::MediaSlow { seconds }
            | Self::WebhookLate { seconds }
            | Self::WebhookBeforeReply { seconds }
            | Self::WebhookReordered { seconds: Some(seconds) } => ("seconds", is_long_enough(seconds)),
            // It becomes a header.
            Self::MediaRedirect { location } => ("location", HeaderValue::from_str(location).is_ok()),
            Self::WebhookBurst { count } => ("count", (1..=LARGEST_BURST).contains(count)),
            _ => return None,
        };
        (!is_sound).then_some(field)
    }
}

fn internal_server_error() -> u16 {
    500
}

fn not_found() -> u16 {
    404
}

fn half_a_minute() -> f64 {
    30.0
}

fn fifty() -> u32 {
    50
}

fn a_thousand() -> i64 {
    1000
}

fn yes() -> bool {
    true
}

fn safety() -> String {
    "SAFETY".to_owned()
}
