//! One param of a model: its kind, its allowed values, its default, and the provider's name and values for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::suggest::suggest;
use crate::text::{canonical, shown, tidy};

/// The sizes that fal's flux endpoints name, with their pixels.
const IMAGE_SIZES: &[(&str, u64, u64)] = &[
    ("square_hd", 1024, 1024),
    ("square", 512, 512),
    ("portrait_4_3", 768, 1024),
    ("portrait_16_9", 576, 1024),
    ("landscape_4_3", 1024, 768),
    ("landscape_16_9", 1024, 576),
];

/// So many bytes of a text may at most become one character of it in NFC: four to a character, and its accents. What is
/// longer is not even composed, which would take its time.
pub const BYTES_A_CHAR: usize = 16;

/// The sides, in pixels, that a size of one's own may have.
pub const IMAGE_SIDES: std::ops::RangeInclusive<u64> = 64..=4096;

/// The sizes that have names.
pub fn image_size_names() -> impl Iterator<Item = &'static str> {
    IMAGE_SIZES.iter().map(|(name, ..)| *name)
}

/// The values that a param accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ParamKind {
    /// Text.
    Text {
        /// The most characters.
        max_chars: usize,
        /// Whether it may be blank.
        #[serde(default)]
        blank: bool,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        max: i64,
    },
    /// A number.
    Number {
        /// The least.
        min: f64,
        max: f64,
    },
    /// true or false.
    Boolean,
    /// One of a list.
    Choice {
        /// The list.
        values: Vec<String>,
    },
    /// One of a list of whole numbers, which is sent as a number.
    IntegerChoice {
        /// The list.
        values: Vec<i64>,
    },
    /// A named size or `{width, height}` in pixels (fal's flux endpoints).
    ImageSize,
}

/// One param.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Param {
    #[serde(flatten)]
    pub kind: ParamKind,
    /// Whether it has to be given.
    #[serde(default)]
    pub required: bool,
    /// The value where none is given, as a document would write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The provider's name of it, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The provider's values for ours, where they differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// By which factor a value multiplies the price.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub price_factor: BTreeMap<String, u64>,
    /// The list price of a unit with this value, in micro-dollars, where it differs from the model's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unit_price: BTreeMap<String, i64>,
    /// The addition of `true` to the price of an image, in micro-dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surcharge: Option<i64>,
}

/// A param that cannot be sent as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamProblem {
    /// The param's name in the document.
    pub param: String,
    pub code: &'static str,
    pub message: String,
    /// The message for a value that was filled in, which is not repeated; `None` where the message repeats no value.
    pub unquoted: Option<String>,
    pub advice: String,
}

impl ParamProblem {
    fn new(param: &str, code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        ParamProblem { param: param.into(), code, message: message.into(), unquoted: None, advice: advice.into() }
    }

    /// A problem of a value that is not allowed.
    fn value(param: &str, value: String, advice: impl Into<String>) -> Self {
        let unquoted = Some(format!("`{param}` cannot be what it is filled with"));
        let message = format!("`{param}` cannot be {value}");
        ParamProblem { unquoted, ..ParamProblem::new(param, "param_value", message, advice) }
    }
}

/// Width and height in pixels of a resolved `image_size`.
pub(super) fn image_size_pixels(value: &Value) -> Option<(u64, u64)> {
    match value {
        Value::String(name) => IMAGE_SIZES.iter().find(|(n, ..)| n == name).map(|&(_, w, h)| (w, h)),
        Value::Object(size) => Some((size.get("width")?.as_u64()?, size.get("height")?.as_u64()?)),
        _ => None,
    }
}

impl Param {
    /// The value as it is sent: texts in their canonical form and sizes by their names, so that two spellings are one key.
    fn accept(&self, name: &str, value: &Value) -> Result<Value, ParamProblem> {
        let bad_type = |wanted: &str| {
            ParamProblem::new(name, "param_type", format!("`{name}` is not {wanted}"), format!("Give {wanted}."))
        };
        match &self.kind {
            ParamKind::Text { max_chars, blank } => {
                let text = tidy(value.as_str().ok_or_else(|| bad_type("text"))?);
                if text.len() > max_chars.saturating_mul(BYTES_A_CHAR) {
                    let message = format!("`{name}` has more than {max_chars} characters");
                    return Err(ParamProblem::new(name, "param_too_long", message, "Shorten it."));
                }
                let text = canonical(&text);
                let length = text.chars().count();
                if text.is_empty() && !blank {
                    return Err(ParamProblem::new(
                        name,
                        "param_empty",
                        format!("`{name}` is empty"),
                        "Write what to generate.",
                    ));
                }
                if text.contains('\0') {
                    return Err(ParamProblem::new(
                        name,
                        "param_value",
                        format!("`{name}` contains a NUL character"),
                        "Remove it.",
                    ));
                }
                if length > *max_chars {
                    let message = format!("`{name}` has {length} characters; at most {max_chars} are accepted");
                    return Err(ParamProblem::new(name, "param_too_long", message, "Shorten it."));
                }
                Ok(Value::String(text))
            }
            ParamKind::Integer { min, max } => {
                let number = value.as_i64().ok_or_else(|| bad_type("a whole number"))?;
                if (*min..=*max).contains(&number) {
                    Ok(value.clone())
                } else {
                    Err(out_of_range(name, number, min, max))
                }
            }
            ParamKind::Number { min, max } => {
                let number = value.as_f64().ok_or_else(|| bad_type("a number"))?;
                if !(*min..=*max).contains(&number) {
                    return Err(out_of_range(name, number, min, max));
                }
                // 3 and 3.0 are one request, hence one key.
                Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
            }
            ParamKind::Boolean => value.is_boolean().then(|| value.clone()).ok_or_else(|| bad_type("true or false")),
            ParamKind::Choice { values } => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    // `safety_tolerance: 4` is written without quotes by everybody.
                    Value::Number(number) => number.to_string(),
                    _ => return Err(bad_type("text")),
                };
                if !values.contains(&text) {
                    let near = suggest(&text, values.iter().map(String::as_str));
                    let advice = near.map_or_else(
                        || format!("Use one of {}.", values.join(", ")),
                        |near| format!("Did you mean `{near}`? Allowed: {}.", values.join(", ")),
                    );
                    return Err(ParamProblem::value(name, format!("`{}`", shown(&text)), advice));
                }
                Ok(Value::String(self.map.get(&text).cloned().unwrap_or(text)))
            }
            ParamKind::IntegerChoice { values } => {
                let number = match value {
                    Value::Number(number) => number.as_i64(),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                let number = number.ok_or_else(|| bad_type("a whole number"))?;
                if !values.contains(&number) {
                    let allowed = values.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                    return Err(ParamProblem::value(name, format!("`{number}`"), format!("Use one of {allowed}.")));
                }
                Ok(Value::from(number))
            }
            ParamKind::ImageSize => {
                let names = image_size_names().collect::<Vec<_>>().join(", ");
                let (least, most) = (IMAGE_SIDES.start(), IMAGE_SIDES.end());
                let advice = format!("Use {names} or {{width, height}} of {least} to {most} pixels.");
                let only_sides = value.as_object().is_none_or(|size| size.len() == 2);
                match image_size_pixels(value) {
                    Some((w, h)) if only_sides && IMAGE_SIDES.contains(&w) && IMAGE_SIDES.contains(&h) => {
                        let named = IMAGE_SIZES.iter().find(|(_, width, height)| (*width, *height) == (w, h));
                        Ok(named.map_or_else(|| value.clone(), |(name, ..)| Value::from(*name)))
                    }
                    _ => Err(ParamProblem::new(name, "param_value", format!("`{name}` is not a size"), advice)),
                }
            }
        }
    }
}

fn out_of_range(
    name: &str,
    value: impl std::fmt::Display,
    min: impl std::fmt::Display,
    max: impl std::fmt::Display,
) -> ParamProblem {
    ParamProblem::value(name, shown(&value.to_string()), format!("Use {min} to {max}."))
}

/// See [`super::Model::resolve`].
pub(super) fn resolve(
    model: &super::Model,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<ParamProblem>> {
    let params = &model.params;
    let mut problems = Vec::new();
    let mut resolved = Map::new();
    let mut set_by: BTreeMap<String, &str> = BTreeMap::new();
    for (name, value) in given {
        let Some(param) = params.get(name) else {
            let media = model.inputs.iter().map(|input| input.param.as_str());
            let known = || params.keys().map(String::as_str).chain(media.clone());
            let advice = suggest(name, known()).map_or_else(
                || format!("Known: {}.", known().collect::<Vec<_>>().join(", ")),
                |near| format!("Did you mean `{near}`?"),
            );
            problems.push(ParamProblem::new(name, "param_unknown", format!("the model has no param `{name}`"), advice));
            continue;
        };
        match param.accept(name, value) {
            Err(problem) => problems.push(problem),
            Ok(value) => {
                let to = param.to.as_deref().unwrap_or(name);
                if let Some(other) = set_by.insert(to.to_owned(), name) {
                    let message = format!("`{name}` and `{other}` say the same thing to the provider (`{to}`)");
                    problems.push(ParamProblem::new(name, "param_conflict", message, "Keep one of them."));
                }
                resolved.insert(to.to_owned(), value);
            }
        }
    }
    for (name, param) in params {
        let to = param.to.as_deref().unwrap_or(name);
        // A param that was given and is wrong has its own problem.
        let there = given
            .iter()
            .any(|(other, _)| other == name || params.get(other).is_some_and(|p| p.to.as_deref() == Some(to)));
        if param.required && !there {
            problems.push(ParamProblem::new(
                name,
                "param_missing",
                format!("`{name}` is missing"),
                "Add it under `params`.",
            ));
        } else if let (Some(default), false) = (&param.default, resolved.contains_key(to)) {
            // As if a document had written it: a default has the document's words, and the provider may have others. That
            // every default is accepted is tested.
            let default = param.accept(name, default).unwrap_or_else(|_| default.clone());
            resolved.insert(to.to_owned(), default);
        }
    }
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{StepType, find};
    use serde_json::{Value, json};

    fn codes(model: &str, params: Value) -> Vec<&'static str> {
        let given = params.as_object().unwrap().clone();
        match find(StepType::TextToImage, model).unwrap().resolve(&given) {
            Ok(_) => vec![],
            Err(problems) => problems.iter().map(|problem| problem.code).collect(),
        }
    }

    #[test]
    fn every_wrong_param_is_named() {
        let long = "x".repeat(20_001);
        for (params, expected) in [
            (json!({"prompt": "a"}), vec![]),
            (json!({"prompt": "x".repeat(20_000)}), vec![]),
            (json!({"prompt": long}), vec!["param_too_long"]),
            (json!({"prompt": "  "}), vec!["param_empty"]),
            (json!({}), vec!["param_missing"]),
            (json!({"prompt": 7}), vec!["param_type"]),
            (json!({"prompt": "a", "promt": "b"}), vec!["param_unknown"]),
            (json!({"prompt": "a", "num_images": 5}), vec!["param_value"]),
            (json!({"prompt": "a", "num_images": "two"}), vec!["param_type"]),
            (json!({"prompt": "a", "image_size": "huge", "seed": -1}), vec!["param_value", "param_value"]),
            (json!({"prompt": "a", "image_size": {"width": 640, "height": 480}}), vec![]),
            (json!({"prompt": "a", "image_size": "square", "aspect_ratio": "1:1"}), vec!["param_conflict"]),
        ] {
            assert_eq!(codes("flux_schnell", params.clone()), expected, "{params:.120}");
        }
    }

    #[test]
    fn values_become_the_providers() {
        let model = find(StepType::TextToImage, "flux_dev").unwrap();
        let resolved = model
            .resolve(json!({"prompt": "e\u{301}", "aspect_ratio": "16:9", "guidance_scale": 4}).as_object().unwrap())
            .unwrap();
        assert_eq!(resolved["image_size"], "landscape_16_9");
        for (size, sent) in [
            (json!({"width": 1024, "height": 1024}), json!("square_hd")),
            (json!({"height": 768, "width": 1024}), json!("landscape_4_3")),
            (json!({"width": 768, "height": 1024}), json!("portrait_4_3")),
            (json!({"width": 1024, "height": 1025}), json!({"width": 1024, "height": 1025})),
            (json!("square_hd"), json!("square_hd")),
        ] {
            let resolved = model.resolve(json!({"prompt": "a", "image_size": size}).as_object().unwrap()).unwrap();
            assert_eq!(resolved["image_size"], sent, "{size}");
        }
        assert_eq!(resolved["prompt"], "\u{e9}");
        assert_eq!(resolved["guidance_scale"], json!(4.0));
        assert!(!resolved.contains_key("aspect_ratio") && !resolved.contains_key("seed"));
    }
}
