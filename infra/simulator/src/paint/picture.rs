//! Pictures of requests: a ground whose colours differ by prompt and seed (for an edit its inputs), the prompt on a flat
//! panel, and a line at the foot. The same [`Picture`] with the same inputs always gives the same bytes.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ImageError, Rgb, RgbImage, imageops};
use sha2::{Digest, Sha256};

use super::text::{self, Font};
use crate::input_image;
use crate::video;

const PAPER: Rgb<u8> = Rgb([252, 251, 248]);
const INK: Rgb<u8> = Rgb([28, 32, 44]);
const SHADE: Rgb<u8> = Rgb([10, 12, 24]);

/// The description of a picture, or of a video that shows one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) prompt: String,
    /// The line at the foot.
    pub(crate) footer: String,
    /// A text that makes the colours differ besides the prompt.
    pub(crate) variation: String,
    /// In pixels; both sides of a video are even.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: Format,
}

/// The file formats of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Jpeg,
    Webp,
    Mp4 { seconds: u32 },
}

impl Format {
    /// The format for a value of `output_format`.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "png" => Self::Png,
            "webp" => Self::Webp,
            _ => Self::Jpeg,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Mp4 { .. } => "video/mp4",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Mp4 { .. } => "mp4",
        }
    }
}

impl Picture {
    /// Draws and encodes. Takes processor time in proportion to the pixels.
    pub(crate) fn render(&self, inputs: &[RgbImage]) -> Result<Vec<u8>, ImageError> {
        let mut canvas = RgbImage::new(self.width, self.height);
        if inputs.is_empty() {
            self.paint_ground(&mut canvas);
        } else {
            self.paint_inputs(&mut canvas, inputs);
        }
        self.paint_texts(&mut canvas, !inputs.is_empty());
        self.encode(&canvas)
    }

    /// A black picture of the same size and format.
    pub(crate) fn render_blank(&self) -> Result<Vec<u8>, ImageError> {
        self.encode(&RgbImage::new(self.width, self.height))
    }

    fn encode(&self, canvas: &RgbImage) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        match self.format {
            Format::Png => canvas.write_with_encoder(PngEncoder::new(&mut bytes))?,
            Format::Jpeg => canvas.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 88))?,
            Format::Webp => canvas.write_with_encoder(WebPEncoder::new_lossless(&mut bytes))?,
            Format::Mp4 { seconds } => bytes = video::encode(canvas, seconds),
        }
        Ok(bytes)
    }

    /// Bytes that differ by prompt and variation.
    fn digest(&self) -> [u8; 32] {
        Sha256::digest(format!("{}\0{}", self.prompt, self.variation)).into()
    }

    /// A vertical gradient between two colours.
    fn paint_ground(&self, canvas: &mut RgbImage) {
        let digest = self.digest();
        let last = self.height.max(2) - 1;
        for (_, y, pixel) in canvas.enumerate_pixels_mut() {
            let mix = |c: usize| (u32::from(digest[c]) * (last - y.min(last)) + u32::from(digest[c + 3]) * y) / last;
            *pixel = Rgb([0, 1, 2].map(|c| mix(c).min(255) as u8));
        }
    }

    /// The inputs side by side along the longer side, within a frame.
    fn paint_inputs(&self, canvas: &mut RgbImage, inputs: &[RgbImage]) {
        let (width, height) = canvas.dimensions();
        let is_wide = width >= height;
        let (length, count) = (width.max(height), inputs.len() as u32);
        for (index, input) in (0..count).zip(inputs) {
            let (from, to) = (length * index / count, length * (index + 1) / count);
            if from == to {
                continue;
            }
            let (x, y, across, down) = if is_wide { (from, 0, to - from, height) } else { (0, from, width, to - from) };
            imageops::replace(canvas, &input_image::cover(input, across, down), x.into(), y.into());
        }
        let digest = self.digest();
        let colour = Rgb([digest[0], digest[1], digest[2]]);
        let line = width.min(height) / 48;
        fill(canvas, (0, 0), (width, line), colour);
        fill(canvas, (0, height - line), (width, height), colour);
        fill(canvas, (0, 0), (line, height), colour);
        fill(canvas, (width - line, 0), (width, height), colour);
    }

    /// The line at the foot and the panel with the prompt: right above it for an edit, otherwise in the middle.
    fn paint_texts(&self, canvas: &mut RgbImage, is_edit: bool) {
        let (width, height) = canvas.dimensions();
        let font = Font::smallest(width, height);
        let mut lines = text::wrap(&self.footer, font.columns(width));
        lines.truncate((height / (4 * font.line_height())) as usize);
        let bottom = height - font.line_height() * lines.len() as u32;
        fill(canvas, (0, bottom), (width, height), SHADE);
        font.draw(canvas, bottom, &lines, PAPER);

        // The lowest third of an edit, so that its inputs stay visible.
        let room = if is_edit { bottom.saturating_sub(height * 2 / 3) } else { bottom };
        let margin = width / 20;
        let Some((font, lines)) = text::fit(&self.prompt, width, height, (width - 3 * margin, room)) else { return };
        let text_height = font.line_height() * lines.len() as u32;
        let panel = if is_edit { room } else { room.min(text_height + font.line_height()) };
        let top = if is_edit { bottom - room } else { (bottom - panel) / 2 };
        fill(canvas, (margin, top), (width - margin, top + panel), PAPER);
        let padding = (panel - text_height) / 2;
        font.draw(canvas, top + padding, &lines, INK);
    }
}

/// Fills a rectangle within the canvas, from one corner to before the other.
fn fill(canvas: &mut RgbImage, from: (u32, u32), to: (u32, u32), colour: Rgb<u8>) {
    for y in from.1..to.1 {
        for x in from.0..to.0 {
            canvas.put_pixel(x, y, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(prompt: &str, variation: &str, width: u32, height: u32, format: Format) -> Picture {
        let footer = format!("fal-ai/flux/dev · seed {variation} · {width}x{height} · simulated");
        Picture { prompt: prompt.into(), footer, variation: variation.into(), width, height, format }
    }

    #[test]
    fn every_format_decodes_to_the_requested_size() {
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            let bytes = picture("a red fox in the snow", "1", 320, 200, format).render(&[]).unwrap();
            let guessed = image::guess_format(&bytes).unwrap();
            assert_eq!(guessed.to_mime_type(), format.content_type());
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (320, 200));
        }
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes_and_another_seed_gives_others() {
        for format in [Format::Png, Format::Mp4 { seconds: 2 }] {
            for inputs in [vec![], vec![RgbImage::new(9, 9)]] {
                let render = |prompt, seed| picture(prompt, seed, 256, 256, format).render(&inputs).unwrap();
                assert_eq!(render("a", "1"), render("a", "1"));
                assert_ne!(render("a", "1"), render("a", "2"));
                assert_ne!(render("a", "1"), render("b", "1"));
            }
        }
    }

    #[test]
    fn every_prompt_can_be_drawn_in_every_size() {
        let long = "word ".repeat(3000);
        for prompt in ["", " ", "x", "日本語 🦊 e\u{301}\n\n\ttabs", &long, &"w".repeat(5000)] {
            for (width, height) in [(1, 1), (2, 900), (900, 3), (64, 64), (333, 77), (4096, 40)] {
                picture(prompt, "7", width, height, Format::Png).render(&[]).unwrap();
            }
        }
    }

    #[test]
    fn every_aspect_ratio_can_be_drawn() {
        for width in (1..200).step_by(13) {
            for height in (1..200).step_by(17) {
                for prompt in ["fox", "a red fox in the snow"] {
                    let picture = picture(prompt, "7", width, height, Format::Jpeg);
                    picture.render(&[]).unwrap();
                    picture.render(&[RgbImage::new(5, 3), RgbImage::new(3, 5)]).unwrap();
                }
            }
        }
    }

    /// Draws pictures for a person to look at, into the folder that `SIMULATOR_PICTURES` names.
    #[test]
    fn show() {
        let Some(folder) = std::env::var_os("SIMULATOR_PICTURES") else {
            return;
        };
        let long = "An intricate isometric cutaway of a lighthouse keeper's home at dusk, warm lamplight in every \
                    window, storm clouds rolling in from the sea, seagulls, weathered brick, painted in the manner of a \
                    1930s travel poster with bold shapes and muted teal, ochre and cream — café “Zoë”, 日本 🦊"
            .to_owned();
        let cases = [
            ("a red fox in the snow", "42", 1024, 768, Format::Png),
            (long.as_str(), "1234567890", 1024, 1024, Format::Png),
            ("a lighthouse at dawn, oil painting", "7", 576, 1024, Format::Png),
            (&long.repeat(8), "8", 512, 512, Format::Png),
            ("neon city", "9", 5504, 3072, Format::Png),
            ("neon city", "9", 320, 180, Format::Png),
            ("the camera moves", "9", 640, 360, Format::Mp4 { seconds: 5 }),
        ];
        for (index, (prompt, seed, width, height, format)) in cases.into_iter().enumerate() {
            for inputs in [vec![], vec![RgbImage::from_pixel(90, 60, Rgb([40, 90, 200]))]] {
                let picture = picture(prompt, seed, width, height, format);
                let started = std::time::Instant::now();
                let bytes = picture.render(&inputs).unwrap();
                println!("{width}x{height}: {} bytes in {:?}", bytes.len(), started.elapsed());
                let name = format!("{index}-{}.{}", inputs.len(), format.extension());
                std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
            }
        }
    }
}
