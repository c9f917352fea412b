//! The parsed document as a tree of nodes that know their place. Parsing is bounded before and while it happens: bytes,
//! depth, nodes; no anchors, no duplicate keys, one document. JSON is read by the same parser, being YAML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::problem::{Position, Problem};
use crate::text::shown_in;

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 32;
/// The most nodes: a thousand steps with a dozen params each come to a third.
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Position,
    pub(super) content: Content,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    /// A number that is none, as `.nan`: no key and no param takes it.
    NotFinite,
    Text(String),
    List(Vec<Node>),
    /// In the document's order; keys are unique.
    Table(Vec<(Key, Node)>),
}

/// A table's key and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Position,
}

impl Node {
    /// The type of the value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "empty",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::NotFinite => "not a finite number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// The value without places.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Null | Content::NotFinite => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value) => Value::Number(value.clone()),
            Content::Text(value) => Value::String(value.clone()),
            Content::List(nodes) => Value::Array(nodes.iter().map(Node::value).collect()),
            Content::Table(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.value())).collect::<Map<_, _>>())
            }
        }
    }
}

/// Parses a document.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_BYTES {
        let message = format!("the document has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Problem::at(
            Position::START,
            "document_too_large",
            "",
            message,
            "Use a batch for many inputs, and files for media.",
        ));
    }
    if let Some(at) = text.find('\0') {
        let message = "the document contains a NUL character";
        return Err(Problem::at(place_of(text, at), "document_syntax", "", message, "Remove it; is this a text file?"));
    }
    let mut options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        // Only true and false are: a step may be called `n`, and a prompt may be `yes`.
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    if let Some(budget) = options.budget.as_mut() {
        budget.max_anchors = 0;
        budget.max_aliases = 0;
        budget.max_documents = 1;
        budget.max_depth = MAX_DEPTH;
        budget.flow_nesting_limit = MAX_DEPTH;
        budget.max_nodes = MAX_NODES;
        budget.max_events = MAX_NODES * 3;
        budget.max_total_scalar_bytes = MAX_BYTES;
    }
    let root: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or(Position::START, place);
        let full = error.to_string();
        let message = full.lines().next().unwrap_or("the document cannot be read");
        // The parser repeats the whole key.
        let message = match message.starts_with("duplicate mapping key") {
            true => "the key stands there twice".to_owned(),
            false => shown_in(message).into_owned(),
        };
        Problem::at(
            place,
            "document_syntax",
            "",
            message,
            "Correct the YAML (or JSON) there; tabs do not indent, and anchors are not read.",
        )
    })?;
    Ok(node(root))
}

fn place(location: Location) -> Position {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Position { line: small(location.line()), column: small(location.column()) }
}

fn place_of(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Position { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

fn node(raw: Spanned<Raw>) -> Node {
    let here = place(raw.referenced);
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Bool(value) => Content::Bool(value),
        Raw::Number(Some(value)) => Content::Number(value),
        Raw::Number(None) => Content::NotFinite,
        Raw::Text(value) => Content::Text(value),
        Raw::List(items) => Content::List(items.into_iter().map(node).collect()),
        Raw::Table(entries) => Content::Table(
            entries
                .into_iter()
                .map(|(key, value)| (Key { place: place(key.referenced), text: key.value }, node(value)))
                .collect(),
        ),
    };
    Node { place: here, content }
}

/// A value as the parser gives it.
enum Raw {
    Null,
    Bool(bool),
    /// `None` for what is not finite.
    Number(Option<Number>),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(Some(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(Some(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(Number::from_f64(value as f64)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(Number::from_f64(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(Number::from_f64(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Table(entries))
    }
}
