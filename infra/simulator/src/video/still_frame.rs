//! The least H.264 that shows a picture: constrained baseline, one key frame of raw macroblocks (I_PCM). Nothing is
//! predicted, transformed or compressed, so a decoder gives exactly these samples (ITU-T H.264, clause 7.3, names the
//! fields).

use image::RgbImage;

/// The side of a macroblock in pixels.
const BLOCK: u32 = 16;
/// Level 3.1: up to 3600 macroblocks a frame.
const LEVEL: u32 = 31;
/// Matrix, primaries and transfer of BT.601 (525 lines), which [`convert`] uses.
const BT601: u32 = 6;
/// `mb_type` of I_PCM in an I slice.
const RAW: u32 = 25;

/// A bit string, the highest bit of each byte first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    filled: u32,
}

impl Bits {
    /// The lowest `count` bits of a value: u(n).
    fn u(&mut self, count: u32, value: u32) -> &mut Self {
        for at in (0..count).rev() {
            if self.filled.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> at & 1) << (7 - self.filled % 8)) as u8;
            }
            self.filled += 1;
        }
        self
    }

    /// An unsigned Exp-Golomb number: ue(v). The signed number 0 is the same bit.
    fn ue(&mut self, value: u32) -> &mut Self {
        let length = u32::BITS - (value + 1).leading_zeros();
        self.u(length - 1, 0).u(length, value + 1)
    }

    /// Whole bytes after zeros up to the next whole byte.
    fn raw(&mut self, bytes: impl Iterator<Item = u8>) {
        self.bytes.extend(bytes);
        self.filled = self.bytes.len() as u32 * 8;
    }

    /// Adds the stop bit and makes a unit: a header byte, then the payload, with an escape byte 3 after two zeros that
    /// would look like a start code.
    fn unit(mut self, header: u8) -> Vec<u8> {
        self.u(1, 1);
        let mut unit = vec![header];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

/// The sequence parameter set. The excess of the last column and row is cropped, in steps of two pixels.
pub(super) fn sequence_parameters(width: u32, height: u32) -> Vec<u8> {
    let (columns, rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
    let mut bits = Bits::default();
    // profile_idc 66 with constraint_set0 and 1: constrained baseline.
    bits.u(8, 66).u(8, 0b1100_0000).u(8, LEVEL).ue(0);
    // frame_num of 4 bits; pic_order_cnt_type 2; one reference frame.
    bits.ue(0).ue(2).ue(1).u(1, 0);
    bits.ue(columns - 1).ue(rows - 1);
    // Whole frames only, direct_8x8_inference, cropping.
    bits.u(3, 0b111).ue(0).ue((columns * BLOCK - width) / 2).ue(0).ue((rows * BLOCK - height) / 2);
    // The usability information: limited range and the colours of BT.601, which a player guesses by the size otherwise.
    bits.u(3, 0b100).u(1, 1).u(3, 5).u(1, 0).u(1, 1).u(8, BT601).u(8, BT601).u(8, BT601).u(5, 0);
    // No frame is held back for reordering.
    bits.u(2, 0b11).ue(0).ue(0).ue(10).ue(10).ue(0).ue(1);
    bits.unit(0x67)
}

/// The picture parameter set: CAVLC, one slice group, one reference, deblocking controlled by the slice.
pub(super) fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).ue(0).ue(0).ue(0).u(3, 0b100);
    bits.unit(0x68)
}

/// The key frame of a picture with even sides.
pub(super) fn key_frame(picture: &RgbImage) -> Vec<u8> {
    let mut bits = Bits::default();
    // first_mb, slice_type I for the whole picture, parameter set, frame_num, idr_pic_id.
    bits.ue(0).ue(7).ue(0).u(4, 0).ue(0);
    // No reference marking; the quantiser as it is; no deblocking, which blurs.
    bits.u(2, 0).ue(0).ue(1);
    for top in (0..picture.height()).step_by(BLOCK as usize) {
        for left in (0..picture.width()).step_by(BLOCK as usize) {
            bits.ue(RAW).raw(block(picture, left, top).into_iter());
        }
    }
    bits.unit(0x65)
}

/// One macroblock in 4:2:0: 256 samples of luma, 64 of each chroma. Beyond its edge the picture repeats the edge.
fn block(picture: &RgbImage, left: u32, top: u32) -> Vec<u8> {
    let at = |x: u32, y: u32| {
        let pixel = picture.get_pixel((left + x).min(picture.width() - 1), (top + y).min(picture.height() - 1));
        pixel.0.map(i32::from)
    };
    let mean = |x: u32, y: u32| {
        let four = [at(x, y), at(x + 1, y), at(x, y + 1), at(x + 1, y + 1)];
        std::array::from_fn(|c| (four.iter().map(|pixel| pixel[c]).sum::<i32>() + 2) / 4)
    };
    let places = |step: u32| {
        let sides = (0..BLOCK).step_by(step as usize);
        sides.clone().flat_map(move |y| sides.clone().map(move |x| (x, y)))
    };
    let luma = places(1).map(|(x, y)| convert(at(x, y))[0]);
    let chroma = |plane: usize| places(2).map(move |(x, y)| convert(mean(x, y))[plane]);
    luma.chain(chroma(1)).chain(chroma(2)).collect()
}

/// BT.601 in limited range: luma 16–235, chroma 16–240. No sample is 0, which older decoders refuse in raw blocks.
fn convert([r, g, b]: [i32; 3]) -> [u8; 3] {
    let luma = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16;
    let blue = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128;
    let red = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128;
    [luma.clamp(16, 235) as u8, blue.clamp(16, 240) as u8, red.clamp(16, 240) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exp_golomb() {
        for (value, expected) in [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (25, "000011010")] {
            let mut bits = Bits::default();
            bits.ue(value);
            let written: String = bits.bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            assert_eq!(&written[..bits.filled as usize], expected, "{value}");
        }
    }

    #[test]
    fn no_start_code_appears_inside() {
        let mut bits = Bits::default();
        bits.raw([0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4].into_iter());
        let expected = [0x65, 0, 0, 3, 0, 0, 3, 0, 1, 0, 0, 3, 2, 0, 0, 3, 3, 0, 0, 4, 0x80];
        assert_eq!(bits.unit(0x65), expected);
    }

    #[test]
    fn colours_are_in_limited_range() {
        assert_eq!(convert([0, 0, 0]), [16, 128, 128]);
        assert_eq!(convert([255, 255, 255]), [235, 128, 128]);
        assert_eq!(convert([255, 0, 0]), [82, 90, 240]);
        assert_eq!(convert([0, 0, 255]), [41, 240, 110]);
    }

    #[test]
    fn a_frame_has_one_raw_block_for_each_part_of_the_picture() {
        // A raw block is 384 bytes.
        let frame = key_frame(&RgbImage::from_pixel(48, 40, image::Rgb([10, 200, 30])));
        assert!(frame.len() > 9 * 384 && frame.len() < 9 * 384 + 64);
    }
}
