//! Walks a JPEG file while it streams: the segments, and the data of its scans, up to the end of the first picture. Phones put more
//! behind that end (the video of a motion photo, further pictures of the Multi-Picture Format), which is no part of the picture.

/// The position in the file's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the two bytes of the start.
    #[default]
    Start,
    /// Within the start, after its 0xff.
    StartCode,
    /// Before the 0xff of a marker.
    Marker,
    /// After the 0xff of a marker, or after fill bytes.
    Code,
    /// Before the length of this marker's segment.
    Length(u8),
    /// After the first byte of that length.
    LengthLow(u8, u8),
    /// In a segment: its marker and the bytes that are left.
    Segment(u8, usize),
    /// In the data of a scan.
    Scan,
    /// In the data of a scan, after 0xff.
    ScanCode,
    /// After the end of the picture.
    End,
    /// No JPEG file.
    Broken,
}

/// A walk through a JPEG file. It holds five bytes of the file at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Jpeg {
    state: State,
    frame: Vec<u8>,
    size: Option<(u32, u32)>,
    scanned: bool,
}

/// The bytes of a frame that hold its size: the precision, the height and the width.
const FRAME: usize = 5;

impl Jpeg {
    /// Feeds the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.state {
                State::End | State::Broken => return,
                State::Segment(marker, left) => {
                    let (now, later) = bytes.split_at(left.min(bytes.len()));
                    self.segment(marker, left, now);
                    bytes = later;
                }
                State::Scan => {
                    let Some(at) = bytes.iter().position(|byte| *byte == 0xff) else { return };
                    self.state = State::ScanCode;
                    bytes = &bytes[at + 1..];
                }
                _ => {
                    self.step(first);
                    bytes = rest;
                }
            }
        }
    }

    /// Returns whether the picture is complete: it has a scan and its end.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::End && self.scanned
    }

    /// Returns width and height by the first frame.
    pub(super) fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Start, 0xff) => State::StartCode,
            (State::StartCode, 0xd8) => State::Marker,
            // Fill bytes may stand before any marker.
            (State::Marker | State::Code, 0xff) => State::Code,
            (State::ScanCode, 0xff) => State::ScanCode,
            // A stuffed byte or a restart marker: the scan goes on. Decoders skip the others.
            (State::ScanCode, 0x00..=0x01 | 0xd0..=0xd8) => State::Scan,
            (State::Code | State::ScanCode, 0xd9) => State::End,
            (State::Code, 0x01 | 0xd0..=0xd7) => State::Marker,
            (State::Code, 0x00 | 0xd8) => State::Broken,
            // A scan before any frame.
            (State::Code, SCAN) if self.size.is_none() => State::Broken,
            (State::Code | State::ScanCode, marker) => State::Length(marker),
            (State::Length(marker), high) => State::LengthLow(marker, high),
            (State::LengthLow(marker, high), low) => self.begin(marker, usize::from(u16::from_be_bytes([high, low]))),
            // Decoders skip what stands between the segments behind the frame.
            (State::Marker, _) if self.size.is_some() => State::Marker,
            _ => State::Broken,
        };
    }

    /// Returns the state in a segment of this length, which counts its own two bytes.
    fn begin(&mut self, marker: u8, length: usize) -> State {
        match length.checked_sub(2) {
            None => State::Broken,
            Some(0) => Self::after(marker),
            Some(left) => {
                self.frame.clear();
                State::Segment(marker, left)
            }
        }
    }

    fn segment(&mut self, marker: u8, left: usize, now: &[u8]) {
        if is_frame(marker) && self.size.is_none() {
            let room = (FRAME - self.frame.len()).min(now.len());
            self.frame.extend_from_slice(&now[..room]);
            if let [_, h1, h2, w1, w2] = self.frame[..] {
                self.size = Some((u16::from_be_bytes([w1, w2]).into(), u16::from_be_bytes([h1, h2]).into()));
            }
        }
        let left = left - now.len();
        if left > 0 {
            self.state = State::Segment(marker, left);
            return;
        }
        self.scanned |= marker == SCAN && self.size.is_some();
        self.state = Self::after(marker);
    }

    const fn after(marker: u8) -> State {
        if marker == SCAN { State::Scan } else { State::Marker }
    }
}

const SCAN: u8 = 0xda;

/// A frame of any process; the three that are left out are tables.
const fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}
