//! The price formula: from a resolved request to micro-dollars, rounded up. It is an upper bound of what the provider will
//! bill, because holds are made of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Model;
use super::param::image_size_pixels;
use crate::money::Money;

/// What a price is charged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// An image.
    Image,
    /// A million pixels of an image, begun ones counted whole (fal's billing of flux).
    Megapixel,
}

/// A model's price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What it is charged by.
    pub unit: PriceUnit,
    /// The provider's list price of a unit, in micro-dollars.
    pub list: i64,
    /// The performance guide's figure for an image, in micro-dollars; shown for comparison only.
    pub guide: i64,
    /// Where the list price is from.
    pub source: String,
}

pub(super) fn upper_bound(model: &Model, resolved: &Map<String, Value>) -> Money {
    let list = Money::micros(model.price.list);
    let mut unit = match model.price.unit {
        PriceUnit::Image => list,
        PriceUnit::Megapixel => {
            let (width, height) = resolved.get("image_size").and_then(image_size_pixels).unwrap_or((4096, 4096));
            list.times((width * height).div_ceil(1_000_000))
        }
    };
    for (name, param) in &model.params {
        let value = resolved.get(param.to.as_deref().unwrap_or(name));
        if let Some(factor) = value.and_then(Value::as_str).and_then(|value| param.price_factor.get(value)) {
            unit = unit.times(*factor);
        }
    }
    for (name, param) in &model.params {
        if let (Some(surcharge), Some(Value::Bool(true))) = (param.surcharge, resolved.get(name)) {
            unit += Money::micros(surcharge);
        }
    }
    unit.times(u64::from(model.output_count(resolved)))
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{StepType, find};
    use crate::money::Money;
    use serde_json::json;

    #[test]
    fn prices_by_table() {
        for (model, params, micros) in [
            ("flux_schnell", json!({"prompt": "x"}), 3_000),
            ("flux_schnell", json!({"prompt": "x", "image_size": "square_hd"}), 6_000),
            ("flux_dev", json!({"prompt": "x", "num_images": 3}), 75_000),
            ("nano_banana", json!({"prompt": "x", "resolution": "4K", "num_images": 2}), 600_000),
            ("nano_banana", json!({"prompt": "x", "enable_web_search": true}), 165_000),
            ("imagen4", json!({"prompt": "x"}), 50_000),
        ] {
            let model = find(StepType::TextToImage, model).unwrap();
            let resolved = model.resolve(params.as_object().unwrap()).unwrap();
            assert_eq!(model.price_of(&resolved), Money::micros(micros), "{} {params}", model.name);
        }
    }
}
