//! The reply to an accepted submission, and the faults that break it on its way. Both providers share it, as the
//! connection is what fails.

use std::time::Duration;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use crate::broken_connection::{self, ConnectionHandle};
use crate::faults::Fault;
use crate::shutdown::Shutdown;

/// Sends a body with status 200, or the part of it that the fault lets through.
pub(crate) async fn send(
    shutdown: &Shutdown,
    connection: &ConnectionHandle,
    fault: Option<&Fault>,
    body: &Value,
) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match fault {
        Some(Fault::CutAfter) => connection.cut(),
        Some(Fault::ReplyNever { seconds }) => {
            shutdown.sleep(Duration::from_secs_f64(*seconds)).await;
            connection.cut()
        }
        Some(Fault::SlowReply { seconds }) => {
            let bytes = Bytes::from(body.to_string());
            let length = [(header::CONTENT_LENGTH, bytes.len().to_string())];
            let steps = broken_connection::trickle(&bytes, Duration::from_secs_f64(*seconds));
            (json, length, broken_connection::body(shutdown, connection, steps)).into_response()
        }
        Some(Fault::BrokenJson) => {
            let text = body.to_string();
            (json, text.chars().take(text.chars().count() / 2).collect::<String>()).into_response()
        }
        _ => Json(body).into_response(),
    }
}
