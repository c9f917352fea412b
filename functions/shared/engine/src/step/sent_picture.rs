//! The picture that is sent in place of one that a provider would misread or refuse: upright where a camera noted how it was
//! held, and smaller where it is larger than a request may be. The original stays, and so does the content key. What is
//! derived is an object under the hash of the original and of the rule, so that it is made once.

use std::io::Cursor;

use bytes::Bytes;
use fresco_ledger::traits::Objects;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::ContentKey;
use fresco_pipeline::inspection::exif_orientation;
use fresco_pipeline::media::{INPUTS, Media};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::planning::outputs::media_bytes;

/// The version of the rule by which pictures are derived.
const RULE: &str = "1";
const JPEG: &str = "image/jpeg";
/// The longest side of a derived picture, in pixels.
const LONGEST_SIDE: u32 = 4_096;
/// The memory of a decoded picture, in bytes: 33 megapixels. The functions have little.
const DECODED_BYTES: u64 = 100 * 1024 * 1024;
/// The beginning of a JPEG in which its metadata is looked for.
const HEAD: u64 = 64 * 1024;
/// Qualities of the JPEG, tried until it is small enough.
const QUALITIES: [u8; 3] = [92, 80, 65];

/// Returns the object to send for a medium: itself, or what is derived from it. `most` is the largest that the request
/// takes, in bytes.
pub(crate) async fn sent<O: Objects>(objects: &O, media: &Media, most: u64) -> Result<Media, Failure> {
    if media.kind != MediaKind::Image || (media.bytes <= most && !is_turned(objects, media).await?) {
        return Ok(media.clone());
    }
    let rule = format!("{} {RULE} {most}", media.sha256);
    let key = format!("{INPUTS}derived/{}.jpg", ContentKey::digest(rule.as_bytes()));
    let bytes = match objects.head(&key).await? {
        Some(head) => head.bytes,
        None => {
            let derived = derive(&media_bytes(objects, media).await?, most)?;
            let bytes = derived.len() as u64;
            objects.put(&key, derived, JPEG).await?;
            bytes
        }
    };
    tracing::info!(input.key = media.key, sent.key = key, sent.bytes = bytes, "a derived picture is sent");
    Ok(Media { key, bytes, content_type: JPEG.to_owned(), ..media.clone() })
}

/// Whether it is a user's JPEG whose orientation is not the usual one. Providers' pictures are upright.
async fn is_turned<O: Objects>(objects: &O, media: &Media) -> Result<bool, Failure> {
    if media.content_type != JPEG || !media.key.starts_with(INPUTS) {
        return Ok(false);
    }
    let head = objects.get_range(&media.key, None, 0, HEAD.min(media.bytes)).await?;
    Ok(head.is_some_and(|(head, _)| exif_orientation(&head).is_some_and(|orientation| orientation != 1)))
}

fn derive(bytes: &[u8], most: u64) -> Result<Bytes, Failure> {
    let mut picture = upright(bytes)?;
    for quality in QUALITIES {
        let mut jpeg = Vec::new();
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, quality)).map_err(refused)?;
        if jpeg.len() as u64 <= most {
            return Ok(Bytes::from(jpeg));
        }
        let (width, height) = (picture.width() * 3 / 4, picture.height() * 3 / 4);
        picture = picture.resize(width.max(1), height.max(1), FilterType::Triangle);
    }
    Err(problem(format!("it cannot be made smaller than {most} bytes")))
}

/// Decodes a picture within the bound of memory, turned upright.
fn upright(bytes: &[u8]) -> Result<DynamicImage, Failure> {
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| problem(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    if decoder.total_bytes() > DECODED_BYTES {
        let (width, height) = decoder.dimensions();
        return Err(problem(format!("it has {width} × {height} pixels, more than can be turned or made smaller")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    if picture.width().max(picture.height()) > LONGEST_SIDE {
        picture = picture.resize(LONGEST_SIDE, LONGEST_SIDE, FilterType::Triangle);
    }
    picture.apply_orientation(orientation);
    // A JPEG has no transparency. Most pictures are of this form already, and are not copied.
    Ok(DynamicImage::from(picture.into_rgb8()))
}

fn refused(error: image::ImageError) -> Failure {
    problem(error.to_string())
}

fn problem(why: String) -> Failure {
    Failure::new(ErrorName::StepInput, format!("a picture that it takes cannot be sent: {why}; give a smaller one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left half red, right half blue, with the orientation of a camera that was turned.
    fn turned(orientation: u8) -> Vec<u8> {
        let picture =
            image::RgbImage::from_fn(64, 32, |x, _| image::Rgb(if x < 32 { [255, 0, 0] } else { [0, 0, 255] }));
        let mut jpeg = Vec::new();
        DynamicImage::from(picture).write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 95)).unwrap();
        let exif = [
            b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn pictures_are_sent_upright() {
        for (orientation, size, first_is_red) in
            [(1, (64, 32), true), (3, (64, 32), false), (6, (32, 64), true), (8, (32, 64), false)]
        {
            let jpeg = turned(orientation);
            assert_eq!(exif_orientation(&jpeg), Some(u16::from(orientation)));
            let sent = image::load_from_memory(&derive(&jpeg, 1 << 20).unwrap()).unwrap().to_rgb8();
            assert_eq!(sent.dimensions(), size, "{orientation}");
            assert_eq!(sent.get_pixel(2, 2).0[0] > 128, first_is_red, "{orientation}");
            assert_eq!(exif_orientation(&derive(&jpeg, 1 << 20).unwrap()), None);
        }
    }

    #[test]
    fn pictures_are_made_as_small_as_a_request_takes_them() {
        let noise = image::RgbImage::from_fn(400, 300, |x, y| {
            image::Rgb([(x * 7919 + y * 104_729) as u8, (x * y) as u8, y as u8])
        });
        let mut png = Vec::new();
        DynamicImage::from(noise).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let most = png.len() as u64 / 3;
        let small = derive(&png, most).unwrap();
        assert!(small.len() as u64 <= most && small.starts_with(b"\xff\xd8"));
        let impossible = derive(&png, 100).unwrap_err();
        assert_eq!(impossible.name, ErrorName::StepInput);
        assert!(impossible.message.contains("100 bytes"), "{}", impossible.message);
        assert_eq!(derive(b"\xff\xd8\xff no picture", 1 << 20).unwrap_err().name, ErrorName::StepInput);
    }
}
