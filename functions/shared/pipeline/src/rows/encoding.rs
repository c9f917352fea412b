//! The encoding of a file: UTF-8 with or without a byte order mark, or UTF-16 with one, as spreadsheets save "Unicode text".

use std::borrow::Cow;

const UTF_8: &[u8] = b"\xEF\xBB\xBF";
const UTF_16_LITTLE: &[u8] = b"\xFF\xFE";
const UTF_16_BIG: &[u8] = b"\xFE\xFF";

/// Turns a file into UTF-8 without a byte order mark. What is no text comes out as bytes that are not UTF-8.
pub(super) enum Decoder {
    /// The first bytes, too few to hold every mark.
    Start(Vec<u8>),
    Utf8,
    Utf16(Utf16),
}

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder::Start(Vec::new())
    }

    /// Decodes bytes, which may be cut anywhere.
    pub(super) fn feed<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match self {
            Decoder::Utf8 => Cow::Borrowed(bytes),
            Decoder::Utf16(units) => Cow::Owned(units.decoded(bytes)),
            Decoder::Start(seen) => {
                seen.extend_from_slice(bytes);
                if seen.len() < UTF_8.len() {
                    return Cow::Borrowed(&[]);
                }
                Cow::Owned(self.begun())
            }
        }
    }

    /// Decodes what is left at the end of the file.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut text = self.begun();
        if let Decoder::Utf16(units) = self {
            text.extend(units.rest());
        }
        text
    }

    /// Recognises the mark, and decodes what follows it.
    fn begun(&mut self) -> Vec<u8> {
        let Decoder::Start(seen) = self else { return Vec::new() };
        let seen = std::mem::take(seen);
        for (mark, is_big) in [(UTF_16_LITTLE, false), (UTF_16_BIG, true)] {
            if let Some(text) = seen.strip_prefix(mark) {
                let mut units = Utf16 { is_big, byte: None, high: None };
                let text = units.decoded(text);
                *self = Decoder::Utf16(units);
                return text;
            }
        }
        *self = Decoder::Utf8;
        seen.strip_prefix(UTF_8).map(<[u8]>::to_vec).unwrap_or(seen)
    }
}

/// A decoder of UTF-16.
pub(super) struct Utf16 {
    is_big: bool,
    /// The first byte of a unit that was cut.
    byte: Option<u8>,
    /// The first unit of a pair.
    high: Option<u16>,
}

impl Utf16 {
    /// A byte that is no part of any UTF-8.
    const NO_TEXT: u8 = 0xFF;

    fn decoded(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 2);
        for byte in bytes {
            match self.byte.take() {
                None => self.byte = Some(*byte),
                Some(first) if self.is_big => self.unit(u16::from_be_bytes([first, *byte]), &mut text),
                Some(first) => self.unit(u16::from_le_bytes([first, *byte]), &mut text),
            }
        }
        text
    }

    fn unit(&mut self, unit: u16, text: &mut Vec<u8>) {
        let pair = self.high.take();
        let units = pair.into_iter().chain([unit]);
        if pair.is_none() && (0xD800..0xDC00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => text.push(Self::NO_TEXT),
            }
        }
    }

    fn rest(&mut self) -> Option<u8> {
        (self.byte.take().is_some() | self.high.take().is_some()).then_some(Self::NO_TEXT)
    }
}
