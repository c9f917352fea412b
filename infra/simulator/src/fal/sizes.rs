//! How large a result is: from the fields of the request and, where the model goes by them, from its inputs.

use serde_json::{Map, Value};

use super::endpoints::{Sizes, Sizing, named_size};
use crate::keep::Kept;
use crate::video;

/// Results are brought down to this, so that one request cannot take all the memory.
const LONGEST_SIDE: u32 = 4096;

/// Width and height. `values` is what the check of the endpoint's fields gave.
pub(super) fn pixels(sizing: &Sizing, values: &Map<String, Value>, inputs: &[Kept]) -> (u32, u32) {
    let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default();
    let listed = |sizes: Sizes, name: &str| {
        sizes.iter().find(|(listed, ..)| *listed == name).map(|(_, width, height)| (*width, *height))
    };
    let input = inputs.first().map_or((1024, 1024), |input| (input.width, input.height));
    match sizing {
        Sizing::ImageSize => {
            if let Some(size) = named_size(text("image_size")) {
                return size;
            }
            let side = |name: &str| {
                let length = values.get("image_size").and_then(|size| size.get(name)).and_then(Value::as_u64);
                length.and_then(|length| u32::try_from(length).ok()).unwrap_or(512).max(1)
            };
            shrink(side("width").into(), side("height").into())
        }
        Sizing::AspectRatio(sizes) => {
            let (width, height) = match text("aspect_ratio") {
                "auto" if !inputs.is_empty() => nearest(sizes, input),
                ratio => listed(sizes, ratio).unwrap_or((1024, 1024)),
            };
            let times = match text("resolution") {
                "4K" => 4,
                "2K" => 2,
                _ => 1,
            };
            (width * times, height * times)
        }
        Sizing::Input { field, sizes } => {
            listed(sizes, text(field)).unwrap_or_else(|| shrink(input.0.into(), input.1.into()))
        }
        Sizing::Upscale => {
            let factor = values.get("upscale_factor").and_then(Value::as_f64).unwrap_or(1.0);
            let side = |length: u32| (f64::from(length) * factor).round().max(1.0) as u64;
            shrink(side(input.0), side(input.1))
        }
        Sizing::Video(sizes) => listed(sizes, text("aspect_ratio")).unwrap_or_else(|| video::fitting(input.0, input.1)),
    }
}

/// The size whose proportions come nearest, by the quotient of both.
fn nearest(sizes: Sizes, (width, height): (u32, u32)) -> (u32, u32) {
    let wanted = f64::from(width) / f64::from(height.max(1));
    let distance =
        |(_, width, height): &&(&str, u32, u32)| (f64::from(*width) / f64::from(*height) / wanted).ln().abs();
    let named = sizes.iter().filter(|(name, ..)| *name != "auto");
    named.min_by(|a, b| distance(a).total_cmp(&distance(b))).map_or((1024, 1024), |(_, w, h)| (*w, *h))
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

    use super::super::endpoints;
    use super::*;

    #[test]
    fn edits_and_videos_go_by_their_input() {
        let kept = |width, height| Kept { copy: String::new(), width, height };
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
            ("fal-ai/sora-2/image-to-video", json!({ "aspect_ratio": "auto" }), (1024, 768), (640, 480)),
            ("fal-ai/sora-2/image-to-video", json!({ "aspect_ratio": "9:16" }), (1024, 768), (360, 640)),
            ("fal-ai/kling-video/v2.1/standard/image-to-video", json!({}), (400, 400), (640, 640)),
        ];
        for (id, values, (width, height), size) in cases {
            let sizing = &endpoints::find(id).unwrap().sizing;
            assert_eq!(pixels(sizing, values.as_object().unwrap(), &[kept(width, height)]), size, "{id} {values}");
        }
    }
}
