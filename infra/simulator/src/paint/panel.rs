//! What lies over the background: the panel with the prompt, as large as fits, and the line at the bottom.

use noto_sans_mono_bitmap::FontWeight;

use super::text::{Pen, advance, plain, wrap};
use super::{Canvas, Colour};

const PAPER: Colour = [252, 251, 248];
const INK: Colour = [28, 32, 44];
const SHADE: Colour = [10, 12, 24];
const LINE_SPACING: f32 = 1.08;
/// Below this many pixels a letter is a smudge.
const SMALLEST: usize = 7;

/// Where the panel lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the middle, as large as fits.
    Middle,
    /// Within the lower part, so that what lies behind stays visible.
    Foot,
}

impl Place {
    /// The part of the height that the panel takes at most.
    fn share(self) -> f32 {
        match self {
            Self::Middle => 1.0,
            Self::Foot => 0.3,
        }
    }

    /// How many of the largest letters would stand above each other in the room.
    fn letters(self) -> f32 {
        match self {
            Self::Middle => 9.0,
            Self::Foot => 4.5,
        }
    }

    /// How much of what lies behind the bottom line and the panel shows through. An edit's input often has such a line
    /// and panel at the same place.
    fn alphas(self) -> (u8, u8) {
        match self {
            Self::Middle => (120, 226),
            Self::Foot => (225, 246),
        }
    }
}

pub(super) fn paint(canvas: &mut Canvas, prompt: &str, footer: &[String], place: Place) {
    let bottom = paint_footer(canvas, footer, place);
    let top = bottom - (bottom as f32 * place.share()) as usize;
    paint_prompt(canvas, prompt, top, bottom, place);
}

/// Draws the bottom line (two where one would be too small) and returns where it begins.
fn paint_footer(canvas: &mut Canvas, footer: &[String], place: Place) -> usize {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let comfortable = ((height.min(width)) / 34.0).clamp(14.0, 96.0);
    let half = footer.len().div_ceil(2);
    let one = vec![footer.join(" · ")];
    let two = vec![footer[..half].join(" · "), footer[half..].join(" · ")];
    let fitting = |lines: &[String]| {
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(1).max(1);
        (width * 0.94 / (longest as f32 * advance(FontWeight::Regular, 100) / 100.0)).min(comfortable) as usize
    };
    let lines = if fitting(&one) >= 13 { one } else { two };
    let size = fitting(&lines);
    let line_height = (size as f32 * 1.15) as usize;
    let padding = size / 2;
    let band = line_height * lines.len() + padding * 2;
    if size < SMALLEST || band * 3 > canvas.height {
        return canvas.height;
    }
    let top = canvas.height - band;
    for y in top..canvas.height {
        canvas.blend_row(y, 0, canvas.width, SHADE, place.alphas().0);
    }
    let mut pen = Pen::new(FontWeight::Regular, size);
    for (index, line) in lines.iter().enumerate() {
        let left = (width - pen.width_of(line)) / 2.0;
        pen.draw(canvas, left, (top + padding + index * line_height) as i64, line, PAPER);
    }
    top
}

fn paint_prompt(canvas: &mut Canvas, prompt: &str, top: usize, bottom: usize, place: Place) {
    let shorter = canvas.width.min(bottom - top) as f32;
    let margin = shorter * 0.07;
    let padding = shorter * 0.055;
    let room_across = canvas.width as f32 - 2.0 * (margin + padding);
    let room_down = (bottom - top) as f32 - 2.0 * (margin + padding);
    let Some((size, lines)) = fit(&plain(prompt), room_across, room_down, shorter, place.letters()) else {
        return;
    };

    let mut pen = Pen::new(FontWeight::Bold, size);
    let line_height = size as f32 * LINE_SPACING;
    let text_width = lines.iter().map(|line| pen.width_of(line)).fold(0.0, f32::max);
    let text_height = line_height * lines.len() as f32;
    // The panel hugs the text, but a short prompt does not get a sliver.
    let width = (text_width + 2.0 * padding).max((canvas.width as f32 - 2.0 * margin) * 0.6);
    let height = text_height + 2.0 * padding;
    let left = (canvas.width as f32 - width) / 2.0;
    let top = ((top + bottom) as f32 - height) / 2.0;
    let radius = padding * 0.8;
    let panel = Area { left, top, width, height };
    panel.cast_shadow(canvas, radius, (shorter / 110.0).max(1.0));
    panel.fill(canvas, radius, PAPER, place.alphas().1, None);
    for (index, line) in lines.iter().enumerate() {
        let x = (canvas.width as f32 - pen.width_of(line)) / 2.0;
        let y = top + padding + line_height * index as f32 + (line_height - pen.size() as f32) / 2.0;
        pen.draw(canvas, x, y.round() as i64, line, INK);
    }
}

/// The largest size at which the text fits, and its lines; at the smallest size the rest of the text is cut.
fn fit(prompt: &str, across: f32, down: f32, shorter: f32, letters: f32) -> Option<(usize, Vec<String>)> {
    let smallest = ((shorter / 42.0) as usize).max(16);
    let mut size = ((shorter / letters) as usize).max(smallest);
    let longest_word = prompt.split_whitespace().map(|word| word.chars().count()).max()?;
    loop {
        let columns = Pen::new(FontWeight::Bold, size).columns(across);
        let rows = (down / (size as f32 * LINE_SPACING)) as usize;
        if columns == 0 || rows == 0 {
            if size <= SMALLEST {
                return None;
            }
            size -= 1;
            continue;
        }
        // Breaking a word is the last resort, shrinking comes before it.
        let lines = if prompt.chars().count() > columns * rows { None } else { Some(wrap(prompt, columns)) };
        match lines {
            Some(lines) if lines.len() <= rows && (longest_word <= columns || size <= smallest) => {
                return Some((size, lines));
            }
            _ if size > smallest => size -= (size / 24).max(1),
            _ => {
                let start: String = prompt.chars().take(columns * rows).collect();
                let mut lines = wrap(&start, columns);
                lines.truncate(rows);
                if let Some(last) = lines.last_mut() {
                    let kept = columns.saturating_sub(3).min(last.chars().count());
                    *last = last.chars().take(kept).chain("...".chars()).take(columns).collect();
                }
                return Some((size, lines));
            }
        }
    }
}

/// A rectangle whose corners are rounded when filled.
struct Area {
    left: f32,
    top: f32,
    width: f32,
    height: f32,
}

/// The shadow is this many rings, one beyond the other.
const RINGS: u8 = 8;
const RING_ALPHA: u8 = 9;
/// As dark as all rings together.
const CORE_ALPHA: u8 = 64;

impl Area {
    /// This much on every side and moved down by `lift`.
    fn grown(&self, by: f32, lift: f32) -> Self {
        Self {
            left: self.left - by,
            top: self.top - by + lift,
            width: self.width + 2.0 * by,
            height: self.height + 2.0 * by,
        }
    }

    /// Where all rings lie over each other one darker fill does for them: that is most of the area.
    fn cast_shadow(&self, canvas: &mut Canvas, radius: f32, lift: f32) {
        let core = self.grown(-radius, lift).snapped();
        if let Some(core) = &core {
            core.fill(canvas, 0.0, SHADE, CORE_ALPHA, None);
        }
        for ring in 1..=RINGS {
            let by = lift * f32::from(ring) * 0.35;
            let area = self.grown(by, lift);
            area.fill(canvas, radius + by, SHADE, RING_ALPHA, core.as_ref());
        }
    }

    /// With edges on whole pixels; `None` if nothing is left.
    fn snapped(&self) -> Option<Self> {
        let (left, top) = (self.left.ceil().max(0.0), self.top.ceil().max(0.0));
        let (right, bottom) = ((self.left + self.width).floor(), (self.top + self.height).floor());
        let (width, height) = (right - left, bottom - top);
        (width >= 1.0 && height >= 1.0).then_some(Self { left, top, width, height })
    }

    /// Fills all but the hole, which has to lie within on whole pixels.
    fn fill(&self, canvas: &mut Canvas, radius: f32, colour: Colour, alpha: u8, hole: Option<&Self>) {
        let radius = radius.min(self.width / 2.0).min(self.height / 2.0).max(0.0);
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        let from_y = self.top.max(0.0) as usize;
        let to_y = (bottom.max(0.0).ceil() as usize).min(canvas.height);
        for y in from_y..to_y {
            let centre = y as f32 + 0.5;
            // How far the rounding eats into this row.
            let beyond = (self.top + radius - centre).max(centre - (bottom - radius)).clamp(0.0, radius);
            let inset = radius - (radius * radius - beyond * beyond).max(0.0).sqrt();
            let (start, end) = ((self.left + inset).max(0.0), (right - inset).min(canvas.width as f32));
            let (first, last) = (start.ceil() as usize, end.max(0.0) as usize);
            if first > last {
                continue;
            }
            match hole {
                Some(hole) if (hole.top..hole.top + hole.height).contains(&(y as f32)) => {
                    let gap = hole.left as usize..(hole.left + hole.width) as usize;
                    canvas.blend_row(y, first.min(gap.start), gap.start, colour, alpha);
                    canvas.blend_row(y, gap.end, last.max(gap.end), colour, alpha);
                }
                _ => canvas.blend_row(y, first, last, colour, alpha),
            }
            // The two pixels that the edge only partly covers.
            let part = |covered: f32| (f32::from(alpha) * covered.clamp(0.0, 1.0)) as u8;
            canvas.blend(first as i64 - 1, y as i64, colour, part(first as f32 - start));
            canvas.blend(last as i64, y as i64, colour, part(end - last as f32));
        }
    }
}
