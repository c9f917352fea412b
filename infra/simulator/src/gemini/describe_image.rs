//! The description of an image: its size, format, a hash, and its dominant colour in words.

use image::imageops;
use image::{ImageFormat, RgbImage};
use sha2::{Digest, Sha256};

use crate::input_image::{self, NotAPicture};

/// Colours are counted in a copy of at most this side.
const SAMPLED_SIDE: u32 = 64;

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

/// The colour name of most of the pixels.
fn dominant(picture: &RgbImage) -> &'static str {
    let (width, height) = (picture.width().min(SAMPLED_SIDE), picture.height().min(SAMPLED_SIDE));
    let small = imageops::thumbnail(picture, width, height);
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for pixel in small.pixels() {
        let name = name(pixel.0);
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    // Among equals the name decides, so that the answer never depends on the order of counting.
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0))).map_or("black", |(name, _)| name)
}

fn name(rgb: [u8; 3]) -> &'static str {
    let [r, g, b] = rgb.map(i32::from);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = most - least;
    if chroma < 28 || chroma * 6 < most {
        return match (most + least) / 2 {
            0..=45 => "black",
            46..=105 => "dark grey",
            106..=180 => "grey",
            181..=225 => "light grey",
            _ => "white",
        };
    }
    let sixth = 60
        * match most {
            _ if most == r => (g - b).rem_euclid(6 * chroma),
            _ if most == g => b - r + 2 * chroma,
            _ => r - g + 4 * chroma,
        };
    let shade = |dark, plain, light| match (most + least) / 2 {
        0..=85 => dark,
        86..=185 => plain,
        _ => light,
    };
    match sixth / chroma {
        15..=40 => shade("brown", "orange", "light orange"),
        41..=68 => shade("olive", "yellow", "light yellow"),
        69..=160 => shade("dark green", "green", "light green"),
        161..=198 => shade("dark teal", "teal", "light teal"),
        199..=255 => shade("dark blue", "blue", "light blue"),
        256..=290 => shade("dark purple", "purple", "lavender"),
        291..=340 => shade("plum", "magenta", "pink"),
        _ => shade("dark red", "red", "pink"),
    }
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
            ([0, 128, 128], "dark teal"),
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
