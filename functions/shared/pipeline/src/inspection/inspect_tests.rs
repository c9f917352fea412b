//! Real pictures in every format, whole and damaged.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::*;

fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn inspect(bytes: &[u8], step: usize) -> Result<MediaInfo, Failure> {
    let mut inspector = Inspector::new();
    for chunk in bytes.chunks(step) {
        inspector.feed(chunk);
    }
    assert_eq!(inspector.bytes(), bytes.len() as u64);
    inspector.finish(MediaKind::Image)
}

fn refusal(bytes: &[u8]) -> String {
    let failure = inspect(bytes, 4096).unwrap_err();
    assert_eq!(failure.name, ErrorName::OutputInvalid);
    failure.message
}

const FORMATS: [(ImageFormat, &str, &str); 3] = [
    (ImageFormat::Png, "image/png", "png"),
    (ImageFormat::Jpeg, "image/jpeg", "jpg"),
    (ImageFormat::WebP, "image/webp", "webp"),
];

/// A lossy WebP file around a frame's header; nothing here looks at what follows it.
fn lossy_webp(width: u16, height: u16, extended: bool) -> Vec<u8> {
    let mut frame = b"\x50\x01\x00\x9d\x01\x2a".to_vec();
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend([0; 10]);
    let chunk = |name: &[u8], data: &[u8]| [name, &(data.len() as u32).to_le_bytes(), data].concat();
    let mut body = b"WEBP".to_vec();
    if extended {
        let (width, height) = ((u32::from(width) - 1).to_le_bytes(), (u32::from(height) - 1).to_le_bytes());
        body.extend(chunk(b"VP8X", &[&[0; 4], &width[..3], &height[..3]].concat()));
    }
    body.extend(chunk(b"VP8 ", &frame));
    chunk(b"RIFF", &body)
}

#[test]
fn whole_pictures_are_measured_however_they_arrive() {
    for (format, content_type, extension) in FORMATS {
        for (width, height) in [(1, 1), (17, 33), (300, 200)] {
            let bytes = picture(format, width, height);
            for step in [1, 7, 31, 33, 100_000] {
                let info = inspect(&bytes, step).unwrap();
                let expected = MediaInfo {
                    content_type,
                    extension,
                    bytes: bytes.len() as u64,
                    sha256: hex::encode(Sha256::digest(&bytes)),
                    width,
                    height,
                    duration_ms: None,
                };
                assert_eq!(info, expected);
            }
        }
    }
    for extended in [false, true] {
        let info = inspect(&lossy_webp(640, 480, extended), 64).unwrap();
        assert_eq!((info.width, info.height, info.extension), (640, 480, "webp"));
    }
}

#[test]
fn no_truncation_goes_unnoticed() {
    for (format, _, _) in FORMATS {
        let bytes = picture(format, 40, 30);
        for length in 0..bytes.len() {
            // A JPEG's data may hold what ends it only where it really ends, so every cut shows.
            assert!(inspect(&bytes[..length], 4096).is_err(), "{format:?} cut to {length} of {}", bytes.len());
        }
    }
}

#[test]
fn what_follows_the_end_is_noticed() {
    for (format, _, _) in FORMATS {
        let longer = [picture(format, 40, 30), b"<script>".to_vec()].concat();
        assert!(refusal(&longer).contains("not whole"));
    }
    let jpeg = picture(ImageFormat::Jpeg, 40, 30);
    assert!(inspect(&[&jpeg[..], &[0, 0, b'\r', b'\n']].concat(), 64).is_ok());
    assert!(inspect(&[&jpeg[..], &[0; 17]].concat(), 64).is_err());
}

#[test]
fn a_jpeg_may_carry_much_before_its_size() {
    let jpeg = picture(ImageFormat::Jpeg, 40, 30);
    let with = |segments: usize| {
        let segment = [&[0xff, 0xeb, 0xff, 0xff], &[0x55; 65_533][..]].concat();
        let mut bytes = jpeg[..2].to_vec();
        bytes.extend([0xff, 0xff, 0xff]);
        for _ in 0..segments {
            bytes.extend_from_slice(&segment);
        }
        // The marker's own 0xff follows the fill bytes.
        if segments == 0 {
            bytes.truncate(2)
        }
        bytes.extend_from_slice(&jpeg[2..]);
        bytes
    };
    for segments in [0, 1, 7] {
        assert_eq!(inspect(&with(segments), 8192).map(|info| (info.width, info.height)), Ok((40, 30)), "{segments}");
    }
    assert!(refusal(&with(9)).contains("does not say"));
}

#[test]
fn other_formats_are_named() {
    for (bytes, seen) in [
        (&b""[..], "nothing"),
        (b"<!DOCTYPE html><html>", "a page"),
        (b"\n  <?xml version='1.0'?><Error>", "a page"),
        (b"{\"detail\":\"Not found\"}", "JSON"),
        (b"[]", "JSON"),
        (b"GIF89a........", "a GIF"),
        (b"\0\0\0\x1cftypavif....", "a HEIC or AVIF picture"),
        (b"RIFF\x04\0\0\0WAVE", "something else"),
        (b"\x89PNG\r\n\x1a", "something else"),
    ] {
        assert!(refusal(bytes).contains(seen), "{seen}");
        assert!(sniff_head(MediaKind::Image, bytes).is_err());
    }
}

#[test]
fn a_wrong_structure_is_refused() {
    let png = picture(ImageFormat::Png, 40, 30);
    let webp = picture(ImageFormat::WebP, 40, 30);
    let jpeg = picture(ImageFormat::Jpeg, 40, 30);
    let change = |bytes: &[u8], at: usize, with: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    for bytes in [
        change(&png, 12, b"IDAT"),
        change(&png, 16, &[0; 4]),
        change(&png, png.len() - 1, &[0]),
        change(&webp, 4, &[0; 4]),
        change(&webp, 16, &[0xff; 4]),
        change(&webp, 12, b"ANIM"),
        change(&webp, 20, &[0]),
        // Another start of an image, an end and a scan where a segment should be.
        change(&jpeg, 2, b"\xff\xd8"),
        change(&jpeg, 2, b"\xff\xd9"),
        change(&jpeg, 2, b"\xff\xda"),
        change(&jpeg, 4, &[0, 1]),
        lossy_webp(0, 480, false),
    ] {
        inspect(&bytes, 4096).unwrap_err();
    }
}

#[test]
fn formats_are_known_from_the_first_bytes() {
    for (format, content_type, extension) in FORMATS {
        let bytes = picture(format, 3, 2);
        let known = sniff_head(MediaKind::Image, &bytes[..crate::inspection::SNIFF_BYTES]).unwrap();
        assert_eq!((known.content_type(), known.extension()), (content_type, extension));
    }
}
