//! Pictures from outside: decoded with bounds on their size, reduced to copies that are enough to draw from, and cropped
//! to the proportions of a result.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

/// The longest side that is accepted.
const LONGEST_SIDE: u32 = 16_384;
/// The memory that a picture may take while it is decoded: some 80 megapixels.
const LARGEST_BYTES: u64 = 256 << 20;
/// The longest side of a copy.
const COPY_SIDE: u32 = 1280;
const COPY_QUALITY: u8 = 92;

/// The reason that bytes are not accepted as a picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAPicture {
    #[error("not a PNG, JPEG or WebP image")]
    Format,
    #[error(transparent)]
    Content(#[from] ImageError),
}

/// Decodes PNG, JPEG or WebP. Transparent pixels lie on white.
pub(crate) fn decode(bytes: &[u8]) -> Result<(RgbImage, ImageFormat), NotAPicture> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(ImageError::from)?;
    let format = match reader.format() {
        Some(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => format,
        _ => return Err(NotAPicture::Format),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(LARGEST_BYTES);
    reader.limits(limits);
    let picture = reader.decode()?;
    if !picture.color().has_alpha() {
        return Ok((picture.into_rgb8(), format));
    }
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (to, from) in flat.pixels_mut().zip(picture.into_rgba8().pixels()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        *to = Rgb([r, g, b].map(|channel| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
    }
    Ok((flat, format))
}

/// A copy as JPEG, at most 1280 pixels long.
pub(crate) fn copy_of(picture: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let (width, height) = picture.dimensions();
    let longer = width.max(height);
    let smaller = (longer > COPY_SIDE).then(|| {
        let side = |length: u32| (u64::from(length) * u64::from(COPY_SIDE) / u64::from(longer)).max(1) as u32;
        imageops::thumbnail(picture, side(width), side(height))
    });
    let mut bytes = Vec::new();
    smaller
        .as_ref()
        .unwrap_or(picture)
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, COPY_QUALITY))
        .map(|()| bytes)
}

/// Decodes a copy from [`copy_of`].
pub(crate) fn reopen(copy: &[u8]) -> Result<RgbImage, ImageError> {
    image::load_from_memory_with_format(copy, ImageFormat::Jpeg).map(DynamicImage::into_rgb8)
}

/// Fills the given size with the middle of a picture.
pub(crate) fn cover(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (from_width, from_height) = (u64::from(picture.width()), u64::from(picture.height()));
    let (to_width, to_height) = (u64::from(width), u64::from(height));
    // The largest part that has the wanted proportions.
    let (part_width, part_height) = if from_width * to_height > from_height * to_width {
        ((from_height * to_width / to_height).max(1), from_height)
    } else {
        (from_width, (from_width * to_height / to_width).max(1))
    };
    let (left, top) = ((from_width - part_width) / 2, (from_height - part_height) / 2);
    let part = imageops::crop_imm(picture, left as u32, top as u32, part_width as u32, part_height as u32);
    imageops::resize(&*part, width, height, FilterType::Triangle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn bytes_that_are_no_picture_and_pictures_that_are_too_large_are_refused() {
        assert!(matches!(decode(b"<html>"), Err(NotAPicture::Format)));
        assert!(matches!(decode(b""), Err(NotAPicture::Format)));
        let whole = png(&RgbImage::new(40, 40).into());
        assert!(matches!(decode(&whole[..60]), Err(NotAPicture::Content(_))));
        let long = png(&image::GrayImage::new(LONGEST_SIDE + 1, 1).into());
        assert!(matches!(decode(&long), Err(NotAPicture::Content(ImageError::Limits(_)))));
    }

    #[test]
    fn transparency_lies_on_white() {
        let clear = image::RgbaImage::from_pixel(2, 2, image::Rgba([200, 0, 0, 0]));
        let (picture, format) = decode(&png(&clear.into())).unwrap();
        assert_eq!((picture.get_pixel(0, 0).0, format), ([255; 3], ImageFormat::Png));
    }

    #[test]
    fn a_copy_is_reduced_and_reopens() {
        let wide = RgbImage::from_pixel(2560, 100, Rgb([30, 60, 90]));
        let copy = reopen(&copy_of(&wide).unwrap()).unwrap();
        assert_eq!(copy.dimensions(), (1280, 50));
        assert!(copy.get_pixel(9, 9).0.iter().zip([30, 60, 90]).all(|(a, b)| a.abs_diff(b) < 4));
        assert_eq!(reopen(&copy_of(&RgbImage::new(1, 1)).unwrap()).unwrap().dimensions(), (1, 1));
    }

    #[test]
    fn cover_crops_to_the_middle() {
        let halves = RgbImage::from_fn(300, 100, |x, _| Rgb(if x < 100 { [255, 0, 0] } else { [0, 0, 255] }));
        let middle = cover(&halves, 50, 50);
        assert_eq!(middle.dimensions(), (50, 50));
        assert_eq!(middle.get_pixel(10, 25).0, [0, 0, 255]);
        for (width, height) in [(1, 1), (1, 900), (900, 1), (7, 3)] {
            assert_eq!(cover(&RgbImage::new(1, 50), width, height).dimensions(), (width, height));
        }
    }
}
