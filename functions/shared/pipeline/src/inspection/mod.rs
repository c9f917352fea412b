//! Inspects media by their bytes, from the signature to the end: format, size in pixels, duration, hash. Nothing is decoded.

mod describe;
mod exif;
mod format;
mod inspect;
mod jpeg;
mod mp4;

pub use describe::{assumed_input, describe_input, input_media, input_problem, too_large};
pub use exif::exif_orientation;
pub use format::{Format, SNIFF_BYTES, sniff_head};
pub use inspect::{Inspector, MediaInfo};
