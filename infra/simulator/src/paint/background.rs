//! The background: a slanted gradient with soft lights, its colours drawn from a hash of prompt and seed. Every term is
//! a product of a function of x and a function of y, so a pixel costs a few multiplications.

use sha2::{Digest, Sha256};

use super::Canvas;

const LIGHTS: usize = 3;

pub(super) fn paint(canvas: &mut Canvas, prompt: &str, variation: &str) {
    let mut hasher = Sha256::new();
    hasher.update(prompt.as_bytes());
    hasher.update([0]);
    hasher.update(variation.as_bytes());
    let digest = hasher.finalize();
    let unit = |index: usize| f32::from(digest[index]) / 255.0;

    // Neighbouring hues for the ground and one from across the wheel for a light keep it calm but not dull.
    let hue = unit(0) * 360.0;
    let turn = if digest[1] & 1 == 0 { 1.0 } else { -1.0 };
    let spread = 35.0 + unit(2) * 45.0;
    let top = rgb(hue, 0.55 + unit(3) * 0.2, 0.36 + unit(4) * 0.12);
    let bottom = rgb(hue + turn * spread, 0.6 + unit(5) * 0.2, 0.52 + unit(6) * 0.14);
    let lights = [
        rgb(hue + turn * spread * 1.8, 0.85, 0.66),
        rgb(hue + 180.0 + turn * 30.0, 0.75, 0.6),
        rgb(hue - turn * spread, 0.8, 0.7),
    ];

    let longer = canvas.width.max(canvas.height) as f32;
    let bell = |length: usize, centre: f32, radius: f32| -> Vec<f32> {
        let centre = centre * length as f32;
        (0..length).map(|at| (-((at as f32 - centre) / (radius * longer)).powi(2)).exp()).collect()
    };
    let mut across = Vec::with_capacity(LIGHTS);
    let mut down = Vec::with_capacity(LIGHTS);
    for light in 0..LIGHTS {
        let base = 7 + light * 3;
        let radius = 0.22 + unit(base + 2) * 0.22;
        across.push(bell(canvas.width, unit(base), radius));
        down.push(bell(canvas.height, unit(base + 1), radius));
    }
    let strength = [0.62, 0.5, 0.45];

    // The slant: the gradient runs mostly down and a little across.
    let slant = (unit(20) - 0.5) * 0.5;
    let span: [f32; 3] = std::array::from_fn(|c| bottom[c] - top[c]);
    let width = canvas.width;
    for (y, row) in canvas.rgb.chunks_exact_mut(width * 3).enumerate() {
        let v = y as f32 / longer.max(1.0) * (longer / down[0].len() as f32);
        let start: [f32; 3] = std::array::from_fn(|c| top[c] + span[c] * v * (1.0 - slant.abs()));
        let step = slant / width as f32;
        let slope: [f32; 3] = std::array::from_fn(|c| span[c] * step);
        let glow: [[f32; 3]; LIGHTS] =
            std::array::from_fn(|light| std::array::from_fn(|c| lights[light][c] * strength[light] * down[light][y]));
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let weights = [across[0][x], across[1][x], across[2][x]];
            let at = x as f32;
            for c in 0..3 {
                // Screen-like addition, so that lights never burn out to white.
                let light = weights[0] * glow[0][c] + weights[1] * glow[1][c] + weights[2] * glow[2][c];
                let ground = start[c] + slope[c] * at;
                pixel[c] = (255.0 * (ground + light * (1.0 - ground))).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// From hue in degrees, saturation and lightness to channels in 0–1.
pub(super) fn rgb(hue: f32, saturation: f32, lightness: f32) -> [f32; 3] {
    let chroma = (1.0 - (2.0 * lightness - 1.0).abs()) * saturation;
    let sector = hue.rem_euclid(360.0) / 60.0;
    let second = chroma * (1.0 - (sector.rem_euclid(2.0) - 1.0).abs());
    let (r, g, b) = match sector as u8 {
        0 => (chroma, second, 0.0),
        1 => (second, chroma, 0.0),
        2 => (0.0, chroma, second),
        3 => (0.0, second, chroma),
        4 => (second, 0.0, chroma),
        _ => (chroma, 0.0, second),
    };
    [r, g, b].map(|channel| channel + lightness - chroma / 2.0)
}
