//! Downloads with faults: refused, redirected, cut, empty, too long, of another type, or slow.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::answer::{detail, status_code};
use crate::broken_connection::{self, ConnectionHandle, Step};
use crate::faults::Fault;
use crate::paint::{Format, Picture};
use crate::state::State;

/// The side of the file in place of another.
const MISLABELLED_SIDE: u32 = 64;
const SIGN_IN_PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n";

/// Whether a fault applies to downloads.
pub(super) fn is_of_download(fault: &Fault) -> bool {
    fault.name().starts_with("media_") && !matches!(fault, Fault::MediaUrl { .. })
}

/// The answer that does not need the file; `None` where the fault breaks the file instead.
pub(super) fn without_file(fault: &Fault, content_type: &'static str) -> Option<Response> {
    match fault {
        Fault::MediaStatus { status } => {
            let status = status_code(*status);
            let text = match status {
                StatusCode::NOT_FOUND => "Not found",
                other => other.canonical_reason().unwrap_or("Error"),
            };
            Some(detail(status, text).into_response())
        }
        Fault::MediaRedirect { location } => {
            let location = HeaderValue::from_str(location).ok()?;
            Some((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
        }
        Fault::MediaEmpty => Some(whole(content_type, Bytes::new())),
        Fault::MediaWrongType => Some(whole("text/html; charset=utf-8", Bytes::from_static(SIGN_IN_PAGE.as_bytes()))),
        _ => None,
    }
}

/// Sends a file with its fault.
pub(super) async fn with_file(
    state: &Arc<State>,
    connection: &ConnectionHandle,
    fault: &Fault,
    content_type: &'static str,
    bytes: Bytes,
) -> Response {
    let length = bytes.len() as u64;
    let half = bytes.slice(..bytes.len() / 2);
    let (announced, steps) = match fault {
        Fault::MediaTruncated => (Some(length), vec![Step::Send(half), Step::Cut]),
        Fault::MediaShort => return whole(content_type, half),
        Fault::MediaMislabelled => {
            let is_video = content_type.starts_with("video/");
            let other = state.renderer.run(move || mislabelled(is_video)).await;
            return whole(content_type, other.unwrap_or_default().into());
        }
        Fault::MediaOversized { bytes: total, length: is_announced } => {
            let padding = total.saturating_sub(length);
            (is_announced.then_some(length + padding), vec![Step::Send(bytes), Step::Zeros(padding)])
        }
        Fault::MediaWrongLength { by } => {
            let announced = length.saturating_add_signed(*by);
            let sent = usize::try_from(announced).unwrap_or(usize::MAX).min(bytes.len());
            let end = (announced > length).then_some(Step::Cut);
            (Some(announced), [Step::Send(bytes.slice(..sent))].into_iter().chain(end).collect())
        }
        Fault::MediaNoLength => (None, vec![Step::Send(bytes)]),
        Fault::MediaSlow { seconds } => {
            (Some(length), broken_connection::trickle(&bytes, Duration::from_secs_f64(*seconds)))
        }
        _ => return whole(content_type, bytes),
    };
    let body = broken_connection::body(&state.shutdown, connection, steps);
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(announced) = announced {
        response.headers_mut().insert(header::CONTENT_LENGTH, announced.into());
    }
    response
}

fn whole(content_type: &'static str, bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
}

/// A small PNG in place of a video, a small video in place of a picture.
fn mislabelled(is_video: bool) -> Option<Vec<u8>> {
    let picture = Picture {
        prompt: String::new(),
        footer: String::new(),
        variation: String::new(),
        width: MISLABELLED_SIDE,
        height: MISLABELLED_SIDE,
        format: if is_video { Format::Png } else { Format::Mp4 { seconds: 1 } },
    };
    picture.render_blank().ok()
}
