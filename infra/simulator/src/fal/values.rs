//! How single values are read: as laxly as fal's applications do (pydantic), and with its words where they refuse.

use serde_json::{Map, Value, json};

use super::schema::{Field, Kind, located, problem};

/// The largest width and height of fal's `ImageSize`.
const MAX_SIDE: i64 = 14_142;

/// Reads the value of a field; gives it in its own type, or the problems found.
pub(super) fn read(field: &Field, value: &Value) -> Result<Value, Vec<Value>> {
    let loc = ["body", field.name];
    let one = |problem: Value| vec![problem];
    match &field.kind {
        Kind::Text { min } => text(&loc, value, *min).map_err(one),
        Kind::Integer { range } => integer(&loc, value, *range).map_err(one),
        Kind::Number { min, max } => number(&loc, value, *min, *max).map_err(one),
        Kind::Boolean => boolean(&loc, value).map_err(one),
        Kind::Choice(allowed) => choice(&loc, value, allowed).map_err(one),
        Kind::IntegerChoice(allowed) => integer_choice(&loc, value, allowed).map_err(one),
        Kind::Texts => list(field.name, value, None),
        Kind::Url => text(&loc, value, 1).map_err(one),
        Kind::Urls { max } => list(field.name, value, Some((1, *max))),
        Kind::Size(_) if value.is_object() => size(field.name, value),
        Kind::Size(allowed) => choice(&loc, value, allowed).map_err(one),
    }
}

fn text(loc: &[&str], value: &Value, min: usize) -> Result<Value, Value> {
    let Some(text) = value.as_str() else {
        return Err(problem(loc, "string_type", "Input should be a valid string", None, value));
    };
    if text.chars().count() < min {
        let plural = if min == 1 { "" } else { "s" };
        let message = format!("String should have at least {min} character{plural}");
        return Err(problem(loc, "string_too_short", &message, Some(json!({ "min_length": min })), value));
    }
    Ok(value.clone())
}

fn integer(loc: &[&str], value: &Value, range: Option<(i64, i64)>) -> Result<Value, Value> {
    let read = match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => value.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => json!(float as i64),
            _ => {
                let message = "Input should be a valid integer, got a number with a fractional part";
                return Err(problem(loc, "int_from_float", message, None, value));
            }
        },
        Value::Bool(value) => json!(i64::from(*value)),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                return Err(problem(loc, "int_parsing", message, None, value));
            }
        },
        _ => {
            return Err(problem(loc, "int_type", "Input should be a valid integer", None, value));
        }
    };
    if let Some((min, max)) = range {
        // What is beyond i64 is beyond every bound.
        let number = read.as_i64().unwrap_or(i64::MAX);
        if number < min {
            return Err(too_small(loc, json!(min), value));
        }
        if number > max {
            return Err(too_large(loc, json!(max), value));
        }
    }
    Ok(read)
}

fn number(loc: &[&str], value: &Value, min: f64, max: f64) -> Result<Value, Value> {
    let read = match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            _ => {
                let message = "Input should be a valid number, unable to parse string as a number";
                return Err(problem(loc, "float_parsing", message, None, value));
            }
        },
        _ => None,
    };
    let Some(read) = read else {
        return Err(problem(loc, "float_type", "Input should be a valid number", None, value));
    };
    if read < min {
        return Err(too_small(loc, json!(min), value));
    }
    if read > max {
        return Err(too_large(loc, json!(max), value));
    }
    Ok(json!(read))
}

fn boolean(loc: &[&str], value: &Value) -> Result<Value, Value> {
    let word = match value {
        Value::Bool(_) => return Ok(value.clone()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_ascii_lowercase(),
        _ => {
            return Err(problem(loc, "bool_type", "Input should be a valid boolean", None, value));
        }
    };
    match word.as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(json!(true)),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(json!(false)),
        _ => {
            let message = "Input should be a valid boolean, unable to interpret input";
            Err(problem(loc, "bool_parsing", message, None, value))
        }
    }
}

/// fal lists its own type for this, `one_of` with the expected values, where plain pydantic says `literal_error`.
fn choice(loc: &[&str], value: &Value, allowed: &[&str]) -> Result<Value, Value> {
    if value.as_str().is_some_and(|text| allowed.contains(&text)) {
        return Ok(value.clone());
    }
    Err(not_listed(loc, value, allowed.iter().map(|text| format!("'{text}'")).collect(), json!(allowed)))
}

/// Strict, as a literal is for pydantic: no text is taken for a number.
fn integer_choice(loc: &[&str], value: &Value, allowed: &[i64]) -> Result<Value, Value> {
    if value.as_i64().is_some_and(|number| allowed.contains(&number)) {
        return Ok(value.clone());
    }
    Err(not_listed(loc, value, allowed.iter().map(i64::to_string).collect(), json!(allowed)))
}

fn not_listed(loc: &[&str], value: &Value, quoted: Vec<String>, allowed: Value) -> Value {
    let listed = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    let message = format!("Input should be {listed}");
    problem(loc, "one_of", &message, Some(json!({ "expected": allowed })), value)
}

/// A list of texts, its length within bounds if there are any.
fn list(name: &str, value: &Value, bounds: Option<(usize, usize)>) -> Result<Value, Vec<Value>> {
    let loc = ["body", name];
    let Some(items) = value.as_array() else {
        return Err(vec![problem(&loc, "list_type", "Input should be a valid list", None, value)]);
    };
    if let Some((min, max)) = bounds {
        let length = items.len();
        if length < min {
            let message = format!("List should have at least {min} item after validation, not {length}");
            return Err(vec![problem(&loc, "sequence_too_short", &message, Some(json!({ "min_length": min })), value)]);
        }
        if length > max {
            let message = format!("List should have at most {max} items after validation, not {length}");
            return Err(vec![problem(&loc, "sequence_too_long", &message, Some(json!({ "max_length": max })), value)]);
        }
    }
    let odd = items.iter().enumerate().filter(|(_, item)| !item.is_string());
    let problems: Vec<Value> = odd
        .map(|(at, item)| {
            located(json!(["body", name, at]), "string_type", "Input should be a valid string", None, item)
        })
        .collect();
    if problems.is_empty() { Ok(value.clone()) } else { Err(problems) }
}

fn size(name: &str, value: &Value) -> Result<Value, Vec<Value>> {
    let mut read = Map::new();
    let mut problems = Vec::new();
    for side in ["width", "height"] {
        let loc = ["body", name, side];
        let given = value.get(side).cloned().unwrap_or(json!(512));
        match integer(&loc, &given, None) {
            Ok(length) => {
                let pixels = length.as_i64().unwrap_or(i64::MAX);
                if pixels <= 0 {
                    let context = Some(json!({ "gt": 0 }));
                    problems.push(problem(&loc, "greater_than", "Input should be greater than 0", context, &given));
                } else if pixels > MAX_SIDE {
                    problems.push(too_large(&loc, json!(MAX_SIDE), &given));
                }
                read.insert(side.to_owned(), length);
            }
            Err(found) => problems.push(found),
        }
    }
    if problems.is_empty() { Ok(Value::Object(read)) } else { Err(problems) }
}

fn too_small(loc: &[&str], bound: Value, value: &Value) -> Value {
    let message = format!("Input should be greater than or equal to {bound}");
    problem(loc, "greater_than_equal", &message, Some(json!({ "ge": bound })), value)
}

fn too_large(loc: &[&str], bound: Value, value: &Value) -> Value {
    let message = format!("Input should be less than or equal to {bound}");
    problem(loc, "less_than_equal", &message, Some(json!({ "le": bound })), value)
}
