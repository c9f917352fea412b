//! Pictures that show what was asked for: a soft background that differs with prompt and seed (for an edit its inputs),
//! the prompt in a panel, and a line that says where it comes from. The same [`Picture`] from the same inputs always
//! gives the same bytes, so none is stored.

mod background;
mod inputs;
mod panel;
mod text;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use panel::Place;

/// What a picture is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Picture {
    pub(crate) prompt: String,
    /// The parts of the bottom line, joined by a middle dot.
    pub(crate) footer: Vec<String>,
    /// Whatever shall make the colours differ besides the prompt.
    pub(crate) variation: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: Format,
}

/// The encodings that image endpoints offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Png,
    Jpeg,
    Webp,
}

impl Format {
    /// Reads the value of `output_format`.
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
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }
}

/// Draws and encodes. Costs processor time in proportion to the pixels: not for an async thread.
pub(crate) fn render(picture: &Picture, inputs: &[RgbImage]) -> Result<Vec<u8>, image::ImageError> {
    let mut canvas = Canvas::new(picture.width, picture.height);
    if inputs.is_empty() {
        background::paint(&mut canvas, &picture.prompt, &picture.variation);
        panel::paint(&mut canvas, &picture.prompt, &picture.footer, Place::Middle);
    } else {
        inputs::paint(&mut canvas, inputs, &picture.prompt, &picture.variation);
        panel::paint(&mut canvas, &picture.prompt, &picture.footer, Place::Foot);
    }
    encode(picture, &canvas)
}

/// A black picture of the same size and format.
pub(crate) fn blank(picture: &Picture) -> Result<Vec<u8>, image::ImageError> {
    encode(picture, &Canvas::new(picture.width, picture.height))
}

fn encode(picture: &Picture, canvas: &Canvas) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Vec::new();
    let (width, height) = (picture.width, picture.height);
    match picture.format {
        Format::Png => PngEncoder::new(&mut bytes).write_image(&canvas.rgb, width, height, ExtendedColorType::Rgb8)?,
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, 88);
            encoder.write_image(&canvas.rgb, width, height, ExtendedColorType::Rgb8)?;
        }
        Format::Webp => {
            let encoder = WebPEncoder::new_lossless(&mut bytes);
            encoder.write_image(&canvas.rgb, width, height, ExtendedColorType::Rgb8)?;
        }
    }
    Ok(bytes)
}

/// Eight-bit RGB, row by row.
struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

type Colour = [u8; 3];

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self { width, height, rgb: vec![0; width * height * 3] }
    }

    /// Lays a colour over one pixel; outside the canvas nothing happens. `alpha` runs from 0 to 255.
    fn blend(&mut self, x: i64, y: i64, colour: Colour, alpha: u8) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x >= self.width || y >= self.height || alpha == 0 {
            return;
        }
        let at = (y * self.width + x) * 3;
        blend_pixel(&mut self.rgb[at..at + 3], colour, alpha);
    }

    /// Puts a picture down whole. The caller keeps within the canvas.
    fn paste(&mut self, left: usize, top: usize, picture: &RgbImage) {
        let length = picture.width() as usize * 3;
        for (row, pixels) in picture.as_raw().chunks_exact(length).enumerate() {
            let at = ((top + row) * self.width + left) * 3;
            self.rgb[at..at + length].copy_from_slice(pixels);
        }
    }

    /// Lays a colour over a part of a row. The caller keeps within the canvas.
    fn blend_row(&mut self, y: usize, from: usize, to: usize, colour: Colour, alpha: u8) {
        let row = y * self.width;
        for pixel in self.rgb[(row + from) * 3..(row + to) * 3].chunks_exact_mut(3) {
            blend_pixel(pixel, colour, alpha);
        }
    }
}

fn blend_pixel(pixel: &mut [u8], colour: Colour, alpha: u8) {
    let alpha = u32::from(alpha);
    for (old, new) in pixel.iter_mut().zip(colour) {
        let mixed = u32::from(*old) * (255 - alpha) + u32::from(new) * alpha;
        *old = ((mixed + 127) / 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(prompt: &str, variation: &str, width: u32, height: u32, format: Format) -> Picture {
        let footer = vec!["fal-ai/flux/dev".into(), format!("seed {variation}"), format!("{width}x{height}")];
        Picture { prompt: prompt.into(), footer, variation: variation.into(), width, height, format }
    }

    #[test]
    fn every_format_decodes_to_the_asked_size() {
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            let bytes = render(&picture("a red fox in the snow", "1", 320, 200, format), &[]).unwrap();
            let guessed = image::guess_format(&bytes).unwrap();
            assert_eq!(guessed.to_mime_type(), format.content_type());
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (320, 200));
        }
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes_and_another_seed_others() {
        let render = |prompt, seed| render(&picture(prompt, seed, 256, 256, Format::Png), &[]).unwrap();
        assert_eq!(render("a", "1"), render("a", "1"));
        assert_ne!(render("a", "1"), render("a", "2"));
        assert_ne!(render("a", "1"), render("b", "1"));
    }

    #[test]
    fn no_size_and_no_prompt_breaks_it() {
        let long = "word ".repeat(3000);
        for prompt in ["", " ", "x", "日本語 🦊 e\u{301}\n\n\ttabs", &long, &"w".repeat(5000)] {
            for (width, height) in [(1, 1), (2, 900), (900, 3), (64, 64), (333, 77)] {
                render(&picture(prompt, "7", width, height, Format::Png), &[]).unwrap();
            }
        }
    }

    #[test]
    fn no_shape_breaks_it() {
        for width in (1..200).step_by(13) {
            for height in (1..200).step_by(17) {
                for prompt in ["fox", "a red fox in the snow"] {
                    let picture = picture(prompt, "7", width, height, Format::Jpeg);
                    render(&picture, &[]).unwrap();
                    render(&picture, &[RgbImage::new(5, 3), RgbImage::new(3, 5)]).unwrap();
                }
            }
        }
    }

    /// Not a check: draws pictures to be looked at, into the folder that `SIMULATOR_PICTURES` names.
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
            ("a red fox in the snow", "42", 1024, 768),
            (long.as_str(), "1234567890", 1024, 1024),
            ("a lighthouse at dawn, oil painting", "7", 576, 1024),
            (&long.repeat(8), "8", 512, 512),
            ("neon city", "9", 2752, 1536),
        ];
        for (index, (prompt, seed, width, height)) in cases.into_iter().enumerate() {
            let mut picture = picture(prompt, seed, width, height, Format::Png);
            picture.footer.push("simulated".into());
            let started = std::time::Instant::now();
            let bytes = render(&picture, &[]).unwrap();
            println!("{width}x{height}: {} bytes in {:?}", bytes.len(), started.elapsed());
            std::fs::write(std::path::Path::new(&folder).join(format!("{index}.png")), bytes).unwrap();
        }
    }
}
