//! The entries of fal's `detail` array for inputs that are refused.

use serde_json::{Value, json};

/// The types that fal's page on errors documents; the others are pydantic's.
const DOCUMENTED: [&str; 11] = [
    "one_of",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "multiple_of",
    "sequence_too_short",
    "sequence_too_long",
    "file_download_error",
    "file_too_large",
    "image_load_error",
];

/// One entry. `loc` is a list of names and positions.
pub(super) fn entry(loc: Value, kind: &str, message: &str, context: Option<Value>, input: &Value) -> Value {
    let url = match DOCUMENTED.contains(&kind) {
        true => format!("https://docs.fal.ai/errors#{kind}"),
        false => format!("https://errors.pydantic.dev/2.10/v/{kind}"),
    };
    let mut entry = json!({ "type": kind, "loc": loc, "msg": message, "input": input, "url": url });
    if let Some(context) = context {
        entry["ctx"] = context;
    }
    entry
}
