//! Describes media that users give, with the problems that they may have.

use super::inspect::{Inspector, MediaInfo};
use crate::catalogue::MediaKind;
use crate::document::Problem;
use crate::media::{Media, input_key};

/// Creates a problem of an input, for the report on a document.
pub fn input_problem(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Problem {
    Problem::new(code, message, advice)
}

/// Inspects bytes that have to be of this kind, and returns the object that they are stored as.
pub fn describe_input(kind: MediaKind, bytes: &[u8]) -> Result<Media, Problem> {
    if bytes.len() as u64 > kind.max_input_bytes() {
        return Err(too_large(kind, bytes.len() as u64));
    }
    let mut inspector = Inspector::new();
    inspector.feed(bytes);
    let advice = inspector.conversion().filter(|_| kind == MediaKind::Image).unwrap_or_else(|| allowed(kind));
    let info = inspector.finish(kind).map_err(|why| input_problem("input_kind", why.message, advice))?;
    Ok(input_media(kind, info))
}

/// Returns the object that an inspected medium is stored as.
pub fn input_media(kind: MediaKind, info: MediaInfo) -> Media {
    Media {
        duration_ms: None,
        key: input_key(kind, &info.sha256, info.extension),
        kind,
        content_type: info.content_type.to_owned(),
        bytes: info.bytes,
        sha256: info.sha256,
        width: Some(info.width),
        height: Some(info.height),
    }
}

/// Returns a stand-in for an input that is read later. Checks that depend on its content accept it.
pub fn assumed_input(kind: MediaKind) -> Media {
    Media {
        duration_ms: None,
        key: String::new(),
        kind,
        content_type: String::new(),
        bytes: 1,
        sha256: String::new(),
        width: None,
        height: None,
    }
}

/// The problem of an input that is longer than its kind may be.
pub fn too_large(kind: MediaKind, bytes: u64) -> Problem {
    let most = kind.max_input_bytes() / (1024 * 1024);
    let message = format!("it has {bytes} bytes; {} may have {most} MiB", kind.noun());
    input_problem("input_too_large", message, "Make it smaller.")
}

fn allowed(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "Give a PNG, JPEG or WebP file.",
        MediaKind::Video => "Give an MP4 file.",
        MediaKind::Text => "Give a text.",
    }
}
