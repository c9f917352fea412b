//! One row as a JSON value: a line of JSONL, or an element of an array.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::cells::{Column, Fault};
use super::row::{MAX_COLUMNS, Row};

const SCALAR: &str = "Write text, a number, or true or false.";

/// Reads a row.
pub(super) fn row(text: &str) -> Result<Row, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Depth(0).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        // These messages are fixed words and a place; one about data could quote it.
        let reason = if error.is_data() { "it cannot be read".to_owned() } else { error.to_string() };
        Fault::of_row("bad_json", format!("the row is not JSON: {reason}"), "Correct the JSON there.")
    })?;
    let mut row = Row::default();
    match value {
        Value::Text(input) => row.set("input", Some(Column::Input), input)?,
        Value::Table(table) => fill(&mut row, table)?,
        Value::Null | Value::Scalar(_) | Value::Nested => {
            let advice = "Write an object with `input`, `vars` and `id`, or a text in quotes.";
            return Err(Fault::of_row("not_a_row", "the row is neither an object nor a text", advice));
        }
    }
    Ok(row)
}

fn fill(row: &mut Row, table: Vec<(String, Value)>) -> Result<(), Fault> {
    let keys = table.iter().map(|(key, value)| match value {
        Value::Table(vars) if key == "vars" => vars.len(),
        _ => 1,
    });
    if keys.sum::<usize>() > MAX_COLUMNS {
        return Err(Fault::too_many_keys());
    }
    for (key, value) in table {
        match value {
            Value::Table(vars) if key == "vars" => {
                for (var, value) in vars {
                    set(row, &format!("vars.{var}"), Column::var(&var), value)?;
                }
            }
            Value::Null => {}
            _ if key == "vars" => {
                let advice = "Write an object: \"vars\": {\"name\": \"value\"}.";
                return Err(Fault::of_cell(&key, "wrong_type", "is not an object", advice));
            }
            value => set(row, &key, Column::of_name(&key), value)?,
        }
    }
    Ok(())
}

fn set(row: &mut Row, name: &str, column: Option<Column>, value: Value) -> Result<(), Fault> {
    match value {
        Value::Null => Ok(()),
        Value::Text(text) | Value::Scalar(text) => row.set(name, column, text),
        Value::Table(_) | Value::Nested => Err(Fault::of_cell(name, "wrong_type", "is an array or an object", SCALAR)),
    }
}

/// The parts of a JSON value that a row can use.
enum Value {
    Null,
    Text(String),
    /// A number or a flag, as serde_json writes it.
    Scalar(String),
    /// In the order in which it is written, keys that are repeated with it; no more entries than it takes to see that they
    /// are too many.
    Table(Vec<(String, Value)>),
    /// An array, or an object within `vars`: skipped.
    Nested,
}

/// The depth of a value: 0 for the row, 1 for its values.
#[derive(Clone, Copy)]
struct Depth(u8);

/// The deepest object of which something is used: `vars`.
const VARS: u8 = 1;

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Scalar(flag.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Scalar(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Scalar(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, |number| Value::Scalar(number.to_string())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        if self.0 > VARS {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Nested);
        }
        let mut table = Vec::new();
        while table.len() <= MAX_COLUMNS
            && let Some(key) = map.next_key()?
        {
            table.push((key, map.next_value_seed(Depth(self.0 + 1))?));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Table(table))
    }
}
