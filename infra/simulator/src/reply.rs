//! How the reply to a submission that was accepted goes wrong on its way. Both providers share it, as it is the
//! connection that fails.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use crate::faults::SubmitFault;
use crate::wire::{self, Wire};
use crate::world::World;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The connection closes instead.
    Cut,
    /// Nothing comes until the client gives up, or until the connection closes after so long.
    Never(Duration),
    /// The body comes in pieces over so long.
    Slow(Duration),
    /// The body is half of it.
    Broken,
    /// The body does not tell the request id.
    Nameless,
}

impl Fault {
    /// The fault of the reply; `None` where the submission is refused instead.
    pub(crate) fn of(fault: &SubmitFault) -> Option<Self> {
        match fault {
            SubmitFault::CutAfter => Some(Self::Cut),
            SubmitFault::ReplyNever { seconds } => Some(Self::Never(Duration::from_secs_f64(*seconds))),
            SubmitFault::SlowReply { seconds } => Some(Self::Slow(Duration::from_secs_f64(*seconds))),
            SubmitFault::BrokenJson => Some(Self::Broken),
            SubmitFault::NoRequestId => Some(Self::Nameless),
            SubmitFault::Unauthorized
            | SubmitFault::ExhaustedBalance
            | SubmitFault::Forbidden
            | SubmitFault::NotFound
            | SubmitFault::Validation
            | SubmitFault::ContentPolicySubmit
            | SubmitFault::Throttled { .. }
            | SubmitFault::Throttled200
            | SubmitFault::DailyQuota
            | SubmitFault::ServerError { .. }
            | SubmitFault::Html502
            | SubmitFault::Infrastructure { .. }
            | SubmitFault::CutBefore => None,
        }
    }
}

/// Sends a body under status 200, or what the fault leaves of it.
pub(crate) async fn send(world: &Arc<World>, wire: &Wire, fault: Option<&Fault>, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match fault {
        None | Some(Fault::Nameless) => Json(body).into_response(),
        Some(Fault::Cut) => wire.cut(),
        Some(Fault::Never(long)) => {
            world.pause(*long).await;
            wire.cut()
        }
        Some(Fault::Slow(long)) => {
            let bytes = Bytes::from(body.to_string());
            let length = [(header::CONTENT_LENGTH, bytes.len().to_string())];
            (json, length, wire::body(world, wire, wire::trickle(&bytes, *long))).into_response()
        }
        Some(Fault::Broken) => {
            let text = body.to_string();
            (json, text.chars().take(text.chars().count() / 2).collect::<String>()).into_response()
        }
    }
}
