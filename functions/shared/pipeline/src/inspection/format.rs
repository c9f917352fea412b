//! The formats of media by their bytes: signatures, and for pictures the position of the size in pixels and the end marker. Nothing
//! is decoded: an accepted file is complete and has its format, whatever the picture shows.

use crate::catalogue::MediaKind;
use crate::error::{ErrorName, Failure};

use super::jpeg::Jpeg;
use super::mp4::{Brand, brand};

/// The number of bytes that [`sniff_head`] needs, unless the file is shorter: the brands of an MP4 file are a list.
pub const SNIFF_BYTES: usize = 64;

/// A format that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, lossy, lossless or extended.
    Webp,
    /// MP4.
    Mp4,
}

impl Format {
    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::Webp => "image/webp",
            Format::Mp4 => "video/mp4",
        }
    }

    /// The ending of a file's name, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpg",
            Format::Webp => "webp",
            Format::Mp4 => "mp4",
        }
    }

    /// The kind of media it is.
    pub const fn kind(self) -> MediaKind {
        match self {
            Format::Png | Format::Jpeg | Format::Webp => MediaKind::Image,
            Format::Mp4 => MediaKind::Video,
        }
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const PNG_END: &[u8] = b"\0\0\0\0IEND\xaeB\x60\x82";

/// Returns the format of a file by its first [`SNIFF_BYTES`] bytes or more. A file of another kind is refused before it is stored,
/// with a name for what it seems to be: usually an error page. Texts are never fetched, so no file is one.
pub fn sniff_head(kind: MediaKind, head: &[u8]) -> Result<Format, Failure> {
    let brand = brand(head);
    let format = if head.starts_with(PNG) {
        Some(Format::Png)
    } else if head.starts_with(b"\xff\xd8\xff") {
        Some(Format::Jpeg)
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(Format::Webp)
    } else if brand == Some(Brand::Video) {
        Some(Format::Mp4)
    } else {
        None
    };
    format.filter(|format| format.kind() == kind).ok_or_else(|| {
        let seen = match (format, brand) {
            (Some(Format::Png | Format::Jpeg | Format::Webp), _) => "a picture",
            (Some(Format::Mp4), _) => "a video",
            (None, Some(Brand::Picture)) => "a HEIC or AVIF picture",
            (None, Some(Brand::Video | Brand::Other)) => "a video or an audio file of another format",
            (None, None) => other(head),
        };
        invalid(format!("{} was expected, and this is {seen}", wanted(kind)))
    })
}

/// Names a file of no accepted format.
fn other(head: &[u8]) -> &'static str {
    match head.trim_ascii_start().first() {
        None => "nothing",
        Some(b'<') => "a page",
        Some(b'{' | b'[') => "JSON",
        Some(_) if head.starts_with(b"GIF8") => "a GIF",
        Some(_) if is_tiff(head) => "a TIFF picture",
        Some(_) if is_bmp(head) => "a BMP picture",
        Some(_) if head.starts_with(b"\x1a\x45\xdf\xa3") => "a WebM or Matroska video",
        Some(_) => "something else",
    }
}

/// The commands that convert a picture.
pub(super) const CONVERSION: &str = "Convert it to JPEG: on a Mac `sips -s format jpeg FILE --out FILE.jpg`, elsewhere \
     `magick FILE FILE.jpg` or, for HEIC and AVIF, `heif-convert FILE FILE.jpg`.";

/// Returns whether the file is a picture of a format that is not accepted and that the usual tools convert.
pub(super) fn is_convertible(head: &[u8]) -> bool {
    brand(head) == Some(Brand::Picture) || head.starts_with(b"GIF8") || is_tiff(head) || is_bmp(head)
}

/// The byte order, then 42, or 43 in files beyond 4 GiB.
fn is_tiff(head: &[u8]) -> bool {
    [&b"II*\0"[..], b"II+\0", b"MM\0*", b"MM\0+"].iter().any(|magic| head.starts_with(magic))
}

/// The signature, and the two reserved fields, which are zero.
fn is_bmp(head: &[u8]) -> bool {
    head.starts_with(b"BM") && head.get(6..10) == Some(&[0; 4])
}

const fn wanted(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "a PNG, JPEG or WebP picture",
        MediaKind::Video => "an MP4 video",
        MediaKind::Text => "a text, which is never fetched,",
    }
}

/// Returns width and height of a complete picture, from its first and last bytes and its length, or its walk. Videos are measured
/// by `mp4`.
pub(super) fn measure(
    format: Format,
    jpeg: &Jpeg,
    (head, tail): (&[u8], &[u8]),
    length: u64,
) -> Result<(u32, u32), Failure> {
    let (name, size, is_whole) = match format {
        Format::Png => ("PNG", png_size(head), tail.ends_with(PNG_END)),
        Format::Jpeg => ("JPEG", jpeg.size(), jpeg.is_whole()),
        Format::Webp => ("WebP", webp_size(head), webp_is_whole(head, length)),
        Format::Mp4 => return Err(invalid("an MP4 video is no picture")),
    };
    if !is_whole {
        return Err(invalid(format!("the {name} file is not whole")));
    }
    size.filter(|(width, height)| *width > 0 && *height > 0)
        .ok_or_else(|| invalid(format!("the {name} file does not say how large the picture is")))
}

/// The first chunk is IHDR, of 13 bytes, and begins with width and height.
fn png_size(head: &[u8]) -> Option<(u32, u32)> {
    (head.get(8..16)? == b"\0\0\0\x0dIHDR").then_some(())?;
    Some((be32(head, 16)?, be32(head, 20)?))
}

/// RIFF says how long the file is, and the first chunk how long it is itself.
fn webp_is_whole(head: &[u8], length: u64) -> bool {
    let (Some(riff), Some(chunk)) = (le32(head, 4), le32(head, 16)) else { return false };
    let end = u64::from(riff) + 8;
    // An odd length is padded by one byte, which some encoders count and some do not.
    (end == length || end + end % 2 == length) && 20 + u64::from(chunk) <= length
}

fn webp_size(head: &[u8]) -> Option<(u32, u32)> {
    match head.get(12..16)? {
        // A frame's tag, its start code, then 14 bits each; a key frame has the lowest bit of the tag clear.
        b"VP8 " => {
            (head.get(20)? & 1 == 0 && head.get(23..26)? == b"\x9d\x01\x2a").then_some(())?;
            let bits = le32(head, 26)?;
            Some((bits & 0x3fff, (bits >> 16) & 0x3fff))
        }
        // A signature, then 14 bits each, less one.
        b"VP8L" => {
            (*head.get(20)? == 0x2f).then_some(())?;
            let bits = le32(head, 21)?;
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        // Flags, then the canvas in 24 bits each, less one.
        b"VP8X" => {
            let (width, height) = (le32(head, 24)? & 0x00ff_ffff, le32(head, 26)? >> 8);
            Some((width + 1, height + 1))
        }
        _ => None,
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorName::OutputInvalid, message)
}
