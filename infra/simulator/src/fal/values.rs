//! How single values are read: as laxly as fal's applications do (pydantic), and with its words where they refuse.

use serde_json::{Map, Value, json};

use super::schema::{Field, Kind, problem};

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
    let quoted: Vec<String> = allowed.iter().map(|text| format!("'{text}'")).collect();
    let listed = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    let message = format!("Input should be {listed}");
    Err(problem(loc, "one_of", &message, Some(json!({ "expected": allowed })), value))
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
