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
fn what_follows_the_end_is_noticed_but_for_jpeg() {
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let longer = [picture(format, 40, 30), b"<script>".to_vec()].concat();
        assert!(refusal(&longer).contains("not whole"));
    }
}

#[test]
fn data_behind_the_end_of_a_jpeg_is_no_fault() {
    let jpeg = picture(ImageFormat::Jpeg, 40, 30);
    let second = picture(ImageFormat::Jpeg, 99, 77);
    let motion = [b"\0\0\0\x18ftypmp42".to_vec(), vec![0xff; 10_000]].concat();
    for behind in [&[0, 0, b'\r', b'\n'][..], &[0; 17], &second, &second[..200], &motion] {
        let bytes = [&jpeg[..], behind].concat();
        for step in [1, 31, 4096] {
            let info = inspect(&bytes, step).unwrap();
            assert_eq!((info.width, info.height, info.bytes), (40, 30, bytes.len() as u64));
        }
    }
}

#[test]
fn the_end_of_a_thumbnail_or_of_a_file_without_a_scan_is_not_the_end_of_the_picture() {
    let jpeg = picture(ImageFormat::Jpeg, 40, 30);
    let thumbnail = picture(ImageFormat::Jpeg, 8, 6);
    let length = (thumbnail.len() as u16 + 2).to_be_bytes();
    let exif = [&jpeg[..2], &[0xff, 0xe1], &length, &thumbnail, &jpeg[2..]].concat();
    assert_eq!(inspect(&exif, 7).map(|info| (info.width, info.height)), Ok((40, 30)));
    for length in 0..exif.len() {
        assert!(inspect(&exif[..length], 4096).is_err(), "cut to {length}");
    }
    assert!(refusal(b"\xff\xd8\xff\xd9").contains("not whole"));
}

#[test]
fn pictures_of_other_formats_are_refused_with_the_command_that_converts_them() {
    use crate::inspection::describe_input;
    for (bytes, seen) in [
        (&b"GIF89a........"[..], "a GIF"),
        (b"\0\0\0\x1cftypavif....", "a HEIC or AVIF picture"),
        (b"\0\0\0\x1cftypheic....", "a HEIC or AVIF picture"),
        (b"II*\0\x08\0\0\0", "a TIFF picture"),
        (b"MM\0*\0\0\0\x08", "a TIFF picture"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "a BMP picture"),
    ] {
        let problem = describe_input(MediaKind::Image, bytes).unwrap_err();
        assert!(problem.message.contains(seen), "{}", problem.message);
        assert!(problem.advice.contains("sips -s format jpeg FILE"), "{seen}");
        assert!(problem.advice.contains("magick FILE FILE.jpg") && problem.advice.contains("heif-convert"), "{seen}");
    }
    let text = describe_input(MediaKind::Image, b"BMW is a brand of cars").unwrap_err();
    assert!(!text.advice.contains("sips"));
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
    for segments in [0, 1, 7, 9, 40] {
        assert_eq!(inspect(&with(segments), 8192).map(|info| (info.width, info.height)), Ok((40, 30)), "{segments}");
    }
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
