//! The faults by the stage of a request that they strike, with their names and fields. The names are what
//! `POST /_control/faults` takes; what a client then sees is written where the stage is carried out.

use serde::{Deserialize, Serialize};

use crate::fal::infrastructure::Infrastructure;

/// A fault of any stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fault {
    /// The submission.
    Submit(SubmitFault),
    /// The work, and what it comes to.
    Work(WorkFault),
    /// Questions for status, result, listing and keys.
    Poll(PollFault),
    /// Outputs and their downloads.
    Media(MediaFault),
    /// The webhook of a request that has ended.
    Webhook(WebhookFault),
    /// The cancellation.
    Cancel(CancelFault),
}

impl Fault {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submit(fault) => fault.name(),
            Self::Work(fault) => fault.name(),
            Self::Poll(fault) => fault.name(),
            Self::Media(fault) => fault.name(),
            Self::Webhook(fault) => fault.name(),
            Self::Cancel(fault) => fault.name(),
        }
    }

    /// The names of all faults, by stage.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let stages = [
            SubmitFault::NAMES,
            WorkFault::NAMES,
            PollFault::NAMES,
            MediaFault::NAMES,
            WebhookFault::NAMES,
            CancelFault::NAMES,
        ];
        stages.into_iter().flatten().copied()
    }
}

/// Makes the faults of one stage: the type, the names, and the way into [`Fault`].
macro_rules! stage {
    (
        $(#[$doc:meta])* $stage:ident as $within:ident:
        $( $(#[$about:meta])* $name:literal $kind:ident
            $({ $( $(#[$field_about:meta])* $field:ident : $type:ty ),+ $(,)? })? ; )+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "fault")]
        pub enum $stage {
            $( $(#[$about])* #[serde(rename = $name)] $kind $({ $( $(#[$field_about])* $field: $type ),+ })? ),+
        }

        impl $stage {
            /// The names of the stage's faults.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The stable name.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$kind $({ $($field: _),+ })? => $name ),+
                }
            }
        }

        impl From<$stage> for Fault {
            fn from(fault: $stage) -> Self {
                Self::$within(fault)
            }
        }
    };
}

stage! {
    /// What becomes of a submission. Those that let it be accepted say so; the others refuse it.
    SubmitFault as Submit:
    /// The key is refused.
    "unauthorized" Unauthorized;
    /// The account has no money left.
    "exhausted_balance" ExhaustedBalance;
    /// The key may not use the endpoint.
    "forbidden" Forbidden;
    /// The endpoint is not there.
    "not_found" NotFound;
    /// The input is refused at once, not in the result.
    "validation" Validation;
    /// The prompt is refused at once.
    "content_policy_submit" ContentPolicySubmit;
    /// Too many requests.
    "throttled" Throttled {
        /// The hint, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    };
    /// The same refusal under status 200.
    "throttled_200" Throttled200;
    /// The quota of the day is used up (Gemini).
    "daily_quota" DailyQuota;
    /// A server error with a JSON body.
    "server_error" ServerError {
        /// 500 to 599.
        #[serde(default = "internal")]
        status: u16,
    };
    /// The page of a proxy.
    "html_502" Html502;
    /// The platform names what it failed at.
    "infrastructure" Infrastructure {
        /// One of fal's types of infrastructure errors.
        error_type: Infrastructure,
    };
    /// The connection closes, and nothing was accepted.
    "cut_before" CutBefore;
    /// Accepted; the connection closes without a reply.
    "cut_after" CutAfter;
    /// Accepted; no reply until the client gives up or the time is over.
    "reply_never" ReplyNever {
        /// After so long the connection closes.
        #[serde(default = "patience")]
        seconds: f64,
    };
    /// Accepted; the body of the reply comes in pieces.
    "slow_reply" SlowReply {
        /// How long it takes.
        seconds: f64,
    };
    /// Accepted; the body of the reply is half a JSON document.
    "broken_json" BrokenJson;
    /// Accepted; the reply does not tell the request id.
    "no_request_id" NoRequestId;
}

stage! {
    /// What becomes of the work. Decided when the request is accepted.
    WorkFault as Work:
    /// The model ends with an error.
    "model_error" ModelError {
        /// The type in `detail`.
        r#type: String,
        /// The status of the result; a known type has its own.
        #[serde(default)]
        status: Option<u16>,
        /// `X-Fal-Retryable`; by default true for 5xx.
        #[serde(default)]
        retryable: Option<bool>,
    };
    /// The platform ends it.
    "infrastructure_end" InfrastructureEnd {
        /// One of fal's types of infrastructure errors.
        error_type: Infrastructure,
    };
    /// Done and billed, but the output is lost: the webhook carries `null`, and so does the result.
    "payload_null" PayloadNull {
        /// The status of the result: 500, or 200 with the body `null`.
        #[serde(default = "internal")]
        status: u16,
    };
    /// The webhook carries a `payload_error`; the result can be fetched.
    "payload_error" PayloadError;
    /// The safety check blanked every picture.
    "nsfw" Nsfw;
    /// Done and billed, but there is no file in the output.
    "no_media" NoMedia;
    /// It stays in the queue.
    "never_starts" NeverStarts;
    /// It stays in progress and keeps its place there.
    "never_ends" NeverEnds;
    /// The work takes so long, whatever the scale.
    "slow" Slow {
        /// How long.
        seconds: f64,
    };
    /// The prompt is blocked (Gemini).
    "blocked" Blocked {
        /// `promptFeedback.blockReason`.
        #[serde(default = "safety")]
        reason: String,
    };
    /// The answer is withheld (Gemini).
    "safety" Safety;
    /// The answer has no parts (Gemini).
    "empty" Empty;
    /// The answer is cut at the limit of tokens (Gemini).
    "max_tokens" MaxTokens {
        /// So much of the text is left; with 0 there is no part at all.
        #[serde(default)]
        characters: usize,
    };
}

stage! {
    /// What becomes of a question for status, result, listing or keys.
    PollFault as Poll:
    /// The status is answered with an error.
    "status_error" StatusError {
        /// 400 to 599.
        #[serde(default = "internal")]
        status: u16,
    };
    /// The status is answered with the page of a proxy.
    "status_html" StatusHtml;
    /// The status is not answered: the connection closes.
    "status_cut" StatusCut;
    /// The result is answered with an error of the gateway.
    "result_error" ResultError {
        /// 400 to 599.
        #[serde(default = "internal")]
        status: u16,
    };
    /// The result is answered with the page of a proxy.
    "result_html" ResultHtml;
    /// The result is not answered: the connection closes.
    "result_cut" ResultCut;
    /// Status and result do not know the request.
    "missing" Missing;
    /// The listing of requests is answered with an error.
    "listing_error" ListingError {
        /// 400 to 599.
        #[serde(default = "internal")]
        status: u16,
    };
    /// The listing does not show the request.
    "listing_hides" ListingHides;
    /// The key set is answered with an error.
    "keys_error" KeysError {
        /// 400 to 599.
        #[serde(default = "internal")]
        status: u16,
    };
}

stage! {
    /// What becomes of an output and its downloads.
    MediaFault as Media:
    /// The download is refused.
    "media_status" MediaStatus {
        /// 400 to 599.
        #[serde(default = "gone")]
        status: u16,
    };
    /// The connection closes half way.
    "media_truncated" Truncated;
    /// Half a file, with a length that says so.
    "media_short" Short;
    /// No bytes.
    "media_empty" Empty;
    /// An HTML page.
    "media_wrong_type" WrongType;
    /// A PNG where a video is due, a video where a picture is due.
    "media_mislabelled" Mislabelled;
    /// The file and then zeros.
    "media_oversized" Oversized {
        /// So many bytes in all.
        bytes: u64,
        /// Whether the length is announced.
        #[serde(default = "yes")]
        length: bool,
    };
    /// The announced length is not that of the file.
    "media_wrong_length" WrongLength {
        /// So much is added to the length: what is missing cuts the connection, what is too much is not sent.
        #[serde(default = "some_bytes")]
        by: i64,
    };
    /// No length is announced.
    "media_no_length" NoLength;
    /// The download is redirected.
    "media_redirect" Redirect {
        /// Where to.
        location: String,
    };
    /// The file comes in pieces.
    "media_slow" Slow {
        /// How long it takes.
        seconds: f64,
    };
    /// The output names another address.
    "media_url" Url {
        /// The address.
        url: String,
    };
}

stage! {
    /// What becomes of a webhook.
    WebhookFault as Webhook:
    /// It is not delivered.
    "webhook_lost" Lost;
    /// It is delivered two times.
    "webhook_twice" Twice;
    /// It is delivered many times at once.
    "webhook_burst" Burst {
        /// How many times.
        #[serde(default = "fifty")]
        count: u32,
    };
    /// It is delivered later.
    "webhook_late" Late {
        /// How much later.
        seconds: f64,
    };
    /// It is delivered and answered before the submission is.
    "webhook_before_reply" BeforeReply {
        /// The reply waits no longer than this.
        #[serde(default = "patience")]
        seconds: f64,
    };
    /// It is held until another one of the endpoint has been delivered, or released by the control route.
    "webhook_reordered" Reordered {
        /// It is held no longer than this.
        #[serde(default)]
        seconds: Option<f64>,
    };
    /// One whose signature does not belong to the message comes first.
    "webhook_forged_signature" ForgedSignature {
        /// The genuine one is not delivered.
        #[serde(default)]
        instead: bool,
    };
    /// One that is validly signed for another account comes first.
    "webhook_wrong_user" WrongUser {
        /// The genuine one is not delivered.
        #[serde(default)]
        instead: bool,
    };
    /// One that was validly signed ten minutes ago comes first.
    "webhook_stale" Stale {
        /// The genuine one is not delivered.
        #[serde(default)]
        instead: bool,
    };
    /// One that is validly signed for a request that does not exist comes first.
    "webhook_unknown_request" UnknownRequest {
        /// The genuine one is not delivered.
        #[serde(default)]
        instead: bool,
    };
    /// One that is validly signed, with another last segment in the address, comes first.
    "webhook_wrong_token" WrongToken {
        /// The genuine one is not delivered.
        #[serde(default)]
        instead: bool,
    };
}

stage! {
    /// What becomes of a cancellation.
    CancelFault as Cancel:
    /// It is told that the request has ended, and the request goes on.
    "cancel_too_late" TooLate;
    /// It is told that there is no such request, and the request goes on.
    "cancel_not_found" NotFound;
    /// It is accepted, and the request goes on and is billed.
    "cancel_ignored" Ignored;
    /// It is carried out and answered with 200.
    "cancel_200" Removed;
}

fn internal() -> u16 {
    500
}

fn gone() -> u16 {
    404
}

fn patience() -> f64 {
    30.0
}

fn fifty() -> u32 {
    50
}

fn some_bytes() -> i64 {
    1000
}

fn yes() -> bool {
    true
}

fn safety() -> String {
    "SAFETY".to_owned()
}
