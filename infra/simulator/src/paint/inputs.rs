//! An edit's ground: the pictures that it was made from, side by side, under a thin tint and within a frame whose
//! colour differs from edit to edit.

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::{Canvas, background};
use crate::still;

/// How much of the tint lies over the inputs, of 255: enough to see that it is no copy.
const TINT: u8 = 18;
const GAP: [u8; 3] = [252, 251, 248];

pub(super) fn paint(canvas: &mut Canvas, inputs: &[RgbImage], prompt: &str, variation: &str) {
    let count = inputs.len().max(1);
    let (width, height) = (canvas.width, canvas.height);
    // Along the longer side, so that none becomes a sliver.
    let across = width >= height;
    let length = if across { width } else { height };
    for (index, input) in inputs.iter().enumerate() {
        let (from, to) = (length * index / count, length * (index + 1) / count);
        if from == to {
            continue;
        }
        let (left, top, wide, high) = if across { (from, 0, to - from, height) } else { (0, from, width, to - from) };
        canvas.paste(left, top, &still::cover(input, wide as u32, high as u32));
    }
    let digest = Sha256::digest(format!("{prompt}\0{variation}"));
    let colour = background::rgb(f32::from(digest[0]) * 360.0 / 256.0, 0.8, 0.5).map(|channel| (channel * 255.0) as u8);
    for y in 0..height {
        canvas.blend_row(y, 0, width, colour, TINT);
    }
    let line = width.min(height) / 48;
    for index in 1..count {
        let at = length * index / count;
        let (from, to) = (at.saturating_sub(line / 4), (at + line / 4).min(length));
        if across {
            (0..height).for_each(|y| canvas.blend_row(y, from, to, GAP, 255));
        } else {
            (from..to).for_each(|y| canvas.blend_row(y, 0, width, GAP, 255));
        }
    }
    for y in 0..height {
        if y < line || y + line >= height {
            canvas.blend_row(y, 0, width, colour, 255);
        } else {
            canvas.blend_row(y, 0, line, colour, 255);
            canvas.blend_row(y, width - line, width, colour, 255);
        }
    }
}
