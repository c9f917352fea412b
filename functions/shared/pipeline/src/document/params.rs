//! The params of a step: filled, checked by the model and turned into the provider's request. A text that reads steps is
//! checked with a stand-in and kept in pieces, because what it reads is not there yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::diagnostics::{Location, join, list};
use super::key_specs::{self, STEP};
use super::parse::Target;
use super::reference_graph::each_text;
use super::template::{Filled, Filling, MAX_FILLED, has_placeholder};
use super::validate::Checker;
use super::yaml::{Content, Node};
use super::{MAX_STEPS, Piece, TextSlot};
use crate::catalogue::{self, BYTES_A_CHAR, MediaKind, Model, Param, ParamKind};
use crate::ids::StepName;
use crate::text::shown;

/// The most bytes of a param that is no text.
const MAX_WORD: usize = 64 * 1024;

/// The value of a param that names media.
pub(super) struct NamedMedia<'n> {
    /// The index of the model's input.
    pub(super) input: usize,
    pub(super) name: &'n str,
    pub(super) node: &'n Node,
    pub(super) location: Location,
}

/// The params of a step.
#[derive(Default)]
pub(super) struct StepParams<'n> {
    /// The provider's request; `None` where something is wrong with it.
    pub(super) resolved: Option<Map<String, Value>>,
    pub(super) texts: Vec<TextSlot>,
    pub(super) media: Vec<NamedMedia<'n>>,
    pub(super) uncacheable: bool,
}

/// The params of a step as the document gives them.
#[derive(Default)]
struct Entered<'n> {
    location: Location,
    given: Map<String, Value>,
    locations: BTreeMap<&'n str, Location>,
    /// Texts that read steps, for which stand-ins are given.
    pieces: Vec<(&'n str, Vec<Piece>)>,
    /// The provider's fields of what could not be filled: it has its problem and must not be missed again.
    failed: BTreeSet<String>,
    nodes: BTreeMap<&'n str, &'n Node>,
    /// Whether there are params that the model does not have.
    unknown: bool,
}

/// A param's value, filled.
enum Written {
    Value(Value),
    Pieces(Vec<Piece>),
}

impl<'n> Checker<'_, 'n> {
    /// Reads the params of a step.
    pub(super) fn params(&mut self, number: usize) -> StepParams<'n> {
        let raw = &self.parsed.steps[number];
        let (model, likely) = (raw.model, raw.likely_model());
        let mut location = Location::new(raw.location.place, join(&raw.location.path, "params"));
        let mut read = StepParams::default();
        let mut entries: &'n [_] = &[];
        if let Some((node, own)) = &raw.params {
            let node: &'n Node = node;
            let Content::Table(own_entries) = &node.content else { return read };
            (entries, location) = (own_entries, own.clone());
        }
        let mut entered = Entered { location, ..Entered::default() };
        for (key, node) in entries {
            let here = Location::new(node.place, join(&entered.location.path, &key.text));
            let input = likely.and_then(|model| {
                let named = model.media_param(&key.text)?;
                model.inputs.iter().position(|input| input.to == named.to)
            });
            if let Some(input) = input {
                read.media.push(NamedMedia { input, name: &key.text, node, location: here });
                continue;
            }
            let param = model.and_then(|model| model.params.get(&key.text));
            if let (Some(model), None) = (model, param) {
                self.unknown_param(model, &key.text, &Location::new(key.place, here.path));
                entered.unknown = true;
                continue;
            }
            match self.value(number, node, &here, param.map(|param| &param.kind), &mut read.uncacheable) {
                Some(Written::Value(value)) => {
                    entered.given.insert(key.text.clone(), value);
                }
                Some(Written::Pieces(pieces)) => {
                    entered.given.insert(key.text.clone(), Value::String(stand_in(&pieces)));
                    entered.pieces.push((&key.text, pieces));
                }
                None => {
                    entered.failed.insert(field(param, &key.text));
                }
            }
            entered.nodes.insert(&key.text, node);
            entered.locations.insert(&key.text, here);
        }
        if let Some(model) = model {
            self.resolve(model, entered, &mut read);
        }
        read
    }

    /// Turns what was entered into the provider's request.
    fn resolve(&mut self, model: &Model, mut entered: Entered<'_>, read: &mut StepParams<'_>) {
        let to = |name: &str| field(model.params.get(name), name);
        let has_prompt = entered.failed.contains("prompt") || entered.given.keys().any(|name| to(name) == "prompt");
        let needs_prompt = model.params.get("prompt").is_some_and(|param| param.required);
        if let (false, true, Some(input)) = (has_prompt, needs_prompt, &self.given.input) {
            entered.given.insert("prompt".to_owned(), Value::String(input.clone()));
        }
        let problems = match model.resolve(&entered.given) {
            Ok(mut resolved) => {
                for (name, pieces) in entered.pieces {
                    let Some(Param { kind: ParamKind::Text { max_chars, .. }, .. }) = model.params.get(name) else {
                        continue;
                    };
                    resolved.remove(&to(name));
                    read.texts.push(TextSlot { to: to(name), max_chars: *max_chars, pieces });
                }
                read.texts.sort_by(|a, b| a.to.cmp(&b.to));
                read.resolved = (!entered.unknown && entered.failed.is_empty()).then_some(resolved);
                return;
            }
            Err(problems) => problems,
        };
        for problem in problems {
            let missing = problem.code == "param_missing";
            if missing && entered.failed.contains(&to(&problem.param)) {
                continue;
            }
            let own = entered.locations.get(problem.param.as_str()).cloned();
            let location = own
                .unwrap_or_else(|| Location::new(entered.location.place, join(&entered.location.path, &problem.param)));
            let advice = if missing && problem.param == "prompt" {
                "Add `prompt:` under `params`, or give the run an input text (--input \"…\").".to_owned()
            } else {
                problem.advice
            };
            let node = entered.nodes.get(problem.param.as_str());
            // What was filled in is not repeated.
            let unquoted = problem.unquoted.filter(|_| node.is_some_and(|node| is_filled(node)));
            let message = unquoted.unwrap_or(problem.message);
            self.report.add(&location, problem.code, message, advice);
        }
    }

    fn unknown_param(&mut self, model: &Model, key: &str, location: &Location) {
        let known = || {
            let media = model.inputs.iter().map(|input| input.param.as_str());
            model.params.keys().map(String::as_str).chain(media)
        };
        let names_media = catalogue::models().iter().any(|model| model.media_param(key).is_some());
        let advice = if key_specs::find(STEP, key).is_some() {
            format!("`{key}` belongs to the step itself: move it out of `params`.")
        } else if names_media && model.inputs.is_empty() {
            format!("{} takes no media.", model.step.as_str())
        } else if let Some(near) = self.report.suggest(key, known()) {
            format!("Did you mean `{near}`?")
        } else {
            format!("Known: {}.", list(known()))
        };
        let message = format!("the model `{}` has no param `{}`", model.name, shown(key));
        self.report.add(location, "param_unknown", message, advice);
    }

    /// A value with its texts filled. `None` where something is wrong with it, which is then reported.
    fn value(
        &mut self,
        number: usize,
        node: &Node,
        location: &Location,
        kind: Option<&ParamKind>,
        uncacheable: &mut bool,
    ) -> Option<Written> {
        let whole = |filling| match filling {
            Written::Value(value) => Some(value),
            Written::Pieces(_) => None,
        };
        let value = match &node.content {
            Content::Text(text) => return self.text_value(number, text, location, kind, uncacheable),
            Content::List(nodes) => {
                let mut values = Vec::new();
                for (n, node) in nodes.iter().enumerate() {
                    let here = Location::new(node.place, format!("{}[{n}]", location.path));
                    values.push(self.value(number, node, &here, None, uncacheable).and_then(whole));
                }
                Value::Array(values.into_iter().collect::<Option<_>>()?)
            }
            Content::Table(entries) => {
                let mut values = Vec::new();
                for (key, node) in entries {
                    let here = Location::new(node.place, join(&location.path, &key.text));
                    let value = self.value(number, node, &here, None, uncacheable).and_then(whole);
                    values.push(value.map(|value| (key.text.clone(), value)));
                }
                Value::Object(values.into_iter().collect::<Option<_>>()?)
            }
            _ => node.value(),
        };
        Some(Written::Value(value))
    }

    fn text_value(
        &mut self,
        number: usize,
        text: &str,
        location: &Location,
        kind: Option<&ParamKind>,
        uncacheable: &mut bool,
    ) -> Option<Written> {
        let limit = match kind {
            Some(ParamKind::Text { max_chars, .. }) => max_chars.saturating_mul(BYTES_A_CHAR).min(MAX_FILLED),
            Some(_) => MAX_WORD,
            None => MAX_FILLED,
        };
        let filled = self.values.fill(&mut self.report, text, limit, location)?;
        if filled.cut {
            let message = match kind {
                Some(ParamKind::Text { max_chars, .. }) => {
                    format!("the filled text has more than {max_chars} characters")
                }
                _ => format!("the filled text has more than {limit} bytes"),
            };
            self.report.add(location, "param_too_long", message, "Shorten it.");
            return None;
        }
        *uncacheable |= filled.uncacheable;
        let Some(plain) = filled.text() else {
            if !matches!(kind, Some(ParamKind::Text { .. }) | None) {
                let message = "what a step gives can only be part of a text";
                self.report.add(location, "param_type", message, "Write the value itself.");
                return None;
            }
            return self.pieces(number, &filled, location).map(Written::Pieces);
        };
        let wants_scalar =
            matches!(kind, Some(ParamKind::Integer { .. } | ParamKind::Number { .. } | ParamKind::Boolean));
        if wants_scalar && has_placeholder(text) {
            // `num_images: "{{vars.count}}"` is a number, although it had to be written as a text.
            let scalar =
                serde_json::from_str(plain.trim()).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
            return Some(Written::Value(scalar.unwrap_or_else(|| Value::String(plain.to_owned()))));
        }
        Some(Written::Value(Value::String(plain.to_owned())))
    }

    /// The pieces of a text that reads steps, each of which gives a text.
    fn pieces(&mut self, number: usize, filled: &Filled, location: &Location) -> Option<Vec<Piece>> {
        let read = filled.pieces.iter().filter(|piece| matches!(piece, Filling::Step(_))).count();
        if read > MAX_STEPS {
            // Every part of the step holds all of them: a small document would fill the memory.
            let message = format!("the text reads steps {read} times; it may {MAX_STEPS} times");
            self.report.add(location, "param_too_long", message, "Read every step once.");
            return None;
        }
        let mut known: BTreeMap<&str, Option<StepName>> = BTreeMap::new();
        let mut pieces = Some(Vec::new());
        for piece in &filled.pieces {
            let piece = match piece {
                Filling::Text(text) => Some(Piece::Text(text.clone())),
                Filling::Step(name) => {
                    if !known.contains_key(name.as_str()) {
                        let step = self.placeholder_step(number, name, MediaKind::Text, location);
                        known.insert(name, step.and_then(|step| self.parsed.steps[step].name.clone()));
                    }
                    known.get(name.as_str()).cloned().flatten().map(Piece::Step)
                }
            };
            match (piece, &mut pieces) {
                (Some(piece), Some(pieces)) => pieces.push(piece),
                _ => pieces = None,
            }
        }
        pieces
    }

    /// The step that a placeholder reads, if it may be read there and gives the kind that is needed.
    pub(super) fn placeholder_step(
        &mut self,
        reader: usize,
        name: &str,
        kind: MediaKind,
        location: &Location,
    ) -> Option<usize> {
        let target = self.parsed.of_placeholder(name);
        if let Some(Target::Group(_)) = target {
            let message = format!("`{}` is a group; a placeholder reads one step", shown(name));
            self.report.add(location, "unknown_step", message, "Name one of its steps, or use input_from for media.");
            return None;
        }
        let called = match target {
            Some(Target::Step(step)) => self.parsed.steps[step].called().to_owned(),
            _ => name.to_owned(),
        };
        let step = self.refer(reader, target, &called, location)?.start;
        match self.facts[step].kind {
            Some(found) if found != kind => {
                let (message, advice) = if kind == MediaKind::Text {
                    let what = found.noun();
                    (format!("`{called}` gives {what}; {what} cannot be part of a text"), "Use input_from.".to_owned())
                } else {
                    (format!("`{called}` gives {}, and {} is needed", found.noun(), kind.noun()), self.fitting(kind))
                };
                self.report.add(location, "kind_mismatch", message, advice);
                None
            }
            _ => Some(step),
        }
    }
}

/// Whether a value has placeholders.
fn is_filled(node: &Node) -> bool {
    let mut found = false;
    each_text(Some(node), &mut |text| found |= has_placeholder(text));
    found
}

/// The provider's field of a param.
fn field(param: Option<&Param>, name: &str) -> String {
    param.and_then(|param| param.to.as_deref()).unwrap_or(name).to_owned()
}

/// Stands for a text whose steps are not done: as long as it is without them, and not blank.
fn stand_in(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "x" }).collect()
}

#[cfg(test)]
mod tests {
    use crate::document::{MAX_STEPS, RunInputs, check};
    use crate::media::{Media, input_key};

    use super::*;

    #[test]
    fn a_text_reads_at_most_as_often_as_a_run_has_steps() {
        let media = Media {
            key: input_key(MediaKind::Image, "0", "png"),
            kind: MediaKind::Image,
            content_type: "image/png".to_owned(),
            bytes: 1,
            sha256: "0".to_owned(),
            width: None,
            height: None,
            duration_ms: None,
        };
        let given = RunInputs { media: BTreeMap::from([("a.png".to_owned(), Ok(media))]), ..RunInputs::default() };
        let analysis = "{name: a, type: analyze_image, params: {image: a.png}}";
        for (times, problem) in [(MAX_STEPS, None), (MAX_STEPS + 1, Some("param_too_long"))] {
            let prompt = "{{step_a.output}} ".repeat(times);
            let text =
                format!("steps:\n  - {analysis}\n  - {{type: text_to_image, params: {{prompt: \"{prompt}\"}}}}\n");
            let codes: Vec<String> = check(&text, &given)
                .err()
                .map_or_else(Vec::new, |problems| problems.0.into_iter().map(|problem| problem.code).collect());
            assert_eq!(codes, problem.into_iter().collect::<Vec<_>>(), "{times}");
        }
    }
}
