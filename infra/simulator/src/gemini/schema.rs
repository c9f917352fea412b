//! The models and the form of a body, read from `schemas/gemini.json`, and the check of a body against it. Names may be in
//! lower camel case or in snake case, as in Google's JSON mapping of protocol buffers; unknown ones are refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;

/// The name and the type of each member of a message.
type Members = BTreeMap<String, String>;

/// The content of the file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Schema {
    pub(super) models: Vec<String>,
    /// The typical duration of a call, from and to.
    pub(super) seconds: (f64, f64),
    integers: Vec<String>,
    request: Members,
    messages: BTreeMap<String, Members>,
    enums: BTreeMap<String, Vec<String>>,
}

pub(super) static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../schemas/gemini.json")).unwrap_or_default());

impl Schema {
    /// Checks the body of a call.
    pub(super) fn check(&self, body: &Value) -> Result<(), Refusal> {
        self.check_members(&self.request, body, "")
    }

    fn check_members(&self, members: &Members, message: &Value, path: &str) -> Result<(), Refusal> {
        for (given, value) in message.as_object().into_iter().flatten() {
            let known = members.iter().find(|(name, _)| *name == given || snake_case(name) == *given);
            let Some((name, kind)) = known else { return Err(unknown_name(given, path)) };
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", snake_case(name));
            match (kind.strip_suffix("[]"), value) {
                (Some(kind), Value::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.check_value(name, kind, item, &format!("{path}[{index}]"))?;
                    }
                }
                // A single value stands for a list of one.
                (kind_of_items, value) => self.check_value(name, kind_of_items.unwrap_or(kind), value, &path)?,
            }
        }
        Ok(())
    }

    fn check_value(&self, name: &str, kind: &str, value: &Value, path: &str) -> Result<(), Refusal> {
        if let Some(members) = self.messages.get(kind) {
            let is_message = value.is_object() || value.is_null();
            let of_type = format!("type.googleapis.com/google.ai.generativelanguage.v1beta.{kind}");
            return if is_message { self.check_members(members, value, path) } else { wrong(path, &of_type, value) };
        }
        let number = || value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let is_integer = self.integers.iter().any(|integer| integer == name);
        let (is_sound, of_type) = match (self.enums.get(kind), kind) {
            (Some(names), _) => {
                let is_known = value.as_str().is_some_and(|text| names.iter().any(|name| name == text));
                (is_known, format!("type.googleapis.com/google.ai.generativelanguage.v1beta.{kind}"))
            }
            (None, "string") => (value.is_string(), "TYPE_STRING".to_owned()),
            (None, "boolean") => (value.is_boolean(), "TYPE_BOOL".to_owned()),
            (None, "number") if is_integer => {
                (number().is_some_and(|number| number.fract() == 0.0), "TYPE_INT32".to_owned())
            }
            (None, "number") => (number().is_some(), "TYPE_FLOAT".to_owned()),
            _ => return Ok(()),
        };
        if is_sound || value.is_null() { Ok(()) } else { wrong(path, &of_type, value) }
    }
}

fn unknown_name(name: &str, path: &str) -> Refusal {
    let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
    violation(path, format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."))
}

fn wrong(path: &str, of_type: &str, value: &Value) -> Result<(), Refusal> {
    Err(violation(path, format!("Invalid value at '{path}' ({of_type}), {value}")))
}

fn violation(path: &str, message: String) -> Refusal {
    let violation = json!({ "field": path, "description": message });
    Refusal::invalid(message).detail("BadRequest", json!({ "fieldViolations": [violation] }))
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Value) -> Option<String> {
        SCHEMA.check(&body).err().map(|refusal| refusal.message)
    }

    #[test]
    fn the_file_is_read() {
        assert!(SCHEMA.models.contains(&"gemini-2.0-flash".to_owned()) && SCHEMA.seconds.1 > 0.0);
        assert!(SCHEMA.messages["Part"].contains_key("inlineData") && SCHEMA.enums["HarmCategory"].len() > 3);
    }

    #[test]
    fn both_spellings_are_accepted() {
        for body in [
            json!({ "contents": [{ "role": "user", "parts": [{ "inlineData": { "mimeType": "a", "data": "b" } }] }],
                "generationConfig": { "maxOutputTokens": 5, "temperature": 0.5 } }),
            json!({ "contents": { "parts": [{ "inline_data": { "mime_type": "a", "data": "b" } }] },
                "generation_config": { "max_output_tokens": "5", "thinking_config": { "thinking_budget": 0 } } }),
            json!({ "contents": [], "safetySettings": [{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF" }] }),
        ] {
            assert_eq!(message(body.clone()), None, "{body}");
        }
    }

    #[test]
    fn wrong_names_types_and_values_are_refused_in_googles_words() {
        let harm = "type.googleapis.com/google.ai.generativelanguage.v1beta.HarmCategory";
        let cases = [
            (json!({ "prompt": "x" }), "Invalid JSON payload received. Unknown name \"prompt\": Cannot find field."),
            (
                json!({ "generationConfig": { "max_tokens": 5 } }),
                "Invalid JSON payload received. Unknown name \"max_tokens\" at 'generation_config': Cannot find field.",
            ),
            (
                json!({ "contents": [{ "parts": [{ "image": {} }] }] }),
                "Invalid JSON payload received. Unknown name \"image\" at 'contents[0].parts[0]': Cannot find field.",
            ),
            (
                json!({ "generationConfig": { "temperature": "warm" } }),
                "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"warm\"",
            ),
            (
                json!({ "generationConfig": { "maxOutputTokens": 1.5 } }),
                "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), 1.5",
            ),
            (
                json!({ "safetySettings": [{ "category": "HARM" }] }),
                &format!("Invalid value at 'safety_settings[0].category' ({harm}), \"HARM\""),
            ),
            (
                json!({ "contents": [{ "parts": [{ "text": 4 }] }] }),
                "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 4",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(message(body).as_deref(), Some(expected));
        }
    }
}
