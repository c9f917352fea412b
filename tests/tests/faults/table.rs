//! The table: what goes wrong, for which kind of step, and how it ends. Read a row from left to right: this fault, struck
//! by steps of these kinds, ends so, after so many submissions, of which so many were done and billed; the run is charged
//! for it or not; and what was paid is cached or not. In every row the run ends, no waiter is left, and no money is
//! left reserved but where the row says that the job goes on.

use fresco_pipeline::error::ErrorName::{self, *};

use Cached::{Kept, No, Yes};
use Charged::{Free, Price};
use End::{Fails, Succeeds};

/// A kind of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// text_to_image, `flux_schnell`: fal.
    Image,
    /// image_to_video, `hailuo` of a given picture: fal.
    Video,
    /// analyze_image, `gemini_describe` of a given picture: Gemini, which answers at once.
    Analysis,
}

/// The end of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With its result.
    Succeeds,
    /// With this stable error, of the step and of the run.
    Fails(ErrorName),
}

/// The amount that the run's record counts as spent. It errs on the side of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charged {
    /// Nothing.
    Free,
    /// Something.
    Price,
}

/// The source of the same result in the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cached {
    /// A hit.
    Yes,
    /// It is paid and not stored: once the fault is over it is fetched, and nothing is submitted.
    Kept,
    /// It is generated.
    No,
}

/// The mechanism that learns of the end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// Webhooks arrive.
    WithWebhooks,
    /// No webhook arrives: the nudge polls.
    Polling,
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The rules, without the prompt, separated by commas.
    pub(crate) faults: &'static str,
    /// Which kinds of steps.
    pub(crate) kinds: &'static [Kind],
    pub(crate) end: End,
    /// The number of submissions.
    pub(crate) submits: u64,
    /// The number of submissions that were completed and billed.
    pub(crate) billed: u64,
    /// The charge of the run.
    pub(crate) charged: Charged,
    /// The source of the result in the next run.
    pub(crate) cached: Cached,
    pub(crate) stack: Stack,
    /// Leases, pauses between looks and bounds of minutes are let pass, and sweep is called, as it is every minute.
    pub(crate) minutes: bool,
    /// The job goes on when the run has ended, and so does its hold.
    pub(crate) goes_on: bool,
    /// The step's `timeout`, in seconds.
    pub(crate) timeout: Option<u32>,
}

impl Row {
    /// Minutes pass.
    const fn later(self) -> Self {
        Self { minutes: true, ..self }
    }

    /// Without webhooks.
    const fn asking(self) -> Self {
        Self { stack: Stack::Polling, ..self }
    }

    /// The step may take so long.
    const fn within(self, seconds: u32) -> Self {
        Self { timeout: Some(seconds), ..self }
    }

    /// The job never ends by itself, or its end is never learnt.
    const fn goes_on(self) -> Self {
        Self { goes_on: true, ..self }
    }
}

const fn row(
    kinds: &'static [Kind],
    faults: &'static str,
    end: End,
    submits: u64,
    billed: u64,
    charged: Charged,
    cached: Cached,
) -> Row {
    let (stack, minutes, goes_on, timeout) = (Stack::WithWebhooks, false, false, None);
    Row { faults, kinds, end, submits, billed, charged, cached, stack, minutes, goes_on, timeout }
}

const ALL: &[Kind] = &[Kind::Image, Kind::Video, Kind::Analysis];
const FAL: &[Kind] = &[Kind::Image, Kind::Video];
const IMAGE: &[Kind] = &[Kind::Image];
const VIDEO: &[Kind] = &[Kind::Video];
const GEMINI: &[Kind] = &[Kind::Analysis];

/// The table.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    // Without a fault.
    row(ALL,    "",                                                    Succeeds, 1, 1, Price, Yes),

    // Submission refused for good: one submission, no second try.
    row(ALL,    r#"{"fault":"unauthorized"}"#,                         Fails(ProviderUnauthorized), 1, 0, Free, No),
    row(ALL,    r#"{"fault":"exhausted_balance"}"#,                    Fails(ProviderCredit), 1, 0, Free, No),
    row(ALL,    r#"{"fault":"forbidden"}"#,                            Fails(ProviderUnauthorized), 1, 0, Free, No),
    row(ALL,    r#"{"fault":"not_found"}"#,                            Fails(ProviderNotFound), 1, 0, Free, No),
    row(ALL,    r#"{"fault":"validation"}"#,                           Fails(ProviderRejected), 1, 0, Free, No),
    // A refusal by policy may be billed, so it counts.
    row(FAL,    r#"{"fault":"content_policy_submit"}"#,                Fails(ProviderContentPolicy), 1, 0, Price, No),
    row(GEMINI, r#"{"fault":"daily_quota"}"#,                          Fails(ProviderCredit), 1, 0, Free, No),

    // Submission refused for now: asked again after a pause, and given up after half an hour.
    row(ALL,    r#"{"fault":"throttled","times":2}"#,                  Succeeds, 3, 1, Price, Yes),
    row(ALL,    r#"{"fault":"throttled","times":1,"retry_after":30}"#, Succeeds, 2, 1, Price, Yes),
    row(ALL,    r#"{"fault":"throttled"}"#,                            Fails(ProviderExhausted), 4, 0, Free, No),
    row(FAL,    r#"{"fault":"throttled_200","times":1}"#,              Succeeds, 2, 1, Price, Yes),
    row(FAL,    r#"{"fault":"infrastructure","error_type":"runner_scheduling_failure","times":1}"#,
                                                                       Succeeds, 2, 1, Price, Yes),
    row(GEMINI, r#"{"fault":"server_error","times":1}"#,               Succeeds, 2, 1, Price, Yes),
    row(GEMINI, r#"{"fault":"server_error","status":503,"times":1}"#,  Succeeds, 2, 1, Price, Yes),
    row(GEMINI, r#"{"fault":"server_error"}"#,                         Fails(ProviderExhausted), 4, 0, Free, No),
    row(GEMINI, r#"{"fault":"html_502","times":1}"#,                   Succeeds, 2, 1, Price, Yes),

    // It is unknown whether the job was accepted, and it was not: fal's list is searched twice, Gemini has none. What is
    // unknown counts as spent.
    row(FAL,    r#"{"fault":"server_error"}"#,                         Fails(StepUnknown), 1, 0, Price, No).later(),
    row(FAL,    r#"{"fault":"server_error","status":503}"#,            Fails(StepUnknown), 1, 0, Price, No).later(),
    row(FAL,    r#"{"fault":"html_502"}"#,                             Fails(StepUnknown), 1, 0, Price, No).later(),
    row(FAL,    r#"{"fault":"infrastructure","error_type":"runner_incomplete_response"}"#,
                                                                       Fails(StepUnknown), 1, 0, Price, No).later(),
    row(FAL,    r#"{"fault":"infrastructure","error_type":"startup_timeout"}"#,
                                                                       Fails(StepUnknown), 1, 0, Price, No).later(),
    row(FAL,    r#"{"fault":"cut_before"}"#,                           Fails(StepUnknown), 1, 0, Price, No).later(),
    // Gemini keeps no job, so there is nothing to wait for: a call that costs so little is asked again once.
    row(GEMINI, r#"{"fault":"cut_before","times":1}"#,                 Succeeds, 2, 1, Price, Yes),
    row(GEMINI, r#"{"fault":"cut_before"}"#,                           Fails(StepUnknown), 2, 0, Price, No),

    // It is unknown whether the job was accepted, and it was: fal's webhook says so, or its list; Gemini's text is lost.
    row(FAL,    r#"{"fault":"cut_after"}"#,                            Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"cut_after"}"#,                            Succeeds, 1, 1, Price, Yes).asking(),
    // The list lags behind once; or it never shows the job, which is then given up though it is paid.
    row(FAL,    r#"{"fault":"cut_after"},{"fault":"webhook_lost"},{"fault":"listing_hides","times":1}"#,
                                                                       Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"cut_after"},{"fault":"webhook_lost"},{"fault":"listing_hides"}"#,
                                                                       Fails(StepUnknown), 1, 1, Price, No).later(),
    row(GEMINI, r#"{"fault":"cut_after","times":1}"#,                  Succeeds, 2, 2, Price, Yes),
    row(GEMINI, r#"{"fault":"cut_after"}"#,                            Fails(StepUnknown), 2, 2, Price, No),
    row(FAL,    r#"{"fault":"reply_never","seconds":2}"#,              Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"reply_never","seconds":2}"#,              Succeeds, 1, 1, Price, Yes).asking(),
    row(GEMINI, r#"{"fault":"reply_never","seconds":2,"times":1}"#,    Succeeds, 2, 2, Price, Yes),
    row(GEMINI, r#"{"fault":"reply_never","seconds":2}"#,              Fails(StepUnknown), 2, 2, Price, No),
    row(FAL,    r#"{"fault":"broken_json"}"#,                          Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"broken_json"}"#,                          Succeeds, 1, 1, Price, Yes).asking(),
    row(GEMINI, r#"{"fault":"broken_json","times":1}"#,                Succeeds, 2, 2, Price, Yes),
    row(GEMINI, r#"{"fault":"broken_json"}"#,                          Fails(StepUnknown), 2, 2, Price, No),
    row(FAL,    r#"{"fault":"no_request_id"}"#,                        Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"no_request_id"}"#,                        Succeeds, 1, 1, Price, Yes).asking(),
    row(ALL,    r#"{"fault":"slow_reply","seconds":1}"#,               Succeeds, 1, 1, Price, Yes),

    // The work fails. fal bills no 5xx; what it may bill counts.
    row(FAL,    r#"{"fault":"model_error","type":"content_policy_violation"}"#,
                                                                       Fails(ProviderContentPolicy), 1, 0, Price, No),
    row(FAL,    r#"{"fault":"model_error","type":"value_error"}"#,     Fails(ProviderRejected), 1, 0, Free, No),
    row(VIDEO,  r#"{"fault":"model_error","type":"image_too_small"}"#, Fails(ProviderRejected), 1, 0, Price, No),
    row(FAL,    r#"{"fault":"model_error","type":"no_media_generated"}"#,
                                                                       Fails(ProviderFailed), 1, 0, Price, No),
    row(FAL,    r#"{"fault":"model_error","type":"internal_server_error","times":1}"#,
                                                                       Succeeds, 2, 1, Price, Yes),
    row(FAL,    r#"{"fault":"model_error","type":"downstream_service_error","times":1}"#,
                                                                       Succeeds, 2, 1, Price, Yes),
    row(FAL,    r#"{"fault":"model_error","type":"internal_server_error"}"#,
                                                                       Fails(ProviderExhausted), 4, 0, Free, No),
    // The webhook has no headers: that the result is marked as not worth another try is seen only by a poll.
    row(IMAGE,  r#"{"fault":"model_error","type":"internal_server_error","retryable":false}"#,
                                                                       Fails(ProviderFailed), 1, 0, Free, No).asking(),
    row(FAL,    r#"{"fault":"infrastructure_end","error_type":"runner_disconnected","times":1}"#,
                                                                       Succeeds, 2, 1, Price, Yes),
    row(IMAGE,  r#"{"fault":"infrastructure_end","error_type":"bad_request"}"#,
                                                                       Fails(ProviderRejected), 1, 0, Free, No),
    // It was cancelled on the provider's pages.
    row(IMAGE,  r#"{"fault":"infrastructure_end","error_type":"client_cancelled"}"#,
                                                                       Fails(StepCancelled), 1, 0, Free, No),
    // A result that cannot be read is not a job that failed: it is never paid for again, and the hold stays.
    row(IMAGE,  r#"{"fault":"payload_null","times":1}"#,               Fails(StepTimedOut), 1, 1, Free, No)
                                                                           .later().goes_on(),
    row(FAL,    r#"{"fault":"payload_null","status":200}"#,            Fails(ProviderFailed), 1, 1, Price, No).later(),
    row(FAL,    r#"{"fault":"payload_error"}"#,                        Succeeds, 1, 1, Price, Yes),
    row(IMAGE,  r#"{"fault":"nsfw"}"#,                                 Fails(ProviderContentPolicy), 1, 1, Price, No),
    // Fewer outputs than one are none; the rest of a result that is short is kept: `partial` shows it.
    row(IMAGE,  r#"{"fault":"few_media","files":0}"#,                Fails(ProviderFailed), 1, 1, Price, No),
    row(FAL,    r#"{"fault":"no_media"}"#,                             Fails(ProviderFailed), 1, 1, Price, No),
    row(GEMINI, r#"{"fault":"blocked"}"#,                              Fails(ProviderContentPolicy), 1, 1, Price, No),
    row(GEMINI, r#"{"fault":"safety"}"#,                               Fails(ProviderContentPolicy), 1, 1, Price, No),
    // Half an answer is none, whatever text it has.
    row(GEMINI, r#"{"fault":"safety","characters":40}"#,               Fails(ProviderContentPolicy), 1, 1, Price, No),
    row(GEMINI, r#"{"fault":"safety","reason":"OTHER","characters":40}"#,
                                                                       Fails(ProviderFailed), 1, 1, Price, No),
    // No answer, and no word of the request: asked again, three times in all.
    row(GEMINI, r#"{"fault":"safety","reason":"RECITATION","characters":40,"times":1}"#,
                                                                       Succeeds, 2, 2, Price, Yes),
    row(GEMINI, r#"{"fault":"empty","times":2}"#,                      Succeeds, 3, 3, Price, Yes),
    row(GEMINI, r#"{"fault":"empty"}"#,                                Fails(ProviderFailed), 3, 3, Price, No),
    row(GEMINI, r#"{"fault":"max_tokens"}"#,                           Fails(ProviderFailed), 1, 1, Price, No),
    row(GEMINI, r#"{"fault":"max_tokens","characters":40}"#,           Succeeds, 1, 1, Price, Yes),

    // Deadlines: a job in the queue is cancelled, one that is worked on is paid and kept.
    row(ALL,    r#"{"fault":"slow","seconds":2}"#,                     Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"slow","seconds":16}"#,                    Fails(StepTimedOut), 1, 1, Price, Yes)
                                                                           .asking().later().within(1),
    row(FAL,    r#"{"fault":"never_starts"}"#,                         Fails(StepTimedOut), 1, 0, Free, No).asking().later(),
    row(FAL,    r#"{"fault":"never_ends"}"#,                           Fails(StepTimedOut), 1, 0, Free, No)
                                                                           .asking().goes_on().within(1),

    // Questions that say nothing about the job: asked again.
    row(FAL,    r#"{"fault":"status_error","times":1}"#,               Succeeds, 1, 1, Price, Yes).asking(),
    row(FAL,    r#"{"fault":"status_html","times":1}"#,                Succeeds, 1, 1, Price, Yes).asking(),
    row(FAL,    r#"{"fault":"status_cut","times":1}"#,                 Succeeds, 1, 1, Price, Yes).asking(),
    // For good: no step waits longer than a job may be queued and run, and the hold stays until the job's end is known.
    row(IMAGE,  r#"{"fault":"status_error"}"#,                         Fails(StepTimedOut), 1, 1, Free, No)
                                                                           .asking().later().goes_on(),
    row(FAL,    r#"{"fault":"result_error","times":1}"#,               Succeeds, 1, 1, Price, Yes).asking(),
    row(IMAGE,  r#"{"fault":"result_error","status":503,"times":1}"#,  Succeeds, 1, 1, Price, Yes).asking(),
    row(FAL,    r#"{"fault":"result_html","times":1}"#,                Succeeds, 1, 1, Price, Yes).asking(),
    row(FAL,    r#"{"fault":"result_cut","times":1}"#,                 Succeeds, 1, 1, Price, Yes).asking(),
    // fal does not know the job any more: it has to say so for ten minutes. Where the webhook brings the result, no poll is
    // sent.
    row(FAL,    r#"{"fault":"missing","times":2}"#,                    Succeeds, 1, 1, Price, Yes).asking(),
    row(FAL,    r#"{"fault":"missing"}"#,                              Fails(ProviderFailed), 1, 1, Price, No).asking().later(),
    // What it knows again after that is taken.
    row(IMAGE,  r#"{"fault":"missing","times":8}"#,                    Fails(ProviderFailed), 1, 1, Price, Yes).asking().later(),

    // Downloads: fetched again, never generated again. A step waits for some minutes; what is paid is fetched for a day.
    row(FAL,    r#"{"fault":"media_status","times":1}"#,               Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"media_status","status":503,"times":12}"#, Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_status"}"#,                         Fails(StepTimedOut), 1, 1, Free, Kept).later().goes_on(),
    row(FAL,    r#"{"fault":"media_truncated","times":1}"#,            Succeeds, 1, 1, Price, Yes).later(),
    // What is no media for minutes is what the provider has; it is fetched once more before it is generated again.
    row(FAL,    r#"{"fault":"media_short","times":1}"#,                Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_short"}"#,                          Fails(OutputInvalid), 1, 1, Price, Kept).later(),
    row(FAL,    r#"{"fault":"media_empty","times":1}"#,                Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_wrong_type","times":1}"#,           Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_mislabelled","times":1}"#,          Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_mislabelled"}"#,                    Fails(OutputInvalid), 1, 1, Price, Kept).later(),
    row(FAL,    r#"{"fault":"media_wrong_length","times":1}"#,         Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_wrong_length","by":-1000,"times":1}"#,
                                                                       Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"media_no_length"}"#,                      Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"media_slow","seconds":2}"#,               Succeeds, 1, 1, Price, Yes),
    row(IMAGE,  r#"{"fault":"media_oversized","bytes":67108865}"#,     Fails(OutputInvalid), 1, 1, Price, Kept).later(),
    row(IMAGE,  r#"{"fault":"media_oversized","bytes":67108865,"length":false}"#,
                                                                       Fails(OutputInvalid), 1, 1, Price, Kept).later(),
    row(VIDEO,  r#"{"fault":"media_oversized","bytes":1073741825}"#,   Fails(OutputInvalid), 1, 1, Price, Kept).later(),
    // Addresses that are not dialled: an operator may add the host, and the output is fetched then.
    row(FAL,    r#"{"fault":"media_redirect","location":"https://example.com/elsewhere.png"}"#,
                                                                       Fails(StepTimedOut), 1, 1, Free, Kept).later().goes_on(),
    row(IMAGE,  r#"{"fault":"media_redirect","location":"http://169.254.169.254/latest/meta-data/"}"#,
                                                                       Fails(StepTimedOut), 1, 1, Free, Kept).later().goes_on(),
    row(FAL,    r#"{"fault":"media_url","url":"http://169.254.169.254/latest/meta-data/"}"#,
                                                                       Fails(StepTimedOut), 1, 1, Free, No).later().goes_on(),
    row(IMAGE,  r#"{"fault":"media_url","url":"https://[::ffff:127.0.0.1]/a.png"}"#,
                                                                       Fails(StepTimedOut), 1, 1, Free, No).later().goes_on(),
    row(IMAGE,  r#"{"fault":"media_url","url":"https://example.com/a.png"}"#,
                                                                       Fails(StepTimedOut), 1, 1, Free, No).later().goes_on(),

    // Webhooks: one that does not come is made up for, what is not genuine changes nothing.
    row(FAL,    r#"{"fault":"webhook_lost"}"#,                         Succeeds, 1, 1, Price, Yes).later(),
    row(FAL,    r#"{"fault":"webhook_twice"}"#,                        Succeeds, 1, 1, Price, Yes),
    row(IMAGE,  r#"{"fault":"webhook_burst"}"#,                        Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_late","seconds":3}"#,             Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_before_reply"}"#,                 Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_reordered","seconds":2}"#,        Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_forged_signature"}"#,             Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_wrong_user"}"#,                   Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_stale"}"#,                        Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_unknown_request"}"#,              Succeeds, 1, 1, Price, Yes),
    row(FAL,    r#"{"fault":"webhook_wrong_token"}"#,                  Succeeds, 1, 1, Price, Yes),
    row(IMAGE,  r#"{"fault":"webhook_forged_signature","instead":true}"#, Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"webhook_wrong_user","instead":true}"#,    Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"webhook_stale","instead":true}"#,         Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"webhook_unknown_request","instead":true}"#, Succeeds, 1, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"webhook_wrong_token","instead":true}"#,   Succeeds, 1, 1, Price, Yes).later(),

    // Several at once.
    row(FAL,    r#"{"fault":"throttled","times":1},{"fault":"cut_after"},{"fault":"webhook_twice"},{"fault":"media_truncated","times":1}"#,
                                                                       Succeeds, 2, 1, Price, Yes).later(),
    row(IMAGE,  r#"{"fault":"broken_json"},{"fault":"webhook_lost"},{"fault":"status_cut","times":1},{"fault":"media_empty","times":1}"#,
                                                                       Succeeds, 1, 1, Price, Yes).later(),
];

// Left out: what a provider does not have passes it by. Gemini has no queue, no status, no media and no webhook, and of the
// submission's faults not `content_policy_submit`, `throttled_200`, `infrastructure` and `no_request_id`; fal has not
// Gemini's reasons for an answer without a text, nor `daily_quota`; `hailuo` has no flag for `nsfw`. The faults of the
// cancellation have a table of their own, in `cancels.rs`. `listing_error` and `keys_error` are of no single request, so
// they cannot be a row here.
