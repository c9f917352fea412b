//! Files made by hand, box by box, whole and damaged.

use crate::catalogue::MediaKind;
use crate::error::{ErrorName, Failure};

use super::*;
use crate::inspection::{Inspector, MediaInfo, SNIFF_BYTES, sniff_head};

fn a_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat()
}

fn long_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 1], &kind[..], &(body.len() as u64 + 16).to_be_bytes(), body].concat()
}

fn endless_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&[0; 4], &kind[..], body].concat()
}

fn ftyp(brands: &[&[u8; 4]]) -> Vec<u8> {
    let compatible: Vec<u8> = brands[1..].iter().flat_map(|brand| brand.to_vec()).collect();
    a_box(b"ftyp", &[&brands[0][..], &[0, 0, 2, 0], &compatible].concat())
}

fn track(handler: &[u8; 4], version: u8, width: u32, height: u32) -> Vec<u8> {
    let mut header = vec![0; if version == 0 { 76 } else { 88 }];
    header[0] = version;
    header.extend((width << 16).to_be_bytes());
    header.extend((height << 16).to_be_bytes());
    let handler = a_box(b"hdlr", &[&[0; 8], &handler[..], &[0; 13]].concat());
    a_box(b"trak", &[a_box(b"tkhd", &header), a_box(b"mdia", &[a_box(b"mdhd", &[0; 24]), handler].concat())].concat())
}

fn mvhd(scale: u32, duration: u32) -> Vec<u8> {
    let body = [&[0; 12][..], &scale.to_be_bytes(), &duration.to_be_bytes(), &[0; 80]].concat();
    a_box(b"mvhd", &body)
}

fn moov() -> Vec<u8> {
    let tracks = [track(b"soun", 0, 0, 0), track(b"vide", 0, 1280, 720), track(b"vide", 0, 64, 64)];
    a_box(b"moov", &[mvhd(600, 3603), a_box(b"free", &[]), tracks.concat()].concat())
}

fn start() -> Vec<u8> {
    ftyp(&[b"isom", b"iso2", b"avc1", b"mp41"])
}

fn media() -> Vec<u8> {
    (0..300_u32).map(|i| (i * 7) as u8).collect()
}

fn inspect(bytes: &[u8], step: usize) -> Result<MediaInfo, Failure> {
    let mut inspector = Inspector::new();
    bytes.chunks(step).for_each(|chunk| inspector.feed(chunk));
    inspector.finish(MediaKind::Video)
}

fn refusal(bytes: &[u8]) -> String {
    let failure = inspect(bytes, 64).unwrap_err();
    assert_eq!(failure.name, ErrorName::OutputInvalid);
    failure.message
}

#[test]
fn whole_files_are_measured_however_they_are_laid_out_and_arrive() {
    let mdat = a_box(b"mdat", &media());
    for bytes in [
        [start(), moov(), mdat.clone()].concat(),
        [start(), a_box(b"free", &[]), mdat.clone(), moov()].concat(),
        [start(), a_box(b"free", b"x"), mdat.clone(), mdat.clone(), moov(), a_box(b"\xa9xyz", b"x")].concat(),
        [start(), moov(), long_box(b"mdat", &media())].concat(),
        [start(), moov(), endless_box(b"mdat", &media())].concat(),
        [start(), mdat.clone(), endless_box(b"moov", &moov()[8..])].concat(),
        [start(), mdat.clone(), long_box(b"moov", &moov()[8..])].concat(),
        [start(), moov(), a_box(b"mdat", &[])].concat(),
    ] {
        for step in [1, 7, 8, 33, 100_000] {
            let info = inspect(&bytes, step).unwrap();
            assert_eq!((info.content_type, info.extension), ("video/mp4", "mp4"));
            assert_eq!((info.bytes, info.width, info.height), (bytes.len() as u64, 1280, 720));
            assert_eq!(info.duration_ms, Some(6005));
        }
    }
}

#[test]
fn no_truncation_goes_unnoticed() {
    let mdat = a_box(b"mdat", &media());
    for bytes in [[start(), moov(), mdat.clone()].concat(), [start(), mdat, moov()].concat()] {
        for length in 0..bytes.len() {
            assert!(inspect(&bytes[..length], 4096).is_err(), "cut to {length} of {}", bytes.len());
        }
    }
}

#[test]
fn what_follows_the_end_is_noticed() {
    let bytes = [start(), moov(), a_box(b"mdat", &media())].concat();
    for more in [&b"x"[..], b"<script>", b"<script>alert(1)</script>", &[0; 3], &[0; 8], &[0; 64], &[0, 0, 0, 7, 0, 0]]
    {
        assert!(refusal(&[&bytes, more].concat()).contains("not whole"), "{more:?}");
    }
    // After a box that goes on to the end nothing can follow: it belongs to it.
    assert!(inspect(&[start(), moov(), endless_box(b"mdat", b"x"), moov()].concat(), 64).is_ok());
}

#[test]
fn missing_and_impossible_boxes_are_named() {
    let mdat = || a_box(b"mdat", &media());
    let index = |parts: &[Vec<u8>]| a_box(b"moov", &parts.concat());
    let video = || track(b"vide", 0, 1280, 720);
    for (bytes, why) in [
        (vec![start(), mdat()], "no index"),
        (vec![start(), moov()], "no media"),
        (vec![start()], "no index"),
        (vec![start(), moov(), moov(), mdat()], "two indexes"),
        (vec![start(), index(&[video()]), mdat()], "how long"),
        (vec![start(), index(&[mvhd(0, 5), video()]), mdat()], "how long"),
        (vec![start(), index(&[mvhd(600, 5)]), mdat()], "no picture"),
        (vec![start(), index(&[mvhd(600, 5), track(b"soun", 0, 1, 1)]), mdat()], "no picture"),
        (vec![start(), index(&[mvhd(600, 5), track(b"vide", 0, 0, 720)]), mdat()], "no picture"),
        (vec![start(), index(&[mvhd(600, 5), track(b"vide", 9, 1280, 720)]), mdat()], "no picture"),
        (vec![start(), index(&[mvhd(600, 5), a_box(b"trak", &[0, 0, 0, 3, 1])]), mdat()], "no picture"),
        (vec![start(), moov(), vec![0, 0, 0, 7, b'm', b'd', b'a', b't']], "not whole"),
        (vec![start(), moov(), [&[0, 0, 0, 1][..], b"mdat", &15_u64.to_be_bytes()].concat()], "not whole"),
        (vec![start(), moov(), [&[0, 0, 0, 1][..], b"mdat", &[0xff; 8]].concat()], "not whole"),
    ] {
        let message = refusal(&bytes.concat());
        assert!(message.contains(why), "{message:?} and not {why:?}");
    }
}

#[test]
fn durations_are_read_in_both_versions() {
    let long = |scale: u32, duration: u64| {
        let body = [&[1][..], &[0; 19], &scale.to_be_bytes(), &duration.to_be_bytes(), &[0; 80]].concat();
        a_box(b"mvhd", &body)
    };
    for (header, expected) in [
        (mvhd(1000, 6000), Some(6000)),
        (mvhd(90_000, 1), Some(0)),
        (mvhd(1000, 0), None),
        (mvhd(1000, u32::MAX), None),
        (long(90_000, 540_000), Some(6000)),
        (long(1, u64::from(u32::MAX)), Some(u64::from(u32::MAX) * 1000)),
        (long(1000, u64::MAX), None),
    ] {
        let index = a_box(b"moov", &[header, track(b"vide", 1, 4096, 2160)].concat());
        let info = inspect(&[start(), index, a_box(b"mdat", b"x")].concat(), 64).unwrap();
        assert_eq!((info.duration_ms, info.width, info.height), (expected, 4096, 2160));
    }
}

#[test]
fn an_index_is_kept_up_to_its_bound_and_media_never() {
    let kept = |bytes: &[Vec<u8>]| {
        let mut boxes = Boxes::default();
        for chunk in bytes.iter().flat_map(|part| part.chunks(64 * 1024)) {
            boxes.feed(chunk);
        }
        (boxes.finish().map(|video| video.width), boxes.held())
    };
    let (video, held) = kept(&[start(), a_box(b"mdat", &vec![0; 40 << 20]), moov()]);
    assert!(video == Ok(1280) && held < 4096, "{held}");
    let padded = |length: usize| a_box(b"moov", &[&moov()[8..], &a_box(b"free", &vec![0; length])[..]].concat());
    let (video, held) = kept(&[start(), padded(4 << 20), a_box(b"mdat", b"x")]);
    assert!(video == Ok(1280) && held <= 2 * MAX_MOOV, "{held}");
    // A length above the bound is refused at once; without a length the download stops at the bound.
    let (video, held) = kept(&[start(), padded(9 << 20), a_box(b"mdat", b"x")]);
    assert!(video == Err("its index is too long") && held < 4096, "{held}");
    let (video, held) = kept(&[start(), a_box(b"mdat", b"x"), endless_box(b"moov", &padded(9 << 20)[8..])]);
    assert!(video == Err("its index is too long") && held <= 2 * MAX_MOOV, "{held}");
    // What is no MP4 file leaves nothing behind.
    let (video, held) = kept(&[b"\x89PNG\r\n\x1a\n".to_vec(), vec![0; 1 << 20]]);
    assert!(video.is_err() && held < 4096, "{held}");
}

#[test]
fn brands_tell_videos_from_pictures() {
    for brands in [
        &[b"isom"][..],
        &[b"mp42", b"isom"],
        &[b"avc1"],
        &[b"M4V ", b"mp42"],
        &[b"XXXX", b"YYYY", b"isom"],
        &[b"dash", b"iso6", b"mp41"],
    ] {
        let head = ftyp(brands);
        let format = sniff_head(MediaKind::Video, &head[..head.len().min(SNIFF_BYTES)]).unwrap();
        assert_eq!((format.content_type(), format.extension(), format.kind()), ("video/mp4", "mp4", MediaKind::Video));
        assert!(sniff_head(MediaKind::Image, &head).unwrap_err().message.ends_with("is a video"));
    }
    for (brands, seen) in [
        (&[b"heic", b"mif1", b"heic"][..], "a HEIC or AVIF picture"),
        (&[b"avis", b"iso6", b"mp42"], "a HEIC or AVIF picture"),
        (&[b"avif", b"mif1"], "a HEIC or AVIF picture"),
        (&[b"qt  "], "a video or an audio file of another format"),
        (&[b"M4A ", b"M4B "], "a video or an audio file of another format"),
    ] {
        let bytes = [ftyp(brands), moov(), a_box(b"mdat", b"x")].concat();
        assert!(refusal(&bytes).ends_with(seen), "{}", refusal(&bytes));
    }
}

#[test]
fn other_containers_are_named() {
    for (bytes, seen) in [
        (&b""[..], "nothing"),
        (b"<!DOCTYPE html>", "a page"),
        (b"{\"detail\":\"x\"}", "JSON"),
        (b"\x89PNG\r\n\x1a\n........", "a picture"),
        (b"GIF89a..........", "a GIF"),
        (b"\x1a\x45\xdf\xa3............", "a WebM or Matroska video"),
        (b"\0\0\0\x08moov........", "something else"),
    ] {
        let message = refusal(bytes);
        assert!(message.starts_with("an MP4 video was expected") && message.ends_with(seen), "{message}");
    }
    for text in [&b"A fox."[..], b"\x89PNG\r\n\x1a\n........", &start()] {
        let failure = sniff_head(MediaKind::Text, text).unwrap_err();
        assert_eq!(failure.name, ErrorName::OutputInvalid);
    }
}
