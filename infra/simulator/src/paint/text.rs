//! Text from bitmap glyphs at any size: which glyph stands for a character, how a line wraps, and how a glyph is drawn.
//! What the font lacks (most of Unicode) becomes a box, so that length and place stay visible.

use std::collections::HashMap;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{Canvas, Colour};

/// A size and weight of the font, with the glyphs scaled so far.
pub(super) struct Pen {
    weight: FontWeight,
    size: usize,
    advance: f32,
    glyphs: HashMap<char, Glyph>,
}

struct Glyph {
    width: usize,
    coverage: Vec<u8>,
}

impl Pen {
    /// `size` is the height of a line in pixels.
    pub(super) fn new(weight: FontWeight, size: usize) -> Self {
        Self { weight, size, advance: advance(weight, size), glyphs: HashMap::new() }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn width_of(&self, line: &str) -> f32 {
        self.advance * line.chars().count() as f32
    }

    /// How many characters stand side by side in so many pixels.
    pub(super) fn columns(&self, pixels: f32) -> usize {
        (pixels / self.advance) as usize
    }

    /// Draws one line with its top left corner at the given place.
    pub(super) fn draw(&mut self, canvas: &mut Canvas, left: f32, top: i64, line: &str, colour: Colour) {
        let (weight, size) = (self.weight, self.size);
        for (index, character) in line.chars().enumerate() {
            if character == ' ' {
                continue;
            }
            let x = (left + self.advance * index as f32).round() as i64;
            let glyph = self.glyphs.entry(character).or_insert_with(|| glyph(character, weight, size));
            for (dy, row) in glyph.coverage.chunks_exact(glyph.width).enumerate() {
                for (dx, alpha) in row.iter().enumerate() {
                    canvas.blend(x + dx as i64, top + dy as i64, colour, *alpha);
                }
            }
        }
    }
}

/// The distance from one character to the next.
pub(super) fn advance(weight: FontWeight, size: usize) -> f32 {
    size as f32 * get_raster_width(weight, RasterHeight::Size32) as f32 / 32.0
}

fn glyph(character: char, weight: FontWeight, size: usize) -> Glyph {
    let raster = match size {
        0..=16 => RasterHeight::Size16,
        17..=20 => RasterHeight::Size20,
        21..=24 => RasterHeight::Size24,
        _ => RasterHeight::Size32,
    };
    let width = (advance(weight, size).round() as usize).max(1);
    let Some(source) = get_raster(character, weight, raster) else {
        return missing(width, size);
    };
    if source.height() == size {
        return Glyph { width: source.width(), coverage: source.pixels().to_vec() };
    }
    let (from_width, from_height, pixels) = (source.width(), source.height(), source.pixels());
    let at = |x: usize, y: usize| f32::from(pixels[y.min(from_height - 1) * from_width + x.min(from_width - 1)]);
    let enlarged = size > from_height;
    let mut coverage = Vec::with_capacity(width * size);
    for y in 0..size {
        let sy = ((y as f32 + 0.5) * from_height as f32 / size as f32 - 0.5).max(0.0);
        let (y0, fy) = (sy as usize, sy.fract());
        for x in 0..width {
            let sx = ((x as f32 + 0.5) * from_width as f32 / width as f32 - 0.5).max(0.0);
            let (x0, fx) = (sx as usize, sx.fract());
            let upper = at(x0, y0) * (1.0 - fx) + at(x0 + 1, y0) * fx;
            let lower = at(x0, y0 + 1) * (1.0 - fx) + at(x0 + 1, y0 + 1) * fx;
            let mut value = (upper * (1.0 - fy) + lower * fy) / 255.0;
            if enlarged {
                // Interpolation blurs the edge over many pixels; narrowing it again makes large letters crisp.
                let scale = (size as f32 / from_height as f32).min(4.0);
                value = ((value - 0.5) * scale + 0.5).clamp(0.0, 1.0);
            }
            coverage.push((value * 255.0) as u8);
        }
    }
    Glyph { width, coverage }
}

/// A hollow box.
fn missing(width: usize, size: usize) -> Glyph {
    let line = (size / 16).max(1);
    let (left, right) = (width / 8, width - width / 8);
    let (top, bottom) = (size / 5, size - size / 4);
    let mut coverage = vec![0; width * size];
    for y in top..bottom {
        for x in left..right {
            let edge = x < left + line || x + line >= right || y < top + line || y + line >= bottom;
            if edge {
                coverage[y * width + x] = 150;
            }
        }
    }
    Glyph { width, coverage }
}

/// What is drawn for a text: typographic marks that the font lacks become plain ones, invisible characters go.
pub(super) fn plain(text: &str) -> String {
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
    fn wraps_at_spaces_and_breaks_what_is_too_long() {
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
}
