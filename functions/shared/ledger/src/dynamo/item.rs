//! Attributes of an item: writing one, and reading one with a clear message where it is not what it should be.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Item, PK, SK, unwritable};
use crate::traits::StoreError;

/// The layout that this version writes and reads.
pub(super) const VERSION: i64 = 1;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// A revision or another count that does not fit `i64` by type.
pub(super) fn count(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn flag(value: bool) -> AttributeValue {
    AttributeValue::Bool(value)
}

/// A nested value as compact JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    match serde_json::to_string(value) {
        Ok(json) => Ok(AttributeValue::S(json)),
        Err(_) => Err(unwritable("a row cannot be written as JSON")),
    }
}

/// A unit variant of an enum by its serialised name (`"running"`).
pub(super) fn word<T: Serialize>(value: T) -> Result<AttributeValue, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(AttributeValue::S(word)),
        _ => Err(unwritable("a state cannot be written as a word")),
    }
}

/// Reads an item's attributes.
pub(super) struct Reader<'a> {
    item: &'a Item,
}

impl<'a> Reader<'a> {
    /// An item of this version's layout.
    pub(super) fn new(item: &'a Item) -> Result<Self, StoreError> {
        let reader = Reader { item };
        match reader.number("v")? {
            VERSION => Ok(reader),
            version => Err(StoreError::unreadable(format!(
                "{} has layout {version}, this version reads layout {VERSION}",
                reader.named()
            ))),
        }
    }

    fn named(&self) -> String {
        let part = |name| self.item.get(name).and_then(|value| value.as_s().ok()).map_or("?", String::as_str);
        format!("ledger item {} {}", part(PK), part(SK))
    }

    pub(super) fn bad(&self, name: &str) -> StoreError {
        StoreError::unreadable(format!("{}: attribute {name} is missing or unreadable", self.named()))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        self.maybe_text(name)?.ok_or_else(|| self.bad(name))
    }

    pub(super) fn maybe_text(&self, name: &str) -> Result<Option<&'a str>, StoreError> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(name)),
        }
    }

    /// A number of any integer type.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, StoreError> {
        self.maybe_number(name)?.ok_or_else(|| self.bad(name))
    }

    pub(super) fn maybe_number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, StoreError> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| self.bad(name)),
            Some(_) => Err(self.bad(name)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, StoreError> {
        match self.item.get(name) {
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            _ => Err(self.bad(name)),
        }
    }

    /// A flag that is written only where it is set.
    pub(super) fn flag_or_no(&self, name: &str) -> Result<bool, StoreError> {
        if self.item.contains_key(name) { self.flag(name) } else { Ok(false) }
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        self.maybe_json(name)?.ok_or_else(|| self.bad(name))
    }

    pub(super) fn maybe_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(json) = self.maybe_text(name)? else { return Ok(None) };
        // The parser's message can repeat what it read.
        serde_json::from_str(json).map(Some).map_err(|_| self.bad(name))
    }

    pub(super) fn word<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        self.maybe_word(name)?.ok_or_else(|| self.bad(name))
    }

    pub(super) fn maybe_word<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(word) = self.maybe_text(name)? else { return Ok(None) };
        let word = serde_json::Value::String(word.to_owned());
        serde_json::from_value(word).map(Some).map_err(|_| self.bad(name))
    }

    /// An identifier, checked as it would be where it comes in.
    pub(super) fn id<T: TryFrom<String>>(&self, name: &str, text: &str) -> Result<T, StoreError> {
        T::try_from(text.to_owned()).map_err(|_| self.bad(name))
    }

    /// What follows a prefix in the partition or the sort key.
    pub(super) fn after(&self, name: &str, prefix: &str) -> Result<&'a str, StoreError> {
        self.text(name)?.strip_prefix(prefix).ok_or_else(|| self.bad(name))
    }
}
