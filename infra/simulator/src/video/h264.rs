//! The least H.264 that shows a given picture and then something that moves: constrained baseline, a first frame of raw
//! macroblocks (I_PCM), later frames that repeat it but for a few raw ones. Nothing is predicted, transformed or
//! compressed, so what a decoder gives is what went in (ITU-T H.264, clause 7.3, names the fields used here).

use super::bits::Bits;

/// The side of a macroblock in pixels.
pub(super) const BLOCK: usize = 16;
/// Level 3.1: up to 3600 macroblocks a frame.
const LEVEL: u32 = 31;
/// `frame_num` counts in so many bits and then begins anew.
const FRAME_NUMBER_BITS: u32 = 8;
/// Matrix, primaries and transfer of BT.601 (525 lines), as the conversion of colours uses it.
const BT601: u32 = 6;

/// `mb_type` of I_PCM, in an I slice and in a P slice, where the five inter types come first.
const RAW_IN_I: u32 = 25;
const RAW_IN_P: u32 = 30;

/// One macroblock in 4:2:0: 256 samples of luma, 64 of each chroma.
pub(super) struct Block {
    pub(super) luma: [u8; 256],
    pub(super) blue: [u8; 64],
    pub(super) red: [u8; 64],
}

/// The size of a frame, in pixels that are seen and in macroblocks that are coded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dimensions {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Dimensions {
    pub(super) fn columns(self) -> usize {
        self.width.div_ceil(BLOCK)
    }

    pub(super) fn rows(self) -> usize {
        self.height.div_ceil(BLOCK)
    }
}

/// The sequence parameter set. What the last column and row have too much is cropped, in steps of two pixels.
pub(super) fn sequence_parameters(size: Dimensions) -> Vec<u8> {
    let (columns, rows) = (size.columns(), size.rows());
    let right = (columns * BLOCK - size.width) / 2;
    let below = (rows * BLOCK - size.height) / 2;
    let mut bits = Bits::default();
    // profile_idc 66 with constraint_set0 and 1: constrained baseline.
    bits.u(8, 66).u(8, 0b1100_0000).u(8, LEVEL).ue(0);
    // frame_num's length; pic_order_cnt_type 2, as frames are shown in the order of decoding; one reference frame.
    bits.ue(FRAME_NUMBER_BITS - 4).ue(2).ue(1).u(1, 0);
    bits.ue(columns as u32 - 1).ue(rows as u32 - 1);
    // Whole frames only, direct_8x8_inference, cropping.
    bits.u(1, 1).u(1, 1).u(1, 1).ue(0).ue(right as u32).ue(0).ue(below as u32);
    // The usability information: limited range and the colours of BT.601, or a player guesses by the size.
    bits.u(1, 1).u(1, 0).u(1, 0);
    bits.u(1, 1).u(3, 5).u(1, 0).u(1, 1).u(8, BT601).u(8, BT601).u(8, BT601);
    bits.u(1, 0).u(1, 0).u(1, 0).u(1, 0).u(1, 0);
    // No frame is held back for reordering, so a player shows each as it comes.
    bits.u(1, 1).u(1, 1).ue(0).ue(0).ue(10).ue(10).ue(0).ue(1);
    bits.unit(0x67)
}

/// The picture parameter set: CAVLC, one slice group, one reference, deblocking under the control of the slice.
pub(super) fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0).ue(0).u(1, 0).u(1, 0).ue(0).ue(0).ue(0);
    bits.u(1, 0).u(2, 0).se0().se0().se0();
    bits.u(1, 1).u(1, 0).u(1, 0);
    bits.unit(0x68)
}

/// A frame of its own, all macroblocks in order.
pub(super) fn key_frame(blocks: impl Iterator<Item = Block>) -> Vec<u8> {
    let mut bits = Bits::default();
    // first_mb, slice_type I for the whole picture, parameter set, frame_num, idr_pic_id.
    bits.ue(0).ue(7).ue(0).u(FRAME_NUMBER_BITS, 0).ue(0);
    // Nothing special about references; quantiser as it is; no deblocking, which would blur.
    bits.u(1, 0).u(1, 0).se0().ue(1);
    for block in blocks {
        bits.ue(RAW_IN_I);
        raw(&mut bits, &block);
    }
    bits.unit(0x65)
}

/// A frame that repeats the one before, but for some macroblocks, given with their addresses in rising order.
pub(super) fn repeat_frame(number: u32, total: usize, changed: impl Iterator<Item = (usize, Block)>) -> Vec<u8> {
    let mut bits = Bits::default();
    // first_mb, slice_type P for the whole picture, parameter set, frame_num.
    bits.ue(0).ue(5).ue(0).u(FRAME_NUMBER_BITS, number % (1 << FRAME_NUMBER_BITS));
    // The default number of references, in the default order, marked by the sliding window; then as above.
    bits.u(1, 0).u(1, 0).u(1, 0).se0().ue(1);
    let mut next = 0;
    for (address, block) in changed {
        bits.ue((address - next) as u32).ue(RAW_IN_P);
        raw(&mut bits, &block);
        next = address + 1;
    }
    if next < total {
        bits.ue((total - next) as u32);
    }
    bits.unit(0x41)
}

fn raw(bits: &mut Bits, block: &Block) {
    bits.align().bytes(&block.luma).bytes(&block.blue).bytes(&block.red);
}
