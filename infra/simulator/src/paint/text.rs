//! Text in the font's own raster sizes: wrapping, fitting and drawing. A character that the font lacks (most of Unicode)
//! becomes a replacement mark, so that its place stays visible.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const REPLACEMENT: char = '\u{FFFD}';
/// A picture whose shorter side is n times this long shows each pixel of the font n times in both directions.
const ZOOM_SIDE: u32 = 768;

/// A raster size of the font.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    raster: RasterHeight,
    /// The side of a font's pixel in the picture.
    zoom: u32,
}

impl Font {
    /// The fonts for a picture, the largest first.
    fn all(width: u32, height: u32) -> [Self; 4] {
        let zoom = (width.min(height) / ZOOM_SIDE).max(1);
        let sizes = [RasterHeight::Size32, RasterHeight::Size24, RasterHeight::Size20, RasterHeight::Size16];
        sizes.map(|raster| Self { raster, zoom })
    }

    /// The smallest font for a picture.
    pub(super) fn smallest(width: u32, height: u32) -> Self {
        Self { raster: RasterHeight::Size16, ..Self::all(width, height)[0] }
    }

    pub(super) fn line_height(self) -> u32 {
        self.raster.val() as u32 * self.zoom
    }

    fn advance(self) -> u32 {
        get_raster_width(WEIGHT, self.raster) as u32 * self.zoom
    }

    /// The number of characters that fit into a width.
    pub(super) fn columns(self, width: u32) -> usize {
        (width / self.advance()) as usize
    }

    /// Draws lines, each centred, from a height on. The caller has checked that they fit into the canvas.
    pub(super) fn draw(self, canvas: &mut RgbImage, top: u32, lines: &[String], colour: Rgb<u8>) {
        for (row, line) in (0..).zip(lines) {
            let left = canvas.width().saturating_sub(self.advance() * line.chars().count() as u32) / 2;
            for (column, character) in (0..).zip(line.chars()) {
                self.draw_glyph(
                    canvas,
                    left + column * self.advance(),
                    top + row * self.line_height(),
                    character,
                    colour,
                );
            }
        }
    }

    fn draw_glyph(self, canvas: &mut RgbImage, left: u32, top: u32, character: char, colour: Rgb<u8>) {
        let glyph = |character| get_raster(character, WEIGHT, self.raster);
        let Some(glyph) = glyph(character).or_else(|| glyph(REPLACEMENT)) else { return };
        let (width, height) = (glyph.width() as u32 * self.zoom, glyph.height() as u32 * self.zoom);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let alpha = u32::from(glyph.pixels()[(y / self.zoom) as usize * glyph.width() + (x / self.zoom) as usize]);
            if let Some(pixel) = canvas.get_pixel_mut_checked(left + x, top + y) {
                let blend = |c: usize| (u32::from(pixel.0[c]) * (255 - alpha) + u32::from(colour.0[c]) * alpha) / 255;
                *pixel = Rgb([0, 1, 2].map(|c| blend(c) as u8));
            }
        }
    }
}

/// The largest font in which a text fits into a room, and its lines; in the smallest font the rest of the text is cut.
/// `None` where there is no text or not even one line fits.
pub(super) fn fit(text: &str, width: u32, height: u32, room: (u32, u32)) -> Option<(Font, Vec<String>)> {
    let text = plain(text);
    let longest_word = text.split_whitespace().map(|word| word.chars().count()).max()?;
    let rows = |font: Font| (room.1 / font.line_height()) as usize;
    for font in Font::all(width, height) {
        let columns = font.columns(room.0);
        if longest_word > columns || text.chars().count() > columns * rows(font) {
            continue;
        }
        let lines = wrap(&text, columns);
        if lines.len() <= rows(font) {
            return Some((font, lines));
        }
    }
    let font = Font::smallest(width, height);
    let (columns, rows) = (font.columns(room.0), rows(font));
    let start: String = text.chars().take(columns * rows).collect();
    let mut lines = wrap(&start, columns);
    lines.truncate(rows);
    let last = lines.last_mut()?;
    *last = last.chars().take(columns.saturating_sub(3)).chain("...".chars()).take(columns).collect();
    (columns > 0).then_some((font, lines))
}

/// Replaces typographic marks by plain ones and drops invisible characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{2018}' | '\u{2019}' => out.push('\''),
            '\u{201C}' | '\u{201D}' | '\u{201E}' => out.push('"'),
            '\u{2010}'..='\u{2015}' => out.push('-'),
            '\u{2026}' => out.push_str("..."),
            '\u{0300}'..='\u{036F}' | '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' => {}
            '\n' => out.push('\n'),
            other if other.is_whitespace() || other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Breaks a text into lines of at most `columns` characters, at spaces where there are any.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            for character in word.chars() {
                if used == columns {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push(character);
                used += 1;
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_at_spaces_and_long_words_break() {
        assert_eq!(wrap("a red fox in the snow", 8), ["a red", "fox in", "the snow"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("one\n\ntwo", 9), ["one", "two"]);
        assert!(wrap(" \n ", 9).is_empty());
    }

    #[test]
    fn typographic_marks_become_plain_ones() {
        assert_eq!(plain("“don’t” — wait…"), "\"don't\" - wait...");
        assert_eq!(plain("e\u{301}\t🦊\u{FE0F}"), "e 🦊");
    }

    #[test]
    fn a_short_text_gets_the_largest_font_and_a_long_one_is_cut() {
        let (font, lines) = fit("a fox", 1024, 768, (900, 700)).unwrap();
        assert_eq!((font.line_height(), lines), (32, vec!["a fox".to_owned()]));
        let (font, lines) = fit(&"fox ".repeat(999), 320, 180, (300, 40)).unwrap();
        assert_eq!((font.line_height(), lines.len()), (16, 2));
        assert!(lines[1].ends_with("..."));
        assert!(fit("fox", 20, 10, (20, 10)).is_none());
    }
}
