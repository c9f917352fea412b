//! A value written down as JSON or as YAML, in any of the ways that come to the same: order of keys, quotes, indentation,
//! comments.

use super::*;

/// Choices, one after the other, from a seed. The seed 0 chooses the first everywhere, which is how a program writes.
#[derive(Debug, Clone)]
pub(super) struct Rolls {
    state: u64,
    plain: bool,
}

impl Rolls {
    pub(super) fn new(seed: u64) -> Self {
        Rolls { state: seed, plain: seed == 0 }
    }

    /// One of so many (splitmix64).
    pub(super) fn of(&mut self, many: usize) -> usize {
        if self.plain {
            return 0;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % many.max(1) as u64) as usize
    }

    /// Now and then, and never plainly.
    pub(super) fn yes(&mut self) -> bool {
        self.of(3) == 1
    }

    /// One of these.
    pub(super) fn pick<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.of(of.len())]
    }
}

/// The value as a document.
pub(super) fn write(value: &Value, rolls: &mut Rolls) -> String {
    match rolls.of(6) {
        0 => value.to_string(),
        1 => serde_json::to_string_pretty(value).unwrap(),
        2 => flow(value, rolls),
        _ => {
            let mut text = if rolls.yes() { "# a pipeline\n---\n".to_owned() } else { String::new() };
            block(value, 0, rolls, &mut text);
            text
        }
    }
}

/// On one line, keys in any order.
fn flow(value: &Value, rolls: &mut Rolls) -> String {
    let space = rolls.pick(&["", " ", "  "]);
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| flow(value, rolls)).collect();
            format!("[{space}{}{space}]", values.join(&format!("{space}, ")))
        }
        Value::Object(table) => {
            let entries: Vec<String> = shuffled(table, rolls)
                .map(|(name, value)| format!("{}: {}", key(name, rolls), flow(value, rolls)))
                .collect();
            format!("{{{space}{}{space}}}", entries.join(&format!("{space}, ")))
        }
        Value::String(text) => quoted(text, rolls),
        scalar => scalar.to_string(),
    }
}

fn shuffled<'v>(
    table: &'v Map<String, Value>,
    rolls: &mut Rolls,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    let mut entries: Vec<_> = table.iter().collect();
    for n in (1..entries.len()).rev() {
        entries.swap(n, rolls.of(n + 1));
    }
    entries.into_iter()
}

/// Over several lines, each of them indented by so much.
fn block(value: &Value, indent: usize, rolls: &mut Rolls, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (name, value) in shuffled(table, rolls) {
                comment(&margin, rolls, text);
                text.push_str(&format!("{margin}{}:", key(name, rolls)));
                entry(value, indent, rolls, text);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                comment(&margin, rolls, text);
                text.push_str(&format!("{margin}-"));
                entry(value, indent, rolls, text);
            }
        }
        other => text.push_str(&format!("{margin}{}\n", flow(other, rolls))),
    }
}

/// The value after a key or a dash.
fn entry(value: &Value, indent: usize, rolls: &mut Rolls, text: &mut String) {
    let deeper = indent + 1 + rolls.of(4);
    let is_nested = match value {
        Value::Object(table) => !table.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    };
    match value {
        Value::String(words) if is_block(words) && rolls.yes() => {
            let margin = " ".repeat(deeper);
            text.push_str(" |-\n");
            words.split('\n').for_each(|line| text.push_str(&format!("{margin}{line}\n")));
        }
        _ if is_nested && !rolls.yes() => {
            text.push('\n');
            block(value, deeper, rolls, text);
        }
        _ => {
            let behind = if rolls.yes() { "  # as we like it: {x}" } else { "" };
            text.push_str(&format!(" {}{behind}\n", flow(value, rolls)));
        }
    }
}

/// Whether it may be a block as it stands.
fn is_block(text: &str) -> bool {
    !text.starts_with(' ') && text.split('\n').all(|line| !line.trim().is_empty() && !line.contains(char::is_control))
}

fn comment(margin: &str, rolls: &mut Rolls, text: &mut String) {
    match rolls.of(8) {
        1 => text.push_str(&format!("{margin}# \"a: comment\n")),
        2 => text.push('\n'),
        _ => {}
    }
}

fn key(name: &str, rolls: &mut Rolls) -> String {
    match rolls.of(4) {
        1 => format!("\"{name}\""),
        2 => format!("'{name}'"),
        _ => name.to_owned(),
    }
}

/// A text on one line.
fn quoted(text: &str, rolls: &mut Rolls) -> String {
    let is_word = |text: &str| {
        let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
        text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !words.contains(&text.to_ascii_lowercase().as_str())
    };
    match rolls.of(4) {
        1 if text.split(' ').all(is_word) => text.to_owned(),
        2 if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', "''")),
        3 => {
            // Every character by its number.
            let escape = |c: char| format!("\\U{:08x}", u32::from(c));
            format!("\"{}\"", text.chars().map(escape).collect::<String>())
        }
        _ => Value::from(text).to_string(),
    }
}
