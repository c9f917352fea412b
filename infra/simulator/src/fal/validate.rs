//! The check of a body against the params of an endpoint, with pydantic's leniency and words, as fal's applications use it.
//! Fields that an endpoint does not know are ignored, as on fal.

use serde_json::{Map, Number, Value, json};

use super::endpoint::{Param, ParamType};
use super::validation_error::entry;

/// The largest width and height of fal's `ImageSize`.
const MAX_SIDE: i64 = 14_142;

/// Reads a body. Gives the values with their defaults, or the entries of `detail`, at least one for each wrong field.
pub(crate) fn check(params: &[Param], body: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Value>> {
    let mut values = Map::new();
    let mut problems = Vec::new();
    for param in params {
        let value = match (body.get(&param.name), &param.default) {
            (None, _) if param.required => {
                let whole = Value::Object(body.clone());
                Err(vec![entry(json!(["body", param.name]), "missing", "Field required", None, &whole)])
            }
            (None, Some(default)) => Ok(default.clone()),
            (None | Some(Value::Null), None) if !param.required => continue,
            (given, _) => read(param, given.unwrap_or(&Value::Null)),
        };
        match value {
            Ok(value) => drop(values.insert(param.name.clone(), value)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// A value at its place in the body.
struct Field<'a> {
    loc: Value,
    value: &'a Value,
}

impl Field<'_> {
    fn problem(&self, kind: &str, message: &str, context: Option<Value>) -> Value {
        entry(self.loc.clone(), kind, message, context, self.value)
    }

    fn wrong(&self, kind: &str, message: &str) -> Value {
        self.problem(kind, message, None)
    }

    fn text(&self, min: usize) -> Result<Value, Value> {
        let Some(text) = self.value.as_str() else {
            return Err(self.wrong("string_type", "Input should be a valid string"));
        };
        if text.chars().count() < min {
            let plural = if min == 1 { "" } else { "s" };
            let message = format!("String should have at least {min} character{plural}");
            return Err(self.problem("string_too_short", &message, Some(json!({ "min_length": min }))));
        }
        Ok(self.value.clone())
    }

    fn integer(&self) -> Result<Value, Value> {
        match self.value {
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(self.value.clone()),
            Value::Number(number) => match number.as_f64() {
                Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Ok(json!(float as i64)),
                _ => {
                    let message = "Input should be a valid integer, got a number with a fractional part";
                    Err(self.wrong("int_from_float", message))
                }
            },
            Value::Bool(value) => Ok(json!(i64::from(*value))),
            Value::String(text) => text.trim().parse::<i64>().map(Value::from).map_err(|_| {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                self.wrong("int_parsing", message)
            }),
            _ => Err(self.wrong("int_type", "Input should be a valid integer")),
        }
    }

    fn number(&self) -> Result<Value, Value> {
        match self.value {
            Value::Number(number) => Ok(json!(number.as_f64())),
            Value::Bool(value) => Ok(json!(f64::from(u8::from(*value)))),
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(json!(number)),
                _ => {
                    let message = "Input should be a valid number, unable to parse string as a number";
                    Err(self.wrong("float_parsing", message))
                }
            },
            _ => Err(self.wrong("float_type", "Input should be a valid number")),
        }
    }

    fn boolean(&self) -> Result<Value, Value> {
        let word = match self.value {
            Value::Bool(_) => return Ok(self.value.clone()),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.to_ascii_lowercase(),
            _ => return Err(self.wrong("bool_type", "Input should be a valid boolean")),
        };
        match word.as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(json!(true)),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(json!(false)),
            _ => Err(self.wrong("bool_parsing", "Input should be a valid boolean, unable to interpret input")),
        }
    }

    /// Strict: no text is taken for a number. fal has its own type for this, where plain pydantic says `literal_error`.
    fn one_of(&self, allowed: &[Value]) -> Result<Value, Value> {
        if allowed.contains(self.value) {
            return Ok(self.value.clone());
        }
        let quoted = |value: &Value| value.as_str().map_or(value.to_string(), |text| format!("'{text}'"));
        let quoted: Vec<String> = allowed.iter().map(quoted).collect();
        let listed = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        Err(self.problem("one_of", &format!("Input should be {listed}"), Some(json!({ "expected": allowed }))))
    }

    fn within(&self, read: Value, min: Option<&Number>, max: Option<&Number>) -> Result<Value, Value> {
        let number = read.as_f64().unwrap_or(f64::INFINITY);
        let bound = |bound: Option<&Number>| bound.and_then(|bound| Some((bound.as_f64()?, bound.clone())));
        if let Some((_, min)) = bound(min).filter(|(min, _)| number < *min) {
            let message = format!("Input should be greater than or equal to {min}");
            return Err(self.problem("greater_than_equal", &message, Some(json!({ "ge": min }))));
        }
        if let Some((_, max)) = bound(max).filter(|(max, _)| number > *max) {
            let message = format!("Input should be less than or equal to {max}");
            return Err(self.problem("less_than_equal", &message, Some(json!({ "le": max }))));
        }
        Ok(read)
    }
}

/// Reads the value of a param. Gives it in its own type, or the problems.
fn read(param: &Param, value: &Value) -> Result<Value, Vec<Value>> {
    let field = Field { loc: json!(["body", param.name]), value };
    let is_object = value.is_object();
    let read = match (param.r#type, &param.r#enum) {
        (ParamType::ImageSize, _) if is_object => return image_size(&param.name, value),
        (_, Some(allowed)) => field.one_of(allowed),
        (ParamType::String, None) => field.text(param.min_length),
        (ParamType::ImageSize | ParamType::ImageUrl | ParamType::VideoUrl | ParamType::AudioUrl, None) => field.text(1),
        (ParamType::Integer, None) => field.integer(),
        (ParamType::Number, None) => field.number(),
        (ParamType::Boolean, None) => field.boolean(),
        (ParamType::List, None) => return list(param, &field),
        (ParamType::Object, None) if !is_object => {
            let message = "Input should be a valid dictionary or object to extract fields from";
            Err(field.wrong("model_attributes_type", message))
        }
        (ParamType::Object | ParamType::Any, None) => Ok(value.clone()),
    };
    let is_number = matches!(param.r#type, ParamType::Integer | ParamType::Number);
    let within = |read| if is_number { field.within(read, param.min.as_ref(), param.max.as_ref()) } else { Ok(read) };
    read.and_then(within).map_err(|problem| vec![problem])
}

/// A list with a length within bounds, of texts unless the items may be anything.
fn list(param: &Param, field: &Field<'_>) -> Result<Value, Vec<Value>> {
    let Some(items) = field.value.as_array() else {
        return Err(vec![field.wrong("list_type", "Input should be a valid list")]);
    };
    let (length, min) = (items.len(), param.min_length);
    if length < min {
        let message = format!("List should have at least {min} item after validation, not {length}");
        return Err(vec![field.problem("sequence_too_short", &message, Some(json!({ "min_length": min })))]);
    }
    if let Some(max) = param.max_length.filter(|max| length > *max) {
        let message = format!("List should have at most {max} items after validation, not {length}");
        return Err(vec![field.problem("sequence_too_long", &message, Some(json!({ "max_length": max })))]);
    }
    if param.items == Some(ParamType::Any) {
        return Ok(field.value.clone());
    }
    let texts = items.iter().enumerate();
    let texts = texts.map(|(at, value)| Field { loc: json!(["body", param.name, at]), value }.text(0));
    let problems: Vec<Value> = texts.filter_map(Result::err).collect();
    if problems.is_empty() { Ok(field.value.clone()) } else { Err(problems) }
}

/// An object of width and height, 512 each by default.
fn image_size(name: &str, value: &Value) -> Result<Value, Vec<Value>> {
    let mut read = Map::new();
    let mut problems = Vec::new();
    for side in ["width", "height"] {
        let given = value.get(side).cloned().unwrap_or(json!(512));
        let field = Field { loc: json!(["body", name, side]), value: &given };
        let length = field.integer().and_then(|length| match length.as_i64() {
            Some(..=0) => {
                Err(field.problem("greater_than", "Input should be greater than 0", Some(json!({ "gt": 0 }))))
            }
            _ => field.within(length, None, Some(&Number::from(MAX_SIDE))),
        });
        match length {
            Ok(length) => drop(read.insert(side.to_owned(), length)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Value::Object(read)) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Vec<Param> {
        let params = json!([
            { "name": "prompt", "type": "string", "min_length": 1, "required": true },
            { "name": "num_images", "type": "integer", "min": 1, "max": 4, "default": 1 },
            { "name": "guidance", "type": "number", "min": 1, "max": 20, "default": 3.5 },
            { "name": "seed", "type": "integer" },
            { "name": "sync", "type": "boolean", "default": false },
            { "name": "format", "type": "string", "enum": ["jpeg", "png"], "default": "jpeg" },
            { "name": "size", "type": "image_size", "enum": ["square"], "default": "square" },
            { "name": "length", "type": "integer", "enum": [4, 8], "default": 4 },
            { "name": "image_url", "type": "image_url" },
            { "name": "image_urls", "type": "list", "items": "image_url", "min_length": 1, "max_length": 2 },
            { "name": "voices", "type": "list", "items": "string" },
            { "name": "options", "type": "object" },
        ]);
        serde_json::from_value(params).unwrap()
    }

    fn check_json(body: Value) -> Result<Value, Vec<(String, String)>> {
        check(&params(), body.as_object().unwrap()).map(Value::Object).map_err(|problems| {
            let pair = |p: &Value| (p["type"].as_str().unwrap().to_owned(), p["loc"].to_string());
            problems.iter().map(pair).collect()
        })
    }

    #[test]
    fn defaults_are_filled_in_and_unknown_fields_ignored() {
        let values = check_json(json!({ "prompt": "x", "aspect": "16:9", "seed": null })).unwrap();
        let expected = json!({ "prompt": "x", "num_images": 1, "guidance": 3.5, "sync": false,
            "format": "jpeg", "size": "square", "length": 4 });
        assert_eq!(values, expected);
    }

    #[test]
    fn values_are_read_as_leniently_as_pydantic_reads_them() {
        let body = json!({ "prompt": "x", "num_images": "2", "seed": 3.0, "guidance": 4, "sync": "yes",
            "size": { "width": 640, "height": "480" } });
        let values = check_json(body).unwrap();
        assert_eq!(values["num_images"], 2);
        assert_eq!(values["seed"], 3);
        assert_eq!(values["sync"], true);
        assert_eq!(values["size"], json!({ "width": 640, "height": 480 }));
    }

    #[test]
    fn each_problem_has_its_type_and_place() {
        let cases = [
            (json!({}), "missing", r#"["body","prompt"]"#),
            (json!({ "prompt": "" }), "string_too_short", r#"["body","prompt"]"#),
            (json!({ "prompt": 4 }), "string_type", r#"["body","prompt"]"#),
            (json!({ "prompt": null }), "string_type", r#"["body","prompt"]"#),
            (json!({ "prompt": "x", "num_images": 0 }), "greater_than_equal", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": 5 }), "less_than_equal", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": 1.5 }), "int_from_float", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": "two" }), "int_parsing", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": null }), "int_type", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "guidance": "warm" }), "float_parsing", r#"["body","guidance"]"#),
            (json!({ "prompt": "x", "guidance": 0.5 }), "greater_than_equal", r#"["body","guidance"]"#),
            (json!({ "prompt": "x", "sync": [] }), "bool_type", r#"["body","sync"]"#),
            (json!({ "prompt": "x", "format": "webp" }), "one_of", r#"["body","format"]"#),
            (json!({ "prompt": "x", "size": "huge" }), "one_of", r#"["body","size"]"#),
            (json!({ "prompt": "x", "length": 5 }), "one_of", r#"["body","length"]"#),
            (json!({ "prompt": "x", "length": "8" }), "one_of", r#"["body","length"]"#),
            (json!({ "prompt": "x", "image_url": 1 }), "string_type", r#"["body","image_url"]"#),
            (json!({ "prompt": "x", "image_urls": "u" }), "list_type", r#"["body","image_urls"]"#),
            (json!({ "prompt": "x", "image_urls": [] }), "sequence_too_short", r#"["body","image_urls"]"#),
            (json!({ "prompt": "x", "image_urls": ["u", "u", "u"] }), "sequence_too_long", r#"["body","image_urls"]"#),
            (json!({ "prompt": "x", "image_urls": ["u", null] }), "string_type", r#"["body","image_urls",1]"#),
            (json!({ "prompt": "x", "voices": [4] }), "string_type", r#"["body","voices",0]"#),
            (json!({ "prompt": "x", "options": "o" }), "model_attributes_type", r#"["body","options"]"#),
            (json!({ "prompt": "x", "size": { "width": 0 } }), "greater_than", r#"["body","size","width"]"#),
            (json!({ "prompt": "x", "size": { "height": 15000 } }), "less_than_equal", r#"["body","size","height"]"#),
        ];
        for (body, kind, loc) in cases {
            assert_eq!(check_json(body.clone()).unwrap_err(), [(kind.to_owned(), loc.to_owned())], "{body}");
        }
        assert_eq!(check_json(json!({ "num_images": 9, "format": 1 })).unwrap_err().len(), 3);
    }

    #[test]
    fn an_entry_has_all_its_keys() {
        let problems = check(&params(), json!({ "prompt": "x", "format": "gif" }).as_object().unwrap()).unwrap_err();
        let expected = json!({ "type": "one_of", "loc": ["body", "format"], "msg": "Input should be 'jpeg' or 'png'",
            "input": "gif", "ctx": { "expected": ["jpeg", "png"] }, "url": "https://docs.fal.ai/errors#one_of" });
        assert_eq!(problems, [expected]);
    }
}
