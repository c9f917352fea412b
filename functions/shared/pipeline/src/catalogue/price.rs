//! The price formula: from a resolved request to micro-dollars, rounded up. It is an upper bound of what the provider will
//! bill, because holds are made of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Model;
use super::param::image_size_pixels;
use crate::money::Money;

/// Tokens that an image is counted with at most: 258 for each tile of 768 by 768 pixels (Gemini docs, image understanding),
/// for an image of 14 MiB within the sizes that providers make.
const IMAGE_TOKENS: u64 = 258 * 36;
/// The tokens around a prompt.
const OTHER_TOKENS: u64 = 64;
/// The side that an input is taken for while its size is not known.
const USUAL_SIDE: u32 = 1024;

/// The unit of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// An image.
    Image,
    /// A million pixels of an image, started ones counted whole (fal's billing of flux).
    Megapixel,
    /// A million pixels of the enlarged input, started ones counted whole.
    UpscaledMegapixel,
    /// A second of a video.
    Second,
    /// A million tokens: `list` of what goes in, `output_list` of what comes out.
    Token,
}

impl PriceUnit {
    /// As tables show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PriceUnit::Image => "image",
            PriceUnit::Megapixel | PriceUnit::UpscaledMegapixel => "megapixel",
            PriceUnit::Second => "second",
            PriceUnit::Token => "million tokens",
        }
    }
}

/// A model's price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit: PriceUnit,
    /// The provider's list price of a unit, in micro-dollars.
    pub list: i64,
    /// The list price of a million tokens that come out, in micro-dollars.
    #[serde(default)]
    pub output_list: i64,
    /// The figure for one output of the performance guide and its suite, in micro-dollars; shown for comparison only.
    pub guide: i64,
    /// Where the list price is from.
    pub source: String,
}

impl Price {
    /// The price of these tokens, in and out.
    pub fn of_tokens(&self, input: u64, output: u64) -> Money {
        let micros = |list: i64, tokens: u64| {
            let exact = i128::from(list) * i128::from(tokens);
            i64::try_from((exact + 999_999) / 1_000_000).unwrap_or(i64::MAX)
        };
        Money::micros(micros(self.list, input)) + Money::micros(micros(self.output_list, output))
    }
}

pub(super) fn upper_bound(model: &Model, resolved: &Map<String, Value>, media: &[Option<(u32, u32)>]) -> Money {
    let number = |name: &str| resolved.get(name).and_then(as_number);
    let mut list = Money::micros(model.price.list);
    for (value, param) in sent(model, resolved) {
        if let Some(own) = param.unit_price.get(&value) {
            list = Money::micros(*own);
        }
    }
    let mut unit = match model.price.unit {
        PriceUnit::Image => list,
        PriceUnit::Megapixel => {
            let (width, height) = resolved.get("image_size").and_then(image_size_pixels).unwrap_or((4096, 4096));
            list.times((width * height).div_ceil(1_000_000))
        }
        PriceUnit::UpscaledMegapixel => {
            let (width, height) = media.first().copied().flatten().unwrap_or((USUAL_SIDE, USUAL_SIDE));
            let factor = number("upscale_factor").unwrap_or(1.0);
            let pixels = f64::from(width) * f64::from(height) * factor * factor;
            list.times((pixels / 1e6).ceil() as u64)
        }
        PriceUnit::Second => list.times(number("duration").unwrap_or(0.0).ceil() as u64),
        PriceUnit::Token => {
            // No token is shorter than a byte.
            let prompt = resolved.get("prompt").and_then(Value::as_str).map_or(0, str::len) as u64;
            let output = number("max_output_tokens").unwrap_or(8_192.0) as u64;
            model.price.of_tokens(prompt + media.len() as u64 * IMAGE_TOKENS + OTHER_TOKENS, output)
        }
    };
    for (value, param) in sent(model, resolved) {
        if let Some(factor) = param.price_factor.get(&value) {
            unit = unit.times(*factor);
        }
        if let (Some(surcharge), "true") = (param.surcharge, value.as_str()) {
            unit += Money::micros(surcharge);
        }
    }
    unit.times(u64::from(model.output_count(resolved)))
}

/// The values that are sent, as text, with their params.
fn sent<'a>(
    model: &'a Model,
    resolved: &'a Map<String, Value>,
) -> impl Iterator<Item = (String, &'a super::param::Param)> + 'a {
    model.params.iter().filter_map(|(name, param)| {
        let value = match resolved.get(param.to.as_deref().unwrap_or(name))? {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        Some((value, param))
    })
}

/// A number, or the text of one: some durations are sent as text.
fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{StepType, find};
    use crate::money::Money;
    use serde_json::json;

    #[test]
    fn prices_by_table() {
        use StepType::{AnalyzeImage, ImageToImage, ImageToVideo, TextToImage};
        for (step, model, params, micros) in [
            (TextToImage, "flux_schnell", json!({"prompt": "x"}), 3_000),
            (TextToImage, "flux_schnell", json!({"prompt": "x", "image_size": "square_hd"}), 6_000),
            (TextToImage, "flux_dev", json!({"prompt": "x", "num_images": 3}), 75_000),
            (TextToImage, "nano_banana", json!({"prompt": "x", "resolution": "4K", "num_images": 2}), 600_000),
            (TextToImage, "nano_banana", json!({"prompt": "x", "enable_web_search": true}), 165_000),
            (TextToImage, "imagen4", json!({"prompt": "x"}), 50_000),
            (ImageToImage, "kontext", json!({"prompt": "x", "num_images": 2}), 50_000),
            (ImageToImage, "photon_flash", json!({"prompt": "x"}), 20_000),
            (ImageToImage, "nano_banana_pro_edit", json!({"prompt": "x", "resolution": "4K"}), 300_000),
            (ImageToImage, "clarity", json!({}), 150_000),
            (ImageToVideo, "hailuo", json!({"prompt": "x"}), 270_000),
            (ImageToVideo, "hailuo", json!({"prompt": "x", "duration": 10, "resolution": "512P"}), 170_000),
            (ImageToVideo, "kling_2_1", json!({"prompt": "x"}), 280_000),
            (ImageToVideo, "kling_2_6_pro", json!({"prompt": "x"}), 700_000),
            (ImageToVideo, "kling_2_6_pro", json!({"prompt": "x", "generate_audio": false, "duration": "10"}), 700_000),
            (ImageToVideo, "sora_2", json!({"prompt": "x", "duration": 12}), 1_200_000),
            (ImageToVideo, "sora_2_pro", json!({"prompt": "x"}), 1_200_000),
            (ImageToVideo, "sora_2_pro", json!({"prompt": "x", "resolution": "1080p", "duration": "8"}), 4_000_000),
            // 9,352 tokens in and 1,024 out, and as many as the prompt has bytes.
            (AnalyzeImage, "gemini_describe", json!({"prompt": "x"}), 2_806 + 2_560),
        ] {
            let model = find(step, model).unwrap();
            let resolved = model.resolve(params.as_object().unwrap()).unwrap();
            let media = vec![None; model.inputs.len().min(1)];
            assert_eq!(model.price_of(&resolved, &media), Money::micros(micros), "{} {params}", model.name);
        }
    }

    #[test]
    fn an_enlargement_is_priced_by_its_input() {
        let model = find(StepType::ImageToImage, "clarity").unwrap();
        let resolved = model.resolve(json!({"scale": 4}).as_object().unwrap()).unwrap();
        assert_eq!(model.price_of(&resolved, &[Some((1000, 1000))]), Money::micros(480_000));
        assert_eq!(model.price_of(&resolved, &[Some((100, 100))]), Money::micros(30_000));
    }

    #[test]
    fn every_picture_that_is_looked_at_is_priced() {
        let model = find(StepType::AnalyzeImage, "gemini_describe").unwrap();
        let resolved = model.resolve(json!({"prompt": "x"}).as_object().unwrap()).unwrap();
        for (pictures, micros) in [(1, 2_806), (2, 5_593), (8, 22_311)] {
            assert_eq!(model.price_of(&resolved, &vec![None; pictures]), Money::micros(micros + 2_560), "{pictures}");
        }
    }

    #[test]
    fn tokens_are_rounded_up() {
        let price = &find(StepType::AnalyzeImage, "gemini_qa").unwrap().price;
        assert_eq!(price.of_tokens(1, 1), Money::micros(1 + 3));
        assert_eq!(price.of_tokens(u64::MAX, 0), Money::micros(5_534_023_222_112_865_485));
    }
}
