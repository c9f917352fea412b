//! Records as items and back. An item that this version cannot read is an error that names the item and the attribute,
//! never a guess. One that a newer version wrote is read later, and is never repaired.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::time::DAY;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::SystemClock;
use crate::records::Millis;
use crate::table::{AttributeValue, EXPIRES_AT, Item, Key, PK, SK, number_of, text_of};
use crate::traits::{Clock, StoreError};

/// The attribute of the layout's version.
pub(super) const LAYOUT: &str = "v";
/// The layout that this version writes and reads.
const VERSION: i64 = 1;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// A count of rows or bytes, or a revision.
pub(super) fn count(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn flag(value: bool) -> AttributeValue {
    AttributeValue::Bool(value)
}

pub(super) fn version() -> AttributeValue {
    number(VERSION)
}

/// A unit variant of an enum by its serialized name (`"running"`).
pub(super) fn word<T: Serialize>(value: T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|_| unwritable())
}

/// A nested value as compact JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_json::to_string(value).map(AttributeValue::S).map_err(|_| unwritable())
}

/// The failure of a record that cannot be written. A retry does not help.
fn unwritable() -> StoreError {
    StoreError(Failure::new(ErrorName::Internal, "a record cannot be written as an item"))
}

/// An `expires_at` so many days after a time, in seconds.
pub(super) fn expiry(from: Millis, days: Millis) -> AttributeValue {
    number(from.saturating_add(days * DAY) / 1000)
}

/// An `expires_at` so many days from now. Only expiry is counted by the machine's clock: a decision comes with its time.
pub(super) fn expiry_from_now(days: Millis) -> AttributeValue {
    expiry(SystemClock.now(), days)
}

/// An item with nothing but its key and the layout's version.
pub(super) fn bare_item(key: Key) -> Item {
    Item::from([
        (PK.to_owned(), AttributeValue::S(key.pk)),
        (SK.to_owned(), AttributeValue::S(key.sk)),
        (LAYOUT.to_owned(), version()),
    ])
}

/// The attributes of a record, without those that have no value.
pub(super) fn attributes<R: Serialize>(record: &R) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(record).map_err(|_| unwritable())?;
    item.retain(|_, value| !matches!(value, AttributeValue::Null(_)));
    Ok(item)
}

/// A record as an item under a key.
pub(super) fn to_item<R: Serialize>(key: Key, record: &R) -> Result<Item, StoreError> {
    let mut item = attributes(record)?;
    item.extend(bare_item(key));
    Ok(item)
}

/// Sets the time of an item's expiry.
pub(super) fn expiring(mut item: Item, at: AttributeValue) -> Item {
    item.insert(EXPIRES_AT.to_owned(), at);
    item
}

/// An item as a record. `ids` are the fields that the item's key stands for.
pub(super) fn from_item<R: DeserializeOwned>(
    item: &Item,
    ids: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> Result<R, StoreError> {
    match number_of::<i64>(item, LAYOUT) {
        Some(VERSION) => {}
        // It is no damage: a function of the newer version reads it.
        Some(newer) if newer > VERSION => {
            return Err(StoreError::ledger(format!(
                "{} has layout {newer}, which a newer version wrote; this version reads layout {VERSION}: try later",
                named(item)
            )));
        }
        Some(other) => {
            return Err(StoreError::unreadable(format!(
                "{} has layout {other}, this version reads layout {VERSION}",
                named(item)
            )));
        }
        None => return Err(unreadable(item, LAYOUT)),
    }
    let mut attributes = item.clone();
    attributes.extend(ids.into_iter().map(|(name, id)| (name.to_owned(), id)));
    let deserializer = serde_dynamo::Deserializer::from_attribute_value(AttributeValue::M(attributes));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        // The inner message can repeat a value, unless it says that a field is missing.
        let message = error.inner().to_string();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        unreadable(item, missing.unwrap_or(&error.path().to_string()))
    })
}

/// The part of a key's attribute after its prefix.
pub(super) fn after<'a>(item: &'a Item, name: &str, prefix: &str) -> Result<&'a str, StoreError> {
    text_of(item, name).and_then(|text| text.strip_prefix(prefix)).ok_or_else(|| unreadable(item, name))
}

pub(super) fn unreadable(item: &Item, attribute: &str) -> StoreError {
    StoreError::unreadable(format!("{}: attribute {attribute} is missing or unreadable", named(item)))
}

fn named(item: &Item) -> String {
    let part = |name| text_of(item, name).unwrap_or("?");
    format!("ledger item {} {}", part(PK), part(SK))
}

#[cfg(test)]
mod tests {
    use fresco_pipeline::ids::ContentKey;

    use super::super::entries::{entry_item, read_entry};
    use super::*;
    use crate::records::Entry;

    fn damaged(name: &str, value: Option<AttributeValue>) -> String {
        let mut item = entry_item(&Entry::new(ContentKey::digest(b"key"))).unwrap();
        item.remove(name);
        item.extend(value.map(|value| (name.to_owned(), value)));
        let error = read_entry(&item).unwrap_err();
        assert!(error.is_unreadable(), "{error}");
        error.to_string()
    }

    #[test]
    fn an_unreadable_item_names_the_attribute_and_repeats_no_value() {
        for (name, value) in [
            ("tries", None),
            ("rev", None),
            ("v", None),
            ("rev", Some(text("a prompt"))),
            ("notify_pending", Some(text("a prompt"))),
            ("pending", Some(text("{\"attempt\": \"a prompt\""))),
            ("result", Some(number(1))),
        ] {
            let message = damaged(name, value);
            let expected = format!("{} E: attribute {name} is missing or unreadable", ContentKey::digest(b"key"));
            assert!(message.contains(&expected), "{name}: {message}");
        }
        assert!(damaged("v", Some(number(0))).contains("has layout 0, this version reads layout 1"));
    }

    #[test]
    fn an_item_of_a_newer_version_is_no_damage() {
        let mut item = entry_item(&Entry::new(ContentKey::digest(b"key"))).unwrap();
        item.insert("v".to_owned(), number(2));
        let error = read_entry(&item).unwrap_err();
        assert_eq!((error.0.name, error.is_unreadable()), (ErrorName::LedgerUnavailable, false));
        assert!(error.0.message.contains("has layout 2, which a newer version wrote"), "{error}");
    }

    #[test]
    fn an_item_has_no_attribute_without_a_value() {
        let item = entry_item(&Entry::new(ContentKey::digest(b"key"))).unwrap();
        let mut names: Vec<&str> = item.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["expires_at", "last", "lost", "notify_pending", "pk", "rev", "sk", "tries", "v"]);
        assert_eq!(read_entry(&item).unwrap().rev, 1);
    }
}
