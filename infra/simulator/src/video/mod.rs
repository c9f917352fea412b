//! Videos that show one picture for their whole length: one H.264 key frame with a long duration in an MP4.

mod mp4;
mod still_frame;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use image::RgbImage;

/// The longer side of every video. A raw frame of this size is a third of a megabyte.
const LONGER: u32 = 640;
/// The bound of the shorter side, which leaves room for a line of text.
const SHORTEST: u32 = 32;

/// The size of a video in given proportions: both sides are even, the longer one is 640 pixels.
pub(crate) fn fitting(width: u32, height: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(1));
    let side = |length: u32| {
        let scaled = (u64::from(length) * u64::from(LONGER) + longer / 2) / longer;
        (scaled as u32).max(SHORTEST) / 2 * 2
    };
    (side(width), side(height))
}

/// The length in bytes of every video of this size.
pub(crate) fn length(width: u32, height: u32) -> usize {
    static LENGTHS: Mutex<BTreeMap<(u32, u32), usize>> = Mutex::new(BTreeMap::new());
    let mut lengths = LENGTHS.lock().unwrap_or_else(PoisonError::into_inner);
    *lengths.entry((width, height)).or_insert_with(|| encode(&RgbImage::new(width, height), 1).len())
}

/// A video of a picture with even sides. Its length depends on the size only, as nothing is compressed.
pub(crate) fn encode(picture: &RgbImage, seconds: u32) -> Vec<u8> {
    mp4::file(&mp4::Track {
        width: picture.width(),
        height: picture.height(),
        seconds,
        sequence_parameters: &still_frame::sequence_parameters(picture.width(), picture.height()),
        picture_parameters: &still_frame::picture_parameters(),
        frame: &still_frame::key_frame(picture),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_keeps_the_proportions_and_is_even() {
        assert_eq!(fitting(1024, 768), (640, 480));
        assert_eq!(fitting(768, 1376), (356, 640));
        assert_eq!(fitting(64, 64), (640, 640));
        assert_eq!(fitting(10_000, 1), (640, 32));
        for side in 1..400 {
            let (width, height) = fitting(side, 397);
            assert!(width % 2 == 0 && height % 2 == 0 && width.max(height) == 640);
        }
    }

    #[test]
    fn the_length_depends_on_the_size_only() {
        for (width, height) in [(32, 32), (32, 640), (640, 34), (358, 640), (640, 640)] {
            let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
            let bytes = encode(&picture, 9);
            assert_eq!(&bytes[4..8], b"ftyp");
            assert_eq!(bytes.len(), length(width, height));
        }
    }
}
