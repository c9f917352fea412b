//! A nested value as one attribute: compact JSON. `None` is no attribute.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::to_string(value).map_err(S::Error::custom)? {
        json if json == "null" => serializer.serialize_none(),
        json => serializer.serialize_str(&json),
    }
}

pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let json = String::deserialize(deserializer)?;
    // The parser's message can repeat the text.
    serde_json::from_str(&json).map_err(|_| D::Error::custom("not the expected JSON"))
}
