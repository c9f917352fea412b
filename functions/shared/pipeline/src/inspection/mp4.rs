//! Parses MP4 box by box from a stream. A file is a sequence of boxes, each with its length and its type, so that a truncated file
//! and trailing bytes are found at the end. Only the box `moov` is kept, up to a bound: it holds the duration and the size in pixels,
//! and comes before or after the media.

/// The longest `moov` that is accepted. It grows with the number of frames; a few megabytes are hours.
const MAX_MOOV: usize = 8 * 1024 * 1024;

/// The brands of MP4 files (ISO/IEC 14496-12, 14496-14 and 14496-15; Apple's M4V).
const VIDEO: [&[u8]; 14] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"mmp4", b"avc1", b"MSNV", b"M4V ",
    b"M4VH", b"M4VP",
];
/// The brands of pictures in the same container. Moving pictures also name a brand of the list above.
const PICTURES: [&[u8]; 10] =
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"];

/// The content of a file that begins with an `ftyp` box, by its brands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brand {
    /// An MP4 video.
    Video,
    /// HEIC or AVIF.
    Picture,
    /// QuickTime, audio, or an unknown brand.
    Other,
}

/// Returns the brand of a file by its first bytes, if it begins with an `ftyp` box.
pub(super) fn brand(head: &[u8]) -> Option<Brand> {
    (head.get(4..8)? == b"ftyp").then_some(())?;
    let end = usize::try_from(be32(head, 0)?).ok()?.min(head.len());
    // The major brand, its version, then the compatible ones.
    let compatible = head.get(16..end).unwrap_or_default().chunks_exact(4);
    let brands: Vec<&[u8]> = head.get(8..12).into_iter().chain(compatible).collect();
    let names = |list: &[&[u8]]| brands.iter().any(|brand| list.contains(brand));
    Some(match (names(&PICTURES), names(&VIDEO)) {
        (true, _) => Brand::Picture,
        (false, true) => Brand::Video,
        (false, false) => Brand::Other,
    })
}

/// The size and the length of a whole MP4 file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Video {
    pub(super) width: u32,
    pub(super) height: u32,
    /// None where the file leaves it open, as one that is written in fragments may.
    pub(super) duration_ms: Option<u64>,
}

/// The boxes of a file, as far as it was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Boxes {
    /// The beginning of the next box, until its length is known.
    header: Vec<u8>,
    body: Option<Body>,
    moov: Option<Vec<u8>>,
    has_ftyp: bool,
    has_mdat: bool,
    fault: Option<&'static str>,
}

/// The box that is passing.
#[derive(Debug, Clone, Copy)]
struct Body {
    is_moov: bool,
    /// The bytes still to come; `None` for a box that goes on to the end of the file.
    left: Option<u64>,
}

impl Boxes {
    /// Feeds the next bytes. A file that is not MP4 ends at its first box.
    pub(super) fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() && self.fault.is_none() {
            chunk = match self.body {
                Some(body) => self.pass(body, chunk),
                None => self.begin(chunk),
            };
        }
    }

    /// Takes what of the chunk belongs to the box, and gives back the rest.
    fn pass<'a>(&mut self, body: Body, chunk: &'a [u8]) -> &'a [u8] {
        let length = body.left.and_then(|left| usize::try_from(left).ok()).map_or(chunk.len(), |n| n.min(chunk.len()));
        let (now, rest) = chunk.split_at(length);
        if body.is_moov {
            let moov = self.moov.get_or_insert_default();
            if moov.len() + now.len() > MAX_MOOV {
                self.fault = Some("its index is too long");
                return rest;
            }
            moov.extend_from_slice(now);
        }
        let left = body.left.map(|left| left.saturating_sub(now.len() as u64));
        self.body = (left != Some(0)).then_some(Body { left, ..body });
        rest
    }

    /// Takes what of the chunk belongs to the beginning of a box, and gives back the rest.
    fn begin<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let is_long = self.header.starts_with(&[0, 0, 0, 1]) && self.header.len() >= 8;
        let wanted = if is_long { 16 } else { 8 };
        let (now, rest) = chunk.split_at((wanted - self.header.len()).min(chunk.len()));
        self.header.extend_from_slice(now);
        if let Some(header) = opened(&self.header) {
            self.header.clear();
            match header {
                Ok((kind, left)) => self.open(kind, left),
                Err(fault) => self.fault = Some(fault),
            }
        }
        rest
    }

    fn open(&mut self, kind: [u8; 4], left: Option<u64>) {
        let is_moov = &kind == b"moov";
        match &kind {
            b"ftyp" => self.has_ftyp = true,
            _ if !self.has_ftyp => self.fault = Some("it does not begin with its type"),
            b"mdat" => self.has_mdat = true,
            b"moov" if self.moov.is_some() => self.fault = Some("it has two indexes"),
            b"moov" if left.is_some_and(|left| left > MAX_MOOV as u64) => self.fault = Some("its index is too long"),
            b"moov" => self.moov = Some(Vec::new()),
            // Padding behind the end and the like.
            _ if !kind.iter().all(|b| matches!(b, b' '..=b'~' | 0xa9)) => self.fault = Some("it is not whole"),
            _ => {}
        }
        self.body = (left != Some(0)).then_some(Body { is_moov, left });
    }

    /// Returns the video, if the boxes end with the file and none is missing; the error is a description otherwise.
    pub(super) fn finish(&self) -> Result<Video, &'static str> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.header.is_empty() || self.body.is_some_and(|body| body.left.is_some()) {
            return Err("it is not whole");
        }
        let moov = self.moov.as_deref().ok_or("it has no index")?;
        if !self.has_mdat {
            return Err("it has no media in it");
        }
        let duration_ms = duration_ms(moov).ok_or("it does not say how long it is")?;
        let size = boxes(moov).filter(|(kind, _)| kind == b"trak").find_map(|(_, track)| video_size(track));
        let (width, height) = size.filter(|(width, height)| *width > 0 && *height > 0).ok_or("it has no picture")?;
        Ok(Video { width, height, duration_ms })
    }

    /// The number of bytes in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.header.capacity() + self.moov.as_ref().map_or(0, Vec::capacity)
    }
}

/// The kind of a box and the length of its body, which one that goes on to the end does not say.
type Header = ([u8; 4], Option<u64>);

/// The header of a box, once it is complete: 32 bits of length, or 1 and then 64 bits, or 0 for a box that goes on to the end.
fn opened(header: &[u8]) -> Option<Result<Header, &'static str>> {
    let kind: [u8; 4] = header.get(4..8)?.try_into().ok()?;
    let (length, own) = match be32(header, 0)? {
        0 => return Some(Ok((kind, None))),
        1 => (be64(header, 8)?, 16),
        length => (u64::from(length), 8),
    };
    Some(length.checked_sub(own).map(|left| (kind, Some(left))).ok_or("it is not whole"))
}

/// The boxes within a box, up to the first that does not fit.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let own = if be32(rest, 0)? == 1 { 16 } else { 8 };
        let (kind, length) = opened(rest.get(..own)?)?.ok()?;
        let length = usize::try_from(length?).ok()?;
        let body = rest.get(own..own.checked_add(length)?)?;
        rest = &rest[own + length..];
        Some((kind, body))
    })
}

fn child<'a>(body: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(body).find(|(kind, _)| kind == wanted).map(|(_, body)| body)
}

/// `mvhd`: two instants, then the units a second and the duration in them; 64 bits in version 1. All ones is "not known".
fn duration_ms(moov: &[u8]) -> Option<Option<u64>> {
    let header = child(moov, b"mvhd")?;
    let (scale, duration, unknown) = match header.first()? {
        0 => (be32(header, 12)?, u64::from(be32(header, 16)?), u64::from(u32::MAX)),
        1 => (be32(header, 20)?, be64(header, 24)?, u64::MAX),
        _ => return None,
    };
    let milliseconds = u128::from(duration).saturating_mul(1000).checked_div(u128::from(scale))?;
    let milliseconds = u64::try_from(milliseconds).ok()?;
    Some((duration != 0 && duration != unknown).then_some(milliseconds))
}

/// `tkhd` of a track whose handler is `vide`: width and height stand last, in 16.16 bits.
fn video_size(track: &[u8]) -> Option<(u32, u32)> {
    let handler = child(child(track, b"mdia")?, b"hdlr")?;
    (handler.get(8..12)? == b"vide").then_some(())?;
    let header = child(track, b"tkhd")?;
    let at = match header.first()? {
        0 => 76,
        1 => 88,
        _ => return None,
    };
    Some((be32(header, at)? >> 16, be32(header, at + 4)? >> 16))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "mp4_tests.rs"]
mod tests;
