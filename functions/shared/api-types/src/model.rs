//! The models of the catalogue.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelView {
    /// The name that documents use.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// The step type that it serves.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether steps of the type that name no model use it.
    pub default: bool,
    /// The provider that runs it.
    pub provider: String,
    /// Its display name.
    pub label: String,
    /// Its typical duration in seconds, from and to.
    pub seconds: (u32, u32),
    /// The timeout of steps that give none, in seconds.
    pub timeout: u32,
    /// The unit of `price`: `image`, `second`, `megapixel`, `token` …
    pub unit: String,
    /// The list price of a unit.
    pub price: i64,
    /// The list price of a unit of output, where that differs.
    pub output_price: i64,
    /// Its params by name, with their allowed values.
    pub params: BTreeMap<String, Value>,
    /// The params that are media.
    pub media: Vec<String>,
}
