//! The schema of one model's params, from its entry in the catalogue.

use serde_json::{Map, Value, json};

use super::words;
use crate::catalogue::{IMAGE_SIDES, MediaParam, Model, Param, ParamKind, image_size_names};

/// A text with a placeholder. What it will be filled with is not known yet, so it may stand for any value.
pub(super) fn placeholder() -> Value {
    json!({
        "type": "string",
        "pattern": "\\{\\{[\\s\\S]*\\}\\}",
        "description": "A text with {{input}}, {{vars.NAME}}, {{env.NAME}}, {{timestamp}}, {{random}} or {{step_NAME.output}}.",
    })
}

/// The params of a model. None is required: a prompt may be the run's input text.
pub(super) fn of(model: &Model) -> Value {
    let mut properties = Map::new();
    for (name, param) in &model.params {
        properties.insert(name.clone(), property(name, param));
    }
    for input in &model.inputs {
        for name in std::iter::once(&input.param).chain(&input.aliases) {
            properties.insert(name.clone(), media(input, input.to == model.inputs[0].to));
        }
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn property(name: &str, param: &Param) -> Value {
    let exact = match &param.kind {
        ParamKind::Text { max_chars, blank: true } => json!({"type": "string", "maxLength": max_chars}),
        ParamKind::Text { max_chars, blank: false } => {
            json!({"type": "string", "maxLength": max_chars, "pattern": "\\S"})
        }
        ParamKind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        ParamKind::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        ParamKind::Boolean => json!({"type": "boolean"}),
        ParamKind::Choice { values } => json!({"enum": choices(values)}),
        ParamKind::IntegerChoice { values } => {
            let texts = values.iter().map(|value| json!(value.to_string()));
            json!({"enum": values.iter().map(|value| json!(value)).chain(texts).collect::<Vec<_>>()})
        }
        ParamKind::ImageSize => {
            let side = json!({"type": "integer", "minimum": IMAGE_SIDES.start(), "maximum": IMAGE_SIDES.end()});
            json!({"anyOf": [
                {"enum": image_size_names().collect::<Vec<_>>()},
                {
                    "type": "object",
                    "properties": {"width": side, "height": side},
                    "required": ["width", "height"],
                    "additionalProperties": false,
                },
            ]})
        }
    };
    let mut schema = json!({"anyOf": [exact, {"$ref": "#/$defs/placeholder"}]});
    schema["description"] = json!(describe(name, param));
    if let Some(default) = &param.default {
        schema["default"] = default.clone();
    }
    schema
}

/// Values as they may be written: `4` for `"4"` too.
fn choices(values: &[String]) -> Vec<Value> {
    let numbers = values.iter().filter_map(|value| {
        let number: i64 = value.parse().ok()?;
        (number.to_string() == *value).then(|| json!(number))
    });
    values.iter().map(|value| json!(value)).chain(numbers).collect()
}

fn describe(name: &str, param: &Param) -> String {
    let says = words::of(name).unwrap_or("A param of the model.");
    let bounds = match &param.kind {
        ParamKind::Text { max_chars, .. } => format!(" At most {max_chars} characters."),
        ParamKind::Integer { min, max } => format!(" A whole number from {min} to {max}."),
        ParamKind::Number { min, max } => format!(" A number from {min} to {max}."),
        ParamKind::Choice { values } => format!(" One of {}.", values.join(", ")),
        ParamKind::IntegerChoice { values } => {
            format!(" One of {}.", values.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
        }
        ParamKind::Boolean | ParamKind::ImageSize => String::new(),
    };
    format!("{says}{bounds}")
}

fn media(input: &MediaParam, is_first: bool) -> Value {
    let one = json!({"type": "string", "pattern": "\\S"});
    let mut many = json!({"type": "array", "minItems": 1, "items": one});
    if input.list || !is_first {
        many["maxItems"] = json!(input.max);
    }
    let noun = input.kind.noun();
    let says = match (input.list, is_first) {
        (true, _) => {
            format!("A file, an https URL or {{{{step_NAME.output}}}} for {noun}, or a list of at most {}.", input.max)
        }
        (false, true) => format!(
            "A file, an https URL or {{{{step_NAME.output}}}} for {noun}; for each of a list the step is done once."
        ),
        (false, false) => format!("A file, an https URL or {{{{step_NAME.output}}}} for {noun}."),
    };
    json!({"anyOf": [one, many], "description": says})
}
