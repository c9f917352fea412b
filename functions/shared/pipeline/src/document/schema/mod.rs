//! The JSON Schema of the document, for editors: generated from the tables of keys and the catalogue, which the checker reads as
//! well. It says what may stand where; what depends on other steps or on the run only the checker knows.

mod params;
mod words;

use serde_json::{Map, Value, json};

use super::export::{EXPORT, MAX_EXPORT, NOT_EXPORT};
use super::key_specs::{DOCUMENT, GROUP, GROUP_KEYS, MAX_NAME, SETTINGS, STEP, Shape, Spec};
use crate::catalogue::{self, Model, PriceUnit, StepType};
use crate::money::Money;

/// The JSON Schema (draft 2020-12) of the pipeline document.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    definitions.insert("placeholder".into(), params::placeholder());
    definitions.insert("name".into(), name());
    definitions.insert("settings".into(), settings());
    definitions.insert("step".into(), step());
    definitions.insert("group".into(), table(GROUP_KEYS, &["type", "steps"]));
    for model in catalogue::models() {
        definitions.insert(definition(model), params::of(model));
    }
    let mut schema = table(DOCUMENT, &["steps"]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Fresco pipeline");
    schema["description"] = json!("A pipeline of Fresco: steps that generate media, and how they follow each other.");
    schema["$defs"] = Value::Object(definitions);
    schema
}

fn table(specs: &[Spec], required: &[&str]) -> Value {
    let properties: Map<String, Value> = specs.iter().map(|spec| (spec.key.to_owned(), property(spec))).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn property(spec: &Spec) -> Value {
    let mut schema = match spec.shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Title => json!({"type": "string", "maxLength": MAX_NAME}),
        Shape::Version => json!({"type": ["string", "number"]}),
        Shape::Name => json!({"$ref": "#/$defs/name"}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Whole { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        // `off` is false to some readers of YAML.
        Shape::Words(words) if words.contains(&"off") => {
            json!({"enum": words.iter().map(|word| json!(word)).chain([json!(false)]).collect::<Vec<_>>()})
        }
        Shape::Words(words) => json!({"enum": words}),
        Shape::Dollars => json!({"type": "number", "minimum": 0}),
        Shape::Export => {
            json!({"type": "string", "maxLength": MAX_EXPORT, "pattern": EXPORT, "not": {"pattern": NOT_EXPORT}})
        }
        Shape::Names => json!({"anyOf": [
            {"$ref": "#/$defs/name"},
            {"type": "array", "items": {"$ref": "#/$defs/name"}, "minItems": 1},
        ]}),
        Shape::Type => json!({"type": "string"}),
        Shape::Model => json!({"type": "string"}),
        Shape::Params => json!({"type": ["object", "null"]}),
        Shape::Vars => {
            json!({"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}})
        }
        Shape::Settings => json!({"anyOf": [{"$ref": "#/$defs/settings"}, {"type": "null"}]}),
        Shape::Items => json!({"type": "array", "minItems": 1, "items": {
            "type": "object",
            "if": {"properties": {"type": {"const": GROUP}}, "required": ["type"]},
            "then": {"$ref": "#/$defs/group"},
            "else": {"$ref": "#/$defs/step"},
        }}),
        Shape::Members => json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}),
    };
    schema["description"] = json!(spec.says);
    schema
}

fn name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
        "description": "The name of a step or a group: letters, digits, _ and -, at most 64.",
    })
}

fn settings() -> Value {
    let mut schema = table(SETTINGS, &[]);
    schema["not"] = json!({"required": ["max_workers", "workers"]});
    schema
}

/// A step: its type decides which models there are, and its model which params.
fn step() -> Value {
    let mut schema = table(STEP, &["type"]);
    schema["properties"]["type"]["enum"] = StepType::ALL.iter().flat_map(|step| names(*step)).collect();
    let mut rules = Vec::new();
    for step in StepType::ALL.iter().copied() {
        let of_type = || catalogue::models().iter().filter(|model| model.step == step);
        let of_this_type = json!({"properties": {"type": {"enum": names(step)}}, "required": ["type"]});
        let choices: Vec<Value> = of_type()
            .flat_map(|model| model.names().map(|name| json!({"const": name, "description": about(model)})))
            .collect();
        let mut then = json!({"properties": {"model": {"oneOf": choices}}});
        if of_type().all(|model| model.inputs.is_empty()) {
            then["properties"]["input_from"] = json!(false);
        }
        rules.push(json!({"if": of_this_type, "then": then}));
        let default = catalogue::default_model(step);
        for model in of_type() {
            let params = json!({"anyOf": [{"$ref": format!("#/$defs/{}", definition(model))}, {"type": "null"}]});
            let then = json!({"properties": {"params": params}});
            let this =
                json!({"properties": {"model": {"enum": model.names().collect::<Vec<_>>()}}, "required": ["model"]});
            let this = match default {
                Some(default) if default.name == model.name => {
                    json!({"anyOf": [this, {"not": {"required": ["model"]}}]})
                }
                _ => this,
            };
            rules.push(json!({"if": {"allOf": [of_this_type, this]}, "then": then}));
        }
    }
    schema["allOf"] = Value::Array(rules);
    schema
}

fn names(step: StepType) -> Vec<&'static str> {
    std::iter::once(step.as_str()).chain(step.aliases().iter().copied()).collect()
}

fn definition(model: &Model) -> String {
    format!("{}.{}", model.step.as_str(), model.name)
}

/// The description of a model for editors.
fn about(model: &Model) -> String {
    let price = match model.price.unit {
        PriceUnit::Token => format!(
            "{} a million tokens in, {} out",
            Money::micros(model.price.list),
            Money::micros(model.price.output_list)
        ),
        unit => format!("{} a {}", Money::micros(model.price.list), unit.as_str()),
    };
    format!("{}: {} to {} s, {price}.", model.label, model.seconds.min, model.seconds.max)
}
