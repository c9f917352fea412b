//! The pipeline document: what a user writes, YAML or JSON. It is parsed into a tree with places and checked whole, so that
//! every problem is reported at once, before anything is started or spent. What this version does not carry out is refused
//! by name, never ignored.

mod check;
mod fill;
mod problem;
mod tree;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::Model;
use crate::ids::StepName;
use crate::money::Money;

pub use problem::{Place, Problem, Problems};
pub use tree::MAX_BYTES;

/// The most steps of one run.
pub const MAX_STEPS: usize = 1_000;
/// The most workers.
pub const MAX_WORKERS: u32 = 40;
/// The workers where the document says nothing.
pub const DEFAULT_WORKERS: u32 = 4;

/// How a step uses the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Take what is there.
    #[default]
    Use,
    /// Generate and replace.
    Refresh,
    /// Neither find nor be found: the key is salted with run and step.
    Off,
}

impl CachePolicy {
    const ALL: [(&'static str, CachePolicy); 3] =
        [("use", CachePolicy::Use), ("refresh", CachePolicy::Refresh), ("off", CachePolicy::Off)];
}

/// A step without problems.
#[derive(Debug, Clone)]
pub struct CheckedStep {
    /// Its name.
    pub name: StepName,
    /// Its model.
    pub model: &'static Model,
    /// The request as it is sent.
    pub params: Map<String, Value>,
    /// Another picture of the same prompt, from 1.
    pub take: u32,
    /// How it uses the cache.
    pub cache: CachePolicy,
    /// Its timeout in seconds, where given.
    pub timeout: Option<u32>,
}

/// Steps that may run side by side; a step outside a group is a group of one.
#[derive(Debug, Clone)]
pub struct CheckedGroup {
    /// At most so many at a time; 1: one after the other, in order.
    pub workers: u32,
    /// The steps.
    pub steps: Vec<CheckedStep>,
}

/// A document without problems.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The pipeline's name, `pipeline` where it has none.
    pub name: String,
    /// Whether the first failure stops what has not started.
    pub fail_fast: bool,
    /// The budget.
    pub max_cost: Option<Money>,
    /// What is done, in order.
    pub groups: Vec<CheckedGroup>,
}

/// Parses and checks a document, filled with the run's input text.
pub fn check(text: &str, input: Option<&str>) -> Result<Checked, Problems> {
    let root = tree::parse(text).map_err(|problem| Problems(vec![problem]))?;
    check::check(&root, input)
}
