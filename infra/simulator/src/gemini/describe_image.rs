//! The description of an image: its size, format, a hash, and its dominant colour in words.

use std::collections::BTreeMap;

use image::{ImageFormat, RgbImage, imageops};
use sha2::{Digest, Sha256};

use crate::input_image::{self, NotAPicture};

/// Colours are counted in a copy of at most this side.
const SAMPLED_SIDE: u32 = 64;
/// The colours that have a name; any other has the name of the nearest.
const COLOURS: [(&str, [u8; 3]); 16] = [
    ("black", [0, 0, 0]),
    ("blue", [40, 80, 220]),
    ("brown", [110, 60, 20]),
    ("dark blue", [10, 20, 100]),
    ("dark green", [10, 80, 20]),
    ("green", [20, 180, 40]),
    ("grey", [128, 128, 128]),
    ("light blue", [150, 190, 240]),
    ("magenta", [230, 20, 200]),
    ("orange", [240, 140, 20]),
    ("pink", [250, 170, 190]),
    ("purple", [120, 40, 170]),
    ("red", [220, 20, 30]),
    ("teal", [10, 140, 140]),
    ("white", [255, 255, 255]),
    ("yellow", [250, 220, 20]),
];

/// The description of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) format: &'static str,
    pub(super) colour: &'static str,
    /// The first eight digits of the SHA-256 of the bytes, in hex.
    pub(super) hash: String,
}

impl Description {
    /// Decodes an image. Blocks.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, NotAPicture> {
        let (picture, format) = input_image::decode(bytes)?;
        let mut hash = hex::encode(Sha256::digest(bytes));
        hash.truncate(8);
        let format = match format {
            ImageFormat::Png => "PNG",
            ImageFormat::WebP => "WebP",
            _ => "JPEG",
        };
        Ok(Self { width: picture.width(), height: picture.height(), format, colour: dominant(&picture), hash })
    }
}

/// The name of the colour that most pixels have; among equals the last by name.
fn dominant(picture: &RgbImage) -> &'static str {
    let (width, height) = (picture.width().min(SAMPLED_SIDE), picture.height().min(SAMPLED_SIDE));
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for pixel in imageops::thumbnail(picture, width, height).pixels() {
        *counts.entry(name(pixel.0)).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or("black", |(name, _)| name)
}

fn name(rgb: [u8; 3]) -> &'static str {
    let distance =
        |colour: &[u8; 3]| -> u32 { colour.iter().zip(rgb).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    COLOURS.iter().min_by_key(|(_, colour)| distance(colour)).map_or("black", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn colours_have_their_usual_names() {
        let cases = [
            ([255, 0, 0], "red"),
            ([0, 0, 255], "blue"),
            ([0, 200, 0], "green"),
            ([250, 220, 20], "yellow"),
            ([255, 140, 0], "orange"),
            ([0, 128, 128], "teal"),
            ([110, 60, 20], "brown"),
            ([255, 0, 255], "magenta"),
            ([3, 3, 3], "black"),
            ([255, 255, 255], "white"),
            ([128, 128, 128], "grey"),
            ([10, 10, 90], "dark blue"),
        ];
        for (rgb, expected) in cases {
            assert_eq!(name(rgb), expected, "{rgb:?}");
        }
    }

    #[test]
    fn the_colour_of_most_pixels_is_dominant() {
        let picture = RgbImage::from_fn(100, 10, |x, _| Rgb(if x < 70 { [0, 0, 255] } else { [255, 0, 0] }));
        assert_eq!(dominant(&picture), "blue");
        assert_eq!(dominant(&RgbImage::from_pixel(1, 1, Rgb([255; 3]))), "white");
    }
}
