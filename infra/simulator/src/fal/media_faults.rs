//! Downloads that go wrong: refused, redirected, cut, empty, too long, of another kind, or slow.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use image::RgbImage;
use serde_json::json;

use super::{answer, status_code};
use crate::faults::MediaFault;
use crate::paint::{self, Format, Picture};
use crate::video::{self, Film};
use crate::wire::{self, Step, Wire};
use crate::world::World;

/// The answer that needs no file; `None` where the file is spoilt instead.
pub(super) fn without_file(fault: &MediaFault, content_type: &'static str) -> Option<Response> {
    match fault {
        MediaFault::MediaStatus { status } => {
            let status = status_code(*status);
            let detail = match status {
                StatusCode::NOT_FOUND => "Not found",
                other => other.canonical_reason().unwrap_or("Error"),
            };
            Some(answer(status, json!({ "detail": detail })).into_response())
        }
        MediaFault::Redirect { location } => {
            let location = HeaderValue::from_str(location).ok()?;
            Some((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
        }
        MediaFault::Empty => Some(whole(content_type, Bytes::new())),
        MediaFault::WrongType => {
            let page =
                "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n";
            Some(whole("text/html; charset=utf-8", Bytes::from_static(page.as_bytes())))
        }
        MediaFault::Truncated
        | MediaFault::Short
        | MediaFault::Mislabelled
        | MediaFault::Oversized { .. }
        | MediaFault::WrongLength { .. }
        | MediaFault::NoLength
        | MediaFault::Slow { .. }
        | MediaFault::Url { .. } => None,
    }
}

/// Sends a file with what is wrong with it.
pub(super) async fn with_file(
    world: &Arc<World>,
    wire: &Wire,
    fault: &MediaFault,
    content_type: &'static str,
    bytes: Bytes,
) -> Response {
    let length = bytes.len() as u64;
    let stream = |length: Option<u64>, steps: Vec<Step>| {
        let mut response = ([(header::CONTENT_TYPE, content_type)], wire::body(world, wire, steps)).into_response();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        response
    };
    let half = bytes.slice(..bytes.len() / 2);
    match fault {
        MediaFault::Truncated => stream(Some(length), vec![Step::Send(half), Step::Cut]),
        MediaFault::Short => whole(content_type, half),
        MediaFault::Mislabelled => {
            let is_video = content_type.starts_with("video/");
            let other = world.gallery.draw(move || other_kind(is_video)).await;
            whole(content_type, other.unwrap_or_default().into())
        }
        MediaFault::Oversized { bytes: wanted, length: announced } => {
            let padding = wanted.saturating_sub(length);
            let steps = vec![Step::Send(bytes), Step::Zeros(padding)];
            stream(announced.then_some(length + padding), steps)
        }
        MediaFault::WrongLength { by } => {
            let announced = length.saturating_add_signed(*by);
            if announced <= length {
                let kept = usize::try_from(announced).unwrap_or(usize::MAX).min(bytes.len());
                stream(Some(announced), vec![Step::Send(bytes.slice(..kept))])
            } else {
                stream(Some(announced), vec![Step::Send(bytes), Step::Cut])
            }
        }
        MediaFault::NoLength => stream(None, vec![Step::Send(bytes)]),
        MediaFault::Slow { seconds } => stream(Some(length), wire::trickle(&bytes, Duration::from_secs_f64(*seconds))),
        MediaFault::MediaStatus { .. }
        | MediaFault::Redirect { .. }
        | MediaFault::Empty
        | MediaFault::WrongType
        | MediaFault::Url { .. } => whole(content_type, bytes),
    }
}

fn whole(content_type: &'static str, bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
}

/// A small PNG in place of a video, a small video in place of a picture.
fn other_kind(is_video: bool) -> Option<Vec<u8>> {
    const SIDE: u32 = 64;
    if !is_video {
        let film = Film { variation: String::new(), width: SIDE, height: SIDE, seconds: 1 };
        return Some(video::render(&film, None::<&RgbImage>));
    }
    let picture = Picture {
        prompt: String::new(),
        footer: Vec::new(),
        variation: String::new(),
        width: SIDE,
        height: SIDE,
        format: Format::Png,
    };
    paint::blank(&picture).ok()
}
