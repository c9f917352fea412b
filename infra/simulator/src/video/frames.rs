//! The pixels of a video: the first picture as planes of luma and chroma, and the frames made of it. Only the blocks at
//! the head of the bar change from frame to frame, so a video is hardly larger than its first frame.

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::h264::{self, BLOCK, Block, Dimensions};

/// The picture in whole macroblocks; what lies beyond its edge repeats the edge.
pub(super) struct Planes {
    columns: usize,
    rows: usize,
    /// The row of blocks that the bar runs along: the lowest that is seen in full.
    bar_row: usize,
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

/// A colour as luma and both chromas.
pub(super) type Colour = (u8, u8, u8);

/// BT.601 in limited range: luma 16–235, chroma 16–240. No sample is ever 0, which older decoders refuse in raw blocks.
pub(super) fn convert([r, g, b]: [i32; 3]) -> Colour {
    let luma = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16;
    let blue = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128;
    let red = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128;
    (luma.clamp(16, 235) as u8, blue.clamp(16, 240) as u8, red.clamp(16, 240) as u8)
}

/// A strong colour that depends on the text.
pub(super) fn bar_colour(variation: &str) -> Colour {
    let digest = Sha256::digest(variation.as_bytes());
    let strong = [[255, 96, 64], [255, 176, 32], [64, 208, 112], [64, 176, 255], [168, 112, 255], [255, 80, 176]];
    convert(strong[usize::from(digest[0]) % strong.len()])
}

impl Planes {
    pub(super) fn new(picture: &RgbImage, size: Dimensions) -> Self {
        let (columns, rows) = (size.columns(), size.rows());
        let (width, height) = (columns * BLOCK, rows * BLOCK);
        let pixel = |x: usize, y: usize| {
            let at = picture.get_pixel(x.min(size.width - 1) as u32, y.min(size.height - 1) as u32);
            at.0.map(i32::from)
        };
        let mut luma = Vec::with_capacity(width * height);
        for y in 0..height {
            luma.extend((0..width).map(|x| convert(pixel(x, y)).0));
        }
        let quarter = width * height / 4;
        let (mut blue, mut red) = (Vec::with_capacity(quarter), Vec::with_capacity(quarter));
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let four = [pixel(x, y), pixel(x + 1, y), pixel(x, y + 1), pixel(x + 1, y + 1)];
                let mean = std::array::from_fn(|c| (four.iter().map(|pixel| pixel[c]).sum::<i32>() + 2) / 4);
                let (_, cb, cr) = convert(mean);
                blue.push(cb);
                red.push(cr);
            }
        }
        let bar_row = (size.height / BLOCK).saturating_sub(1);
        Self { columns, rows, bar_row, luma, blue, red }
    }

    /// All frames as units: the picture itself, then the bar that has grown to the full width with the last.
    pub(super) fn frames(&self, count: u32, colour: Colour) -> Vec<Vec<u8>> {
        let total = self.columns * self.rows;
        let mut frames = Vec::with_capacity(count as usize);
        frames.push(h264::key_frame((0..total).map(|address| self.block(address, None))));
        let width = (self.columns * BLOCK) as u64;
        // Where the bar ends in pixels: even, as chroma is half as fine.
        let end = |number: u32| (width * u64::from(number) / u64::from(count.max(2) - 1)) as usize / 2 * 2;
        for number in 1..count {
            let (from, to) = (end(number - 1) / BLOCK, end(number).div_ceil(BLOCK));
            let changed = (from..to.min(self.columns)).map(|column| {
                let covered = end(number).saturating_sub(column * BLOCK).min(BLOCK);
                let address = self.bar_row * self.columns + column;
                (address, self.block(address, Some((covered, colour))))
            });
            frames.push(h264::repeat_frame(number, total, changed));
        }
        frames
    }

    /// A block of the picture, its left part covered by the bar if one is given.
    fn block(&self, address: usize, bar: Option<(usize, Colour)>) -> Block {
        let (column, row) = (address % self.columns, address / self.columns);
        let covered = bar.map_or(0, |(covered, _)| covered);
        let (y, cb, cr) = bar.map_or((0, 0, 0), |(_, colour)| colour);
        let luma_width = self.columns * BLOCK;
        let sample = |plane: &[u8], side: usize, index: usize, covered: usize, colour: u8| {
            let (x, dy) = (index % side, index / side);
            if x < covered {
                return colour;
            }
            plane[(row * side + dy) * (luma_width * side / BLOCK) + column * side + x]
        };
        Block {
            luma: std::array::from_fn(|index| sample(&self.luma, BLOCK, index, covered, y)),
            blue: std::array::from_fn(|index| sample(&self.blue, BLOCK / 2, index, covered / 2, cb)),
            red: std::array::from_fn(|index| sample(&self.red, BLOCK / 2, index, covered / 2, cr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_in_limited_range() {
        assert_eq!(convert([0, 0, 0]), (16, 128, 128));
        assert_eq!(convert([255, 255, 255]), (235, 128, 128));
        assert_eq!(convert([255, 0, 0]), (82, 90, 240));
        assert_eq!(convert([0, 0, 255]), (41, 240, 110));
    }

    #[test]
    fn the_bar_grows_to_the_full_width() {
        let picture = RgbImage::from_pixel(48, 40, image::Rgb([10, 200, 30]));
        let planes = Planes::new(&picture, Dimensions { width: 48, height: 40 });
        assert_eq!((planes.columns, planes.rows, planes.bar_row), (3, 3, 1));
        let frames = planes.frames(13, bar_colour("v"));
        assert_eq!(frames.len(), 13);
        // A raw block is 384 bytes: nine of them at first, then one or two a frame.
        assert!(frames[0].len() > 9 * 384 && frames[0].len() < 9 * 384 + 64);
        assert!(frames[1..].iter().all(|frame| frame.len() > 384 && frame.len() < 2 * 384 + 32));
        assert_eq!(frames[0][0], 0x65);
        assert!(frames[1..].iter().all(|frame| frame[0] == 0x41));
    }
}
