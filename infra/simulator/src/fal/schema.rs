//! The inputs of an endpoint as data, and the check of a body against them, with the `detail` array of a refusal.
//! Fields that an endpoint does not know are ignored, as on fal.

use serde_json::{Map, Value, json};

use super::values::read;

/// One input field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
}

/// What a field takes.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Text of at least so many characters.
    Text { min: usize },
    /// A whole number within bounds, if any.
    Integer { range: Option<(i64, i64)> },
    /// A number within bounds.
    Number { min: f64, max: f64 },
    /// True or false.
    Boolean,
    /// One of the listed texts.
    Choice(&'static [&'static str]),
    /// One of the listed whole numbers; a text that reads as one is none.
    IntegerChoice(&'static [i64]),
    /// A list of texts.
    Texts,
    /// The address of one media input: http, https or a data URI. Whether anything is there shows when it is fetched.
    Url,
    /// Addresses of at least one media input and at most so many.
    Urls { max: usize },
    /// One of the listed texts, or an object of width and height (at most 14142 each).
    Size(&'static [&'static str]),
}

impl Kind {
    /// Whether the field holds addresses of media.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self, Self::Url | Self::Urls { .. })
    }
}

/// What an absent field means.
#[derive(Debug)]
pub(crate) enum Default {
    /// It may not be absent.
    Required,
    /// Absent and `null` are the same, and no value is assumed.
    Absent,
    Text(&'static str),
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

/// Reads a body. Gives the values (defaults filled in) or the entries of `detail`, one for each problem.
pub(crate) fn check(fields: &[Field], body: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Value>> {
    let mut values = Map::new();
    let mut problems = Vec::new();
    for field in fields {
        let given = body.get(field.name);
        let value = match (given, &field.default) {
            (None, Default::Required) => {
                let whole = Value::Object(body.clone());
                problems.push(problem(&["body", field.name], "missing", "Field required", None, &whole));
                continue;
            }
            (None | Some(Value::Null), Default::Absent) => continue,
            (None, Default::Text(text)) => json!(text),
            (None, Default::Integer(number)) => json!(number),
            (None, Default::Number(number)) => json!(number),
            (None, Default::Boolean(value)) => json!(value),
            (Some(value), _) => match read(field, value) {
                Ok(value) => value,
                Err(mut found) => {
                    problems.append(&mut found);
                    continue;
                }
            },
        };
        values.insert(field.name.to_owned(), value);
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// One entry of `detail`. Types that fal documents itself point to its page, the others to pydantic's.
pub(crate) fn problem(loc: &[&str], kind: &str, message: &str, context: Option<Value>, input: &Value) -> Value {
    located(json!(loc), kind, message, context, input)
}

/// The same for a place whose parts are not all names.
pub(crate) fn located(loc: Value, kind: &str, message: &str, context: Option<Value>, input: &Value) -> Value {
    let url = match kind {
        "one_of"
        | "greater_than"
        | "greater_than_equal"
        | "less_than"
        | "less_than_equal"
        | "multiple_of"
        | "sequence_too_short"
        | "sequence_too_long"
        | "file_download_error"
        | "file_too_large"
        | "image_load_error" => {
            format!("https://docs.fal.ai/errors#{kind}")
        }
        _ => format!("https://errors.pydantic.dev/2.10/v/{kind}"),
    };
    let mut entry = json!({ "type": kind, "loc": loc, "msg": message, "input": input, "url": url });
    if let (Some(context), Some(entry)) = (context, entry.as_object_mut()) {
        entry.insert("ctx".to_owned(), context);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field { name: "prompt", kind: Kind::Text { min: 1 }, default: Default::Required },
        Field { name: "num_images", kind: Kind::Integer { range: Some((1, 4)) }, default: Default::Integer(1) },
        Field { name: "guidance", kind: Kind::Number { min: 1.0, max: 20.0 }, default: Default::Number(3.5) },
        Field { name: "seed", kind: Kind::Integer { range: None }, default: Default::Absent },
        Field { name: "sync", kind: Kind::Boolean, default: Default::Boolean(false) },
        Field { name: "format", kind: Kind::Choice(&["jpeg", "png"]), default: Default::Text("jpeg") },
        Field { name: "size", kind: Kind::Size(&["square"]), default: Default::Text("square") },
        Field { name: "length", kind: Kind::IntegerChoice(&[4, 8]), default: Default::Integer(4) },
        Field { name: "image_url", kind: Kind::Url, default: Default::Absent },
        Field { name: "image_urls", kind: Kind::Urls { max: 2 }, default: Default::Absent },
        Field { name: "voices", kind: Kind::Texts, default: Default::Absent },
    ];

    fn check_json(body: Value) -> Result<Value, Vec<(String, String)>> {
        check(FIELDS, body.as_object().unwrap()).map(Value::Object).map_err(|problems| {
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
    fn values_are_read_as_laxly_as_pydantic_does() {
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
            (json!({ "prompt": "x", "num_images": 0 }), "greater_than_equal", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": 5 }), "less_than_equal", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": 1.5 }), "int_from_float", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": "two" }), "int_parsing", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "num_images": null }), "int_type", r#"["body","num_images"]"#),
            (json!({ "prompt": "x", "guidance": "warm" }), "float_parsing", r#"["body","guidance"]"#),
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
        let problems = check(FIELDS, json!({ "prompt": "x", "format": "gif" }).as_object().unwrap()).unwrap_err();
        let expected = json!({ "type": "one_of", "loc": ["body", "format"], "msg": "Input should be 'jpeg' or 'png'",
            "input": "gif", "ctx": { "expected": ["jpeg", "png"] }, "url": "https://docs.fal.ai/errors#one_of" });
        assert_eq!(problems, [expected]);
    }
}
