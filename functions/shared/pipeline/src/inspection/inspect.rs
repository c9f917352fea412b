//! Inspects a medium while it streams: hash, length, and as much of both ends, or of a video's boxes, as is needed to decide at the
//! end whether it is a complete medium of the expected kind. The object is never held in memory.

use crate::catalogue::MediaKind;
use crate::error::{ErrorName, Failure};
use sha2::{Digest, Sha256};

use super::format::{CONVERSION, Format, is_convertible, measure, sniff_head};
use super::jpeg::Jpeg;
use super::mp4::{Boxes, Video};

/// Kept bytes of the beginning: the signatures, and the sizes of PNG and WebP.
const HEAD: usize = 256;
const TAIL: usize = 32;

/// The description of a complete medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaInfo {
    /// The media type by the bytes.
    pub content_type: &'static str,
    /// The ending for a file's name, without a dot.
    pub extension: &'static str,
    /// The length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The duration in milliseconds, of a video that states one.
    pub duration_ms: Option<u64>,
}

/// An inspection: [`Inspector::feed`] takes every chunk in order, [`Inspector::finish`] returns the result.
#[derive(Debug, Clone, Default)]
pub struct Inspector {
    hash: Sha256,
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    boxes: Boxes,
    jpeg: Jpeg,
}

impl Inspector {
    /// Creates an inspection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        let room = (HEAD - self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..room]);
        self.tail.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        self.boxes.feed(chunk);
        self.jpeg.feed(chunk);
    }

    /// Returns the number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how to convert a picture of a format that is not accepted, if it is one that the usual tools convert.
    pub fn conversion(&self) -> Option<&'static str> {
        is_convertible(&self.head).then_some(CONVERSION)
    }

    /// Returns the description of a complete medium of this kind. Anything else is `Output.Invalid`.
    pub fn finish(self, kind: MediaKind) -> Result<MediaInfo, Failure> {
        if self.bytes > kind.max_bytes() {
            let message = format!("{} bytes are more than the largest {} has", self.bytes, kind.as_str());
            return Err(Failure::new(ErrorName::OutputInvalid, message));
        }
        let format = sniff_head(kind, &self.head)?;
        let (width, height, duration_ms) = match format {
            Format::Mp4 => {
                let video = self.boxes.finish().map_err(|why| {
                    Failure::new(ErrorName::OutputInvalid, format!("the MP4 file cannot be used: {why}"))
                })?;
                let Video { width, height, duration_ms } = video;
                (width, height, duration_ms)
            }
            Format::Png | Format::Jpeg | Format::Webp => {
                let (width, height) = measure(format, &self.jpeg, (&self.head, &self.tail), self.bytes)?;
                (width, height, None)
            }
        };
        Ok(MediaInfo {
            content_type: format.content_type(),
            extension: format.extension(),
            bytes: self.bytes,
            sha256: hex::encode(self.hash.finalize()),
            width,
            height,
            duration_ms,
        })
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
