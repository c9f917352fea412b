//! A rule: a fault and the requests that it applies to. Rules are read strictly, so that a misspelt field is an error and
//! not a fault that never applies.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use strum::VariantNames;

use super::fault::Fault;

/// A fault and the requests that it applies to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRule {
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(flatten)]
    scope: Scope,
}

/// The fields of every rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Scope {
    /// The exact endpoint id, or its beginning with `*` at the end; `None` matches every one.
    endpoint: Option<String>,
    /// A part of the prompt.
    prompt: Option<String>,
    /// The number of matches that are spared first.
    skip: u64,
    /// The number of matches that the fault applies to at most.
    times: Option<u64>,
    /// 0 to 1; `None` is certain.
    probability: Option<f64>,
}

const SCOPE: [&str; 5] = ["endpoint", "prompt", "skip", "times", "probability"];

/// A rule with its counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultStatus {
    #[serde(flatten)]
    pub rule: FaultRule,
    /// The number of matches, with and without effect.
    pub seen: u64,
    /// The number of matches that the fault was applied to.
    pub hits: u64,
}

/// The error of a rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(String);

impl FaultRule {
    /// A rule that applies to every request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, scope: Scope::default() }
    }

    /// Restricts the rule to an endpoint, or to those that begin with the text before a `*` at the end.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.scope.endpoint = Some(endpoint.into());
        self
    }

    /// Restricts the rule to requests whose prompt contains a text.
    #[must_use]
    pub fn prompt(mut self, part: impl Into<String>) -> Self {
        self.scope.prompt = Some(part.into());
        self
    }

    /// Spares the first matches.
    #[must_use]
    pub fn skip(mut self, number: u64) -> Self {
        self.scope.skip = number;
        self
    }

    /// Bounds the number of matches that the fault applies to.
    #[must_use]
    pub fn times(mut self, number: u64) -> Self {
        self.scope.times = Some(number);
        self
    }

    /// Applies the fault with a probability; the seed of the simulator repeats the draws.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.scope.probability = Some(probability);
        self
    }

    /// Reads a rule from JSON.
    pub fn read(rule: Value) -> Result<Self, BadRule> {
        let name = rule.get("fault").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Value::Object(given) = rule else { return Err(BadRule(format!("there is no fault {name:?}"))) };
        if !Fault::VARIANTS.contains(&name.as_str()) {
            return Err(BadRule(format!("there is no fault {name:?}")));
        }
        let (scope, own): (Map<_, _>, Map<_, _>) =
            given.into_iter().partition(|(field, _)| SCOPE.contains(&field.as_str()));
        let form = |error: serde_json::Error| BadRule(format!("fault {name}: {error}"));
        let fields: Vec<String> = own.keys().cloned().collect();
        let fault: Fault = serde_json::from_value(Value::Object(own)).map_err(form)?;
        // Serde ignores unknown fields of a variant, so the fields are compared with those that were read.
        let known = serde_json::to_value(&fault).map_err(form)?;
        if let Some(field) = fields.iter().find(|field| known.get(field).is_none()) {
            return Err(BadRule(format!("fault {name} has no field {field:?}")));
        }
        let rule = Self { fault, scope: serde_json::from_value(Value::Object(scope)).map_err(form)? };
        rule.check()?;
        Ok(rule)
    }

    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<(), BadRule> {
        let is_certain_enough = self.scope.probability.is_none_or(|value| (0.0..=1.0).contains(&value));
        let field = if is_certain_enough { self.fault.field_out_of_bounds() } else { Some("probability") };
        match field {
            Some(field) => Err(BadRule(format!("fault {}: {field} is out of bounds", self.fault.name()))),
            None => Ok(()),
        }
    }

    /// Whether the rule applies to a request.
    fn matches(&self, endpoint: &str, prompt: Option<&str>) -> bool {
        let by_endpoint = self.scope.endpoint.as_deref().is_none_or(|pattern| match pattern.strip_suffix('*') {
            Some(start) => endpoint.starts_with(start),
            None => endpoint == pattern,
        });
        let contained = |part: &str| prompt.is_some_and(|prompt| prompt.contains(part));
        by_endpoint && self.scope.prompt.as_deref().is_none_or(contained)
    }
}

impl<'de> Deserialize<'de> for FaultRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl FaultStatus {
    pub(super) fn new(rule: FaultRule) -> Self {
        Self { rule, seen: 0, hits: 0 }
    }

    /// Counts a request if the rule applies to it, and returns whether the fault applies. `draw` maps the number of a match
    /// to a number in 0–1.
    pub(super) fn applies(&mut self, endpoint: &str, prompt: Option<&str>, draw: impl Fn(u64) -> f64) -> bool {
        let scope = &self.rule.scope;
        if !self.rule.matches(endpoint, prompt) || scope.times.is_some_and(|times| self.hits >= times) {
            return false;
        }
        let number = self.seen;
        self.seen += 1;
        let is_hit = number >= scope.skip && scope.probability.is_none_or(|probability| draw(number) < probability);
        self.hits += u64::from(is_hit);
        is_hit
    }
}
