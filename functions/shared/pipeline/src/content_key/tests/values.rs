//! Allowed values of params, drawn from the catalogue, and what is sent for them.

use proptest::prelude::*;
use serde_json::json;
use unicode_normalization::UnicodeNormalization;

use super::*;
use crate::catalogue::{Param, ParamKind, image_size_names};

/// A text as people write them, on one line or several: never blank, and nothing in it is a placeholder.
pub(super) fn words() -> impl Strategy<Value = String> {
    let plain = "[a-z0-9]{1,8}( [a-z0-9]{1,8}){0,3}";
    let any = "[a-zA-Z0-9 #:,'\"\\\\%&*!|>?@`\\[\\]\\-\u{e9}\u{301}\u{65e5}\u{1f98a}]{0,12}[a-z](\n[a-z#][a-z ]{0,6}[a-z]){0,2}";
    prop_oneof![plain.prop_map(String::from), any.prop_map(String::from)]
}

/// What one value after another is drawn from.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    index: usize,
    part: f64,
    text: String,
}

impl Draw {
    /// A place in a list that is this long.
    pub(super) fn below(&self, length: usize) -> usize {
        // Mixed with the length, so that what was drawn of three says nothing of what is drawn of six.
        let mixed = (self.index as u64).wrapping_add(length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 32) % length.max(1) as u64) as usize
    }

    /// Whether the one in so many is hit.
    pub(super) fn one_in(&self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

pub(super) fn draw() -> impl Strategy<Value = Draw> {
    (any::<usize>(), 0.0..=1.0, words()).prop_map(|(index, part, text)| Draw { index, part, text })
}

/// As many draws as a step may need: one for each of its params and more.
pub(super) fn draws(count: usize) -> impl Strategy<Value = Vec<Draw>> {
    prop::collection::vec(draw(), count)
}

/// Some values that a param allows, of which no two are one request; one that is drawn is first.
pub(super) fn allowed(param: &Param, draw: &Draw) -> Vec<Value> {
    let mut values = match &param.kind {
        ParamKind::Text { max_chars, .. } => {
            let own: String = draw.text.chars().take(*max_chars).collect();
            vec![json!(own), json!("a"), json!("b")]
        }
        ParamKind::Integer { min, max } => {
            let between = *min + ((max - min) as f64 * draw.part) as i64;
            vec![json!(between), json!(min), json!(max)]
        }
        ParamKind::Number { min, max } => {
            let between = (min + (max - min) * draw.part).clamp(*min, *max);
            vec![json!(between), json!(min), json!(max)]
        }
        ParamKind::Boolean => vec![json!(draw.one_in(2)), json!(true), json!(false)],
        ParamKind::Choice { values } => rotated(values.iter().map(|value| json!(value)).collect(), draw),
        ParamKind::IntegerChoice { values } => rotated(values.iter().map(|value| json!(value)).collect(), draw),
        ParamKind::ImageSize => {
            // Beyond the sizes that have names: a name and its pixels need not be one key.
            let side = |part: f64| 1_025 + ((4_096 - 1_025) as f64 * part) as u64;
            let own = json!({"width": side(draw.part), "height": side(1.0 - draw.part)});
            let mut values = rotated(image_size_names().map(|name| json!(name)).collect(), draw);
            let place = draw.below(values.len() + 1);
            values.insert(place, own);
            values
        }
    };
    let mut seen = Vec::new();
    values.retain(|value| {
        let sent = sent(param, value);
        let fresh = !seen.contains(&sent);
        seen.push(sent);
        fresh
    });
    values
}

fn rotated(mut values: Vec<Value>, draw: &Draw) -> Vec<Value> {
    let first = draw.below(values.len());
    values.rotate_left(first);
    values
}

/// What a value comes to in the request, worked out apart from the catalogue's own code.
pub(super) fn sent(param: &Param, value: &Value) -> Value {
    match (&param.kind, value) {
        (ParamKind::Text { .. }, Value::String(text)) => json!(text.trim().nfc().collect::<String>()),
        (ParamKind::Number { .. }, Value::Number(number)) => json!(number.as_f64().map(|number| number + 0.0)),
        (ParamKind::Choice { .. }, Value::String(text)) => json!(param.map.get(text).unwrap_or(text)),
        _ => value.clone(),
    }
}

/// The provider's name of a param.
pub(super) fn field<'a>(name: &'a str, param: &'a Param) -> &'a str {
    param.to.as_deref().unwrap_or(name)
}

/// What is sent in a provider's field where nothing is given: the default of the param which fills it.
pub(super) fn default_of(model: &Model, to: &str) -> Option<Value> {
    let filling = |(name, param): (&String, &Param)| {
        let default = param.default.as_ref().filter(|_| field(name, param) == to)?;
        Some(sent(param, default))
    };
    model.params.iter().find_map(filling)
}

/// What is sent in a provider's field.
pub(super) fn effective(model: &Model, params: &Map<String, Value>, to: &str) -> Option<Value> {
    let given = params.iter().find(|(name, _)| field(name, &model.params[*name]) == to);
    given.map(|(name, value)| sent(&model.params[name], value)).or_else(|| default_of(model, to))
}

/// The params with something else in the field of this one: another value of it or, where that is a change and the draw will
/// have it, none. `None` where the field cannot be changed.
pub(super) fn changed(
    model: &Model,
    params: &Map<String, Value>,
    name: &str,
    draw: &Draw,
) -> Option<Map<String, Value>> {
    let param = &model.params[name];
    let to = field(name, param);
    let before = effective(model, params, to);
    let mut without = params.clone();
    without.retain(|other, _| field(other, &model.params[other]) != to);
    let is_needed = model.params.iter().any(|(other, param)| param.required && field(other, param) == to);
    if !is_needed && default_of(model, to) != before && draw.one_in(3) {
        return Some(without);
    }
    let other = allowed(param, draw).into_iter().find(|value| Some(sent(param, value)) != before)?;
    without.insert(name.to_owned(), other);
    Some(without)
}

/// Params of a model: some of those that it has, all that it requires, and no two for one field.
pub(super) fn params(model: &Model, draws: &[Draw]) -> Map<String, Value> {
    let mut params = Map::new();
    let mut filled: Vec<&str> = Vec::new();
    for (n, (name, param)) in model.params.iter().enumerate() {
        let draw = &draws[n % draws.len()];
        let to = field(name, param);
        let siblings = model.params.iter().filter(|(other, param)| field(other, param) == to).count();
        let wanted = param.required && siblings == 1 || !draw.one_in(3);
        if wanted && !filled.contains(&to) {
            filled.push(to);
            params.insert(name.clone(), allowed(param, draw).remove(0));
        }
    }
    // Required, and left out in favour of a sibling that was left out too.
    for (name, param) in &model.params {
        if param.required && !filled.contains(&field(name, param)) {
            params.insert(name.clone(), allowed(param, &draws[0]).remove(0));
        }
    }
    params
}

#[test]
fn every_param_has_more_than_one_value_and_no_two_are_one() {
    for model in crate::catalogue::models() {
        for (name, param) in &model.params {
            if let ParamKind::Choice { values } = &param.kind {
                let mut sent: Vec<_> = values.iter().map(|value| sent(param, &json!(value)).to_string()).collect();
                sent.sort();
                sent.dedup();
                assert_eq!(sent.len(), values.len(), "{}: {name}", model.name);
            }
            let draw = Draw { index: 0, part: 0.5, text: "x".to_owned() };
            assert!(allowed(param, &draw).len() > 1, "{}: {name}", model.name);
        }
    }
}
