//! The size of a result, from the values of the request and the size of its first input.

use serde_json::{Map, Value};

use super::endpoint::Endpoint;
use crate::input_cache::CachedInput;
use crate::video;

/// The bound of sizes that come from the caller, so that one request cannot take all the memory.
const LONGEST_SIDE: u32 = 4096;
/// The size without any other rule.
const DEFAULT: (u32, u32) = (1024, 1024);

/// Width and height in pixels. `values` are checked, with their defaults. By order: `image_size`, `aspect_ratio` or
/// `resolution_mode`, the first input times `upscale_factor`, a square megapixel.
pub(super) fn of_picture(endpoint: &Endpoint, values: &Map<String, Value>, inputs: &[CachedInput]) -> (u32, u32) {
    let text = |name: &str| values.get(name).and_then(Value::as_str);
    if let Some(size) = values.get("image_size") {
        return by_image_size(size);
    }
    let input = inputs.first().map(|input| (input.width, input.height));
    let ratio = text("aspect_ratio").or_else(|| text("resolution_mode")).unwrap_or_default();
    let by_ratio = match (endpoint.sizes.get(ratio), input) {
        (Some(_), Some(input)) if ratio == "auto" => Some(nearest(endpoint, input)),
        (Some(size), _) => Some(*size),
        (None, _) => proportions(ratio).map(|(width, height)| a_megapixel(width, height)),
    };
    match (by_ratio, input) {
        (Some((width, height)), _) => {
            let times = match text("resolution") {
                Some("4K") => 4,
                Some("2K") => 2,
                _ => 1,
            };
            (width * times, height * times)
        }
        (None, Some((width, height))) => {
            let factor = values.get("upscale_factor").and_then(Value::as_f64).unwrap_or(1.0);
            let side = |length: u32| (f64::from(length) * factor).round().max(1.0) as u64;
            shrink(side(width), side(height))
        }
        (None, None) => DEFAULT,
    }
}

/// Width and height of a video, in the proportions of `aspect_ratio` or else of the first input.
pub(super) fn of_video(values: &Map<String, Value>, inputs: &[CachedInput]) -> (u32, u32) {
    let ratio = values.get("aspect_ratio").and_then(Value::as_str).and_then(proportions);
    let input = || inputs.first().map(|input| (input.width, input.height));
    let (width, height) = ratio.or_else(input).unwrap_or((16, 9));
    video::fitting(width, height)
}

fn proportions(ratio: &str) -> Option<(u32, u32)> {
    let (width, height) = ratio.split_once(':')?;
    let side = |text: &str| text.parse::<f64>().ok().map(|side| (side * 10.0) as u32).filter(|side| *side > 0);
    Some((side(width)?, side(height)?))
}

/// About a megapixel in these proportions, both sides multiples of 16.
fn a_megapixel(width: u32, height: u32) -> (u32, u32) {
    let ratio = f64::from(width) / f64::from(height);
    let side = |length: f64| ((length / 16.0).round() as u32).max(1) * 16;
    (side(1024.0 * ratio.sqrt()), side(1024.0 / ratio.sqrt()))
}

fn by_image_size(size: &Value) -> (u32, u32) {
    let side = |name: &str| size.get(name).and_then(Value::as_u64).unwrap_or(512).max(1);
    match size.as_str() {
        Some("square") => (512, 512),
        Some("portrait_4_3") => (768, 1024),
        Some("portrait_16_9") => (576, 1024),
        Some("landscape_4_3") => (1024, 768),
        Some("landscape_16_9") => (1024, 576),
        Some(_) => DEFAULT,
        None => shrink(side("width"), side("height")),
    }
}

/// The size of the endpoint whose proportions are nearest, by the quotient of both.
fn nearest(endpoint: &Endpoint, (width, height): (u32, u32)) -> (u32, u32) {
    let wanted = f64::from(width) / f64::from(height.max(1));
    let distance = |size: &(u32, u32)| (f64::from(size.0) / f64::from(size.1) / wanted).ln().abs();
    let sizes = endpoint.sizes.iter().filter(|(name, _)| *name != "auto").map(|(_, size)| *size);
    sizes.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(DEFAULT)
}

fn shrink(width: u64, height: u64) -> (u32, u32) {
    let longest = u64::from(LONGEST_SIDE);
    let longer = width.max(height).max(longest);
    let scaled = |side: u64| (side * longest / longer).max(1) as u32;
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::endpoint;
    use super::*;

    #[test]
    fn edits_and_videos_have_the_size_of_their_input() {
        let input = |width, height| CachedInput { copy: String::new(), width, height };
        let cases = [
            ("fal-ai/flux-kontext/dev", json!({ "resolution_mode": "match_input" }), (640, 360), (640, 360)),
            ("fal-ai/flux-kontext/dev", json!({ "resolution_mode": "auto" }), (8192, 2048), (4096, 1024)),
            ("fal-ai/flux-kontext/dev", json!({ "resolution_mode": "16:9" }), (640, 640), (1392, 752)),
            ("fal-ai/flux-pro/kontext/max/multi", json!({}), (300, 200), (300, 200)),
            ("fal-ai/flux-pro/kontext/max/multi", json!({ "aspect_ratio": "1:1" }), (300, 200), (1024, 1024)),
            ("fal-ai/bytedance/seededit/v3/edit-image", json!({}), (300, 200), (300, 200)),
            ("fal-ai/luma-photon/modify", json!({ "aspect_ratio": "9:21" }), (300, 200), (672, 1568)),
            ("fal-ai/nano-banana-pro/edit", json!({ "aspect_ratio": "auto" }), (1920, 1080), (1376, 768)),
            (
                "fal-ai/nano-banana-pro/edit",
                json!({ "aspect_ratio": "auto", "resolution": "2K" }),
                (9, 16),
                (1536, 2752),
            ),
            ("fal-ai/clarity-upscaler", json!({ "upscale_factor": 2.0 }), (640, 480), (1280, 960)),
            ("fal-ai/clarity-upscaler", json!({ "upscale_factor": 4.0 }), (2048, 512), (4096, 1024)),
            ("xai/grok-imagine-image", json!({ "aspect_ratio": "19.5:9" }), (640, 480), (1504, 688)),
        ];
        for (id, values, (width, height), size) in cases {
            let endpoint = endpoint::find(id).unwrap();
            assert_eq!(
                of_picture(endpoint, values.as_object().unwrap(), &[input(width, height)]),
                size,
                "{id} {values}"
            );
        }
        let cases = [
            (json!({ "aspect_ratio": "auto" }), (1024, 768), (640, 480)),
            (json!({ "aspect_ratio": "9:16" }), (1024, 768), (360, 640)),
            (json!({}), (400, 400), (640, 640)),
        ];
        for (values, (width, height), size) in cases {
            assert_eq!(of_video(values.as_object().unwrap(), &[input(width, height)]), size, "{values}");
        }
    }
}
