//! The MP4 around the frame (ISO/IEC 14496-12 and 14496-15): one video track of one sample, the index before the data so
//! that a player can begin while it downloads. Times of creation are 0: the same frame gives the same file.

/// Ticks a second, of the movie and of the track.
const SCALE: u32 = 1000;
/// The identity matrix of movie and track, in 16.16 and 2.30 fixed point.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// The track of the container. The units are without length and start code.
pub(super) struct Track<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) seconds: u32,
    pub(super) sequence_parameters: &'a [u8],
    pub(super) picture_parameters: &'a [u8],
    pub(super) frame: &'a [u8],
}

/// The whole file.
pub(super) fn file(track: &Track<'_>) -> Vec<u8> {
    let kind = boxed(b"ftyp", &[b"isom", &be(512), b"isom", b"iso2", b"avc1", b"mp41"]);
    // The data follows the index, whose length does not depend on the offset.
    let offset = kind.len() + index(track, 0).len() + 8;
    let data = boxed(b"mdat", &[&be(track.frame.len() as u32), track.frame]);
    [kind, index(track, offset as u32), data].concat()
}

fn index(track: &Track<'_>, offset: u32) -> Vec<u8> {
    let ticks = track.seconds * SCALE;
    let matrix: Vec<u8> = MATRIX.iter().flat_map(|entry| be(*entry)).collect();
    let movie_header = full(
        b"mvhd",
        0,
        // Created, modified, clock, duration; speed and volume 1; 10 reserved bytes; matrix; 24 unused; next track.
        &[&[0; 8], &be(SCALE), &be(ticks), &be(0x0001_0000), &[1, 0], &[0; 10], &matrix, &[0; 24], &be(2)],
    );
    let (width, height) = (be(track.width << 16), be(track.height << 16));
    // Flags: enabled, in the movie.
    let track_header = full(b"tkhd", 3, &[&[0; 8], &be(1), &[0; 4], &be(ticks), &[0; 16], &matrix, &width, &height]);
    // 0x55C4 is the language "und" in five bits a letter.
    let media_header = full(b"mdhd", 0, &[&[0; 8], &be(SCALE), &be(ticks), &[0x55, 0xC4, 0, 0]]);
    let handler = full(b"hdlr", 0, &[&[0; 4], b"vide", &[0; 12], b"video\0"]);
    let video_header = full(b"vmhd", 1, &[&[0; 8]]);
    let data = boxed(b"dinf", &[&full(b"dref", 0, &[&be(1), &full(b"url ", 1, &[])])]);
    // One sample in one chunk; without a table of key frames every sample is one.
    let table = boxed(
        b"stbl",
        &[
            &full(b"stsd", 0, &[&be(1), &sample_entry(track)]),
            &full(b"stts", 0, &[&be(1), &be(1), &be(ticks)]),
            &full(b"stsc", 0, &[&be(1), &be(1), &be(1), &be(1)]),
            &full(b"stsz", 0, &[&be(0), &be(1), &be(4 + track.frame.len() as u32)]),
            &full(b"stco", 0, &[&be(1), &be(offset)]),
        ],
    );
    let information = boxed(b"minf", &[&video_header, &data, &table]);
    let media = boxed(b"mdia", &[&media_header, &handler, &information]);
    boxed(b"moov", &[&movie_header, &boxed(b"trak", &[&track_header, &media])])
}

/// `avc1` with the decoder's configuration.
fn sample_entry(track: &Track<'_>) -> Vec<u8> {
    let sequence = track.sequence_parameters;
    let picture = track.picture_parameters;
    let short = |number: usize| (number as u16).to_be_bytes();
    // Profile, constraints and level stand in the parameter set after its header byte.
    let profile = sequence.get(1..4).unwrap_or(&[66, 0xC0, 31]);
    let configuration = boxed(
        b"avcC",
        &[
            &[1],
            profile,
            // Length fields of four bytes; one set of each kind.
            &[0xFF, 0xE1],
            &short(sequence.len()),
            sequence,
            &[1],
            &short(picture.len()),
            picture,
        ],
    );
    boxed(
        b"avc1",
        &[
            // Reserved; the data reference; 16 predefined bytes.
            &[0; 6],
            &[0, 1],
            &[0; 16],
            &short(track.width as usize),
            &short(track.height as usize),
            // 72 dpi twice, reserved, one frame a sample, no compressor name, depth 24, no colour table.
            &be(0x0048_0000),
            &be(0x0048_0000),
            &[0; 4],
            &[0, 1],
            &[0; 32],
            &[0, 24],
            &[0xFF, 0xFF],
            &configuration,
        ],
    )
}

fn be(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend(be(length as u32));
    out.extend(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A box with a version of 0 and flags.
fn full(kind: &[u8; 4], flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = be(flags);
    let mut all: Vec<&[u8]> = Vec::with_capacity(parts.len() + 1);
    all.push(&head);
    all.extend_from_slice(parts);
    boxed(kind, &all)
}
