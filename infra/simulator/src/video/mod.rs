//! Videos that begin with a given picture: an MP4 of exactly the asked length whose first frame is the input and whose
//! bottom edge fills with a bar as time goes by. The same [`Film`] and input always give the same bytes.

mod bits;
mod frames;
mod h264;
mod mp4;

use image::RgbImage;

use crate::still;
use frames::Planes;
use h264::Dimensions;

/// Frames a second: enough to see motion, and a divisor of every tick in use.
pub(crate) const FRAMES_A_SECOND: u32 = 12;
/// The longer side of every video. A raw first frame at this size is a third of a megabyte.
const LONGER: u32 = 640;
/// The shorter side is at least this, or there would be no room for the bar.
const SHORTEST: u32 = 32;

/// What a video is made from, besides its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Film {
    /// Whatever shall make the colour of the bar differ.
    pub(crate) variation: String,
    /// Both sides are even.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) seconds: u32,
}

impl Film {
    pub(crate) fn frames(&self) -> u32 {
        self.seconds * FRAMES_A_SECOND
    }
}

/// The size of a video in the proportions of a picture, whose sides may be anything but 0.
pub(crate) fn fitting(width: u32, height: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(1));
    let side = |length: u32| {
        let scaled = (u64::from(length) * u64::from(LONGER) + longer / 2) / longer;
        (scaled as u32).max(SHORTEST) / 2 * 2
    };
    (side(width), side(height))
}

/// Draws and packs. Costs processor time in proportion to the pixels: not for an async thread.
pub(crate) fn render(film: &Film, input: Option<&RgbImage>) -> Vec<u8> {
    let size = Dimensions { width: film.width as usize, height: film.height as usize };
    let picture = match input {
        Some(input) => still::cover(input, film.width, film.height),
        None => RgbImage::new(film.width, film.height),
    };
    let planes = Planes::new(&picture, size);
    drop(picture);
    let frames = planes.frames(film.frames(), frames::bar_colour(&film.variation));
    let sequence = h264::sequence_parameters(size);
    let picture = h264::picture_parameters();
    mp4::file(&mp4::Track {
        size,
        frames_a_second: FRAMES_A_SECOND,
        sequence_parameters: &sequence,
        picture_parameters: &picture,
        frames: &frames,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x + y) % 256) as u8])
        })
    }

    fn film(width: u32, height: u32, seconds: u32) -> Film {
        Film { variation: "v".into(), width, height, seconds }
    }

    #[test]
    fn the_size_keeps_the_proportions_and_is_even() {
        assert_eq!(fitting(1024, 768), (640, 480));
        assert_eq!(fitting(768, 1376), (356, 640));
        assert_eq!(fitting(64, 64), (640, 640));
        assert_eq!(fitting(10_000, 1), (640, 32));
        for side in 1..400 {
            let (width, height) = fitting(side, 397);
            assert!(width % 2 == 0 && height % 2 == 0 && width.max(height) == 640);
        }
    }

    #[test]
    fn the_same_film_gives_the_same_bytes_and_another_other_ones() {
        let input = gradient(90, 60);
        let one = render(&film(96, 64, 2), Some(&input));
        assert_eq!(one, render(&film(96, 64, 2), Some(&input)));
        assert_ne!(one, render(&Film { variation: "w".into(), ..film(96, 64, 2) }, Some(&input)));
        assert_ne!(one, render(&film(96, 64, 2), Some(&gradient(91, 60))));
    }

    #[test]
    fn no_size_breaks_it() {
        for (width, height) in [(32, 32), (32, 640), (640, 34), (358, 640), (640, 640)] {
            let bytes = render(&film(width, height, 1), Some(&gradient(3, 7)));
            assert_eq!(&bytes[4..8], b"ftyp");
        }
    }

    /// Not a check: writes videos to be looked at, into the folder that `SIMULATOR_PICTURES` names.
    #[test]
    fn show() {
        let Some(folder) = std::env::var_os("SIMULATOR_PICTURES") else {
            return;
        };
        for (name, width, height, seconds) in [("wide", 640, 360, 5), ("tall", 358, 640, 10), ("long", 640, 480, 20)] {
            let input = gradient(width * 2, height * 2);
            let started = std::time::Instant::now();
            let bytes = render(&film(width, height, seconds), Some(&input));
            println!("{name}: {} bytes in {:?}", bytes.len(), started.elapsed());
            let folder = std::path::Path::new(&folder);
            std::fs::write(folder.join(format!("{name}.mp4")), bytes).unwrap();
            still::cover(&input, width, height).save(folder.join(format!("{name}.png"))).unwrap();
        }
    }
}
