//! Placeholders: taking a text apart and filling it. What is filled in is never read again, so an input that contains
//! `{{…}}` stays as it is. Names are looked up in what was given with the run and nowhere else.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::RunInputs;
use super::diagnostics::{Location, Report, list, shown};
use super::yaml::{Content, Node};

/// The most bytes of a filled text, whatever it is for.
pub(super) const MAX_FILLED: usize = 1024 * 1024;
/// The most bytes of all filled texts of a document together: a long input may be filled in very often.
const MAX_FILLED_TOGETHER: usize = 128 * 1024 * 1024;
/// The placeholders of a text, for advice.
const KNOWN: &str =
    "Known: {{input}}, {{vars.NAME}}, {{env.NAME}}, {{timestamp}}, {{random}} and {{step_NAME.output}}.";

/// A part of a text as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Text.
    Text(&'t str),
    /// The text between braces.
    Placeholder(&'t str),
}

/// The parts of a text. `{{` that is not closed on the way to the end is text.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    let mut next = None;
    std::iter::from_fn(move || {
        if let Some(name) = next.take() {
            return Some(Part::Placeholder(name));
        }
        let split = rest.split_once("{{").and_then(|(before, after)| {
            let (name, behind) = after.split_once("}}")?;
            Some((before, name.trim(), behind))
        });
        match split {
            Some((before, name, behind)) => {
                rest = behind;
                next = Some(name);
                Some(Part::Text(before))
            }
            None if rest.is_empty() => None,
            None => Some(Part::Text(std::mem::take(&mut rest))),
        }
    })
    .filter(|part| *part != Part::Text(""))
}

/// The step that a placeholder reads, as it is written: of `step_NAME.output`, `NAME`.
pub(super) fn step_of(placeholder: &str) -> Option<&str> {
    placeholder.strip_prefix("step_")?.strip_suffix(".output")
}

/// The names of a document's vars: the keys of its `vars`, and those that its texts read.
pub(super) fn var_names(root: &Node) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Content::Table(entries) = &root.content {
        let given = entries.iter().filter(|(key, _)| key.text == "vars").map(|(_, vars)| &vars.content);
        for vars in given {
            if let Content::Table(vars) = vars {
                names.extend(vars.iter().map(|(key, _)| key.text.clone()));
            }
        }
    }
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        match &node.content {
            Content::Text(text) => names.extend(parts(text).filter_map(|part| match part {
                Part::Placeholder(name) => name.strip_prefix("vars.").map(str::to_owned),
                Part::Text(_) => None,
            })),
            Content::List(list) => nodes.extend(list),
            Content::Table(entries) => nodes.extend(entries.iter().map(|(_, node)| node)),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::NotFinite => {}
        }
    }
    names
}

/// A piece of a filled text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filling {
    /// Text as it is.
    Text(String),
    /// The step that the placeholder names, without `step_`.
    Step(String),
}

/// A filled text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filled {
    /// Adjacent pieces are not both text.
    pub(super) pieces: Vec<Filling>,
    /// Whether a value of this run alone stands in it.
    pub(super) uncacheable: bool,
    /// Whether it would be longer than the limit; the pieces are then not all there.
    pub(super) cut: bool,
}

impl Filled {
    /// The text, where it reads no step.
    pub(super) fn text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Filling::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Filling::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Filling::Text(text.to_owned())),
        }
    }
}

/// The values of placeholders.
#[derive(Debug)]
pub(super) struct Values<'g> {
    given: &'g RunInputs,
    /// The document's own and the run's; `None` for texts that may not use them.
    vars: Option<BTreeMap<String, String>>,
    /// The bytes that may still be filled.
    left: Cell<usize>,
}

impl<'g> Values<'g> {
    /// The values that the document's own vars may use: none that is computed after them. Together they are as long as
    /// one text may be.
    pub(super) fn for_vars(given: &'g RunInputs) -> Self {
        Values { given, vars: None, left: Cell::new(MAX_FILLED) }
    }

    /// The values that params may use.
    pub(super) fn new(given: &'g RunInputs, vars: BTreeMap<String, String>) -> Self {
        Values { given, vars: Some(vars), left: Cell::new(MAX_FILLED_TOGETHER) }
    }

    /// Fills a text up to so many bytes. Every placeholder without a value is reported; then there is no text.
    pub(super) fn fill(&self, report: &mut Report, text: &str, limit: usize, location: &Location) -> Option<Filled> {
        let mut filled = Filled::default();
        let limit = limit.min(MAX_FILLED).min(self.left.get());
        let mut length = 0;
        let mut reported = BTreeSet::new();
        for part in parts(text) {
            let value = match part {
                Part::Text(text) => Some(text),
                Part::Placeholder(name) => match self.value(name, &mut filled) {
                    Some(value) => Some(value),
                    None if step_of(name).is_some() && self.vars.is_some() => {
                        filled.pieces.push(Filling::Step(step_of(name).unwrap_or_default().to_owned()));
                        None
                    }
                    None => {
                        // All of one text have one place, so more of them would not be shown.
                        if reported.len() < 100 && reported.insert(name) {
                            self.missing(report, name, location);
                        }
                        None
                    }
                },
            };
            let Some(value) = value else { continue };
            length = value.len().saturating_add(length);
            if length > limit {
                filled.cut = true;
            } else {
                filled.push(value);
            }
        }
        self.left.set(self.left.get() - length.min(limit));
        reported.is_empty().then_some(filled)
    }

    fn value(&self, name: &str, filled: &mut Filled) -> Option<&str> {
        match name.split_once('.') {
            None if name == "input" => self.given.input.as_deref(),
            None if name == "timestamp" || name == "random" => {
                self.vars.as_ref()?;
                filled.uncacheable = true;
                Some(if name == "random" { &self.given.random } else { &self.given.timestamp })
            }
            Some(("vars", var)) => self.vars.as_ref()?.get(var).map(String::as_str),
            Some(("env", var)) => self.given.env.get(var).map(String::as_str),
            _ => None,
        }
    }

    fn missing(&self, report: &mut Report, name: &str, location: &Location) {
        let written = format!("`{{{{{}}}}}`", shown(name));
        match (name.split_once('.'), &self.vars) {
            (None, _) if name == "input" => {
                let message = "`{{input}}` is used and the run has no input text";
                report.missing_input(location, "input_missing", name, message, "Give it one (--input \"…\").");
            }
            (Some(("env", _)), _) => {
                let message = format!("{written} was not given with the run");
                let advice =
                    "Only names given with the run are filled (--env NAME), never what else is in the environment.";
                report.add(location, "unknown_env", message, advice);
            }
            (Some(("vars", var)), Some(vars)) => {
                let near = report.suggest(var, vars.keys().map(String::as_str));
                let advice = match near {
                    Some(near) => format!("Did you mean `{{{{vars.{near}}}}}`?"),
                    None if vars.is_empty() => "Add it under `vars:`, or give it with the run.".to_owned(),
                    None => format!("There are {}.", list(vars.keys().map(String::as_str).take(20))),
                };
                report.missing_input(location, "unknown_var", var, format!("there is no var for {written}"), advice);
            }
            (_, None) => {
                let message = format!("{written} is not filled within `vars`");
                report.add(location, "unknown_placeholder", message, "A var may use {{input}} and {{env.NAME}} only.");
            }
            _ => report.add(location, "unknown_placeholder", format!("there is nothing to fill {written} with"), KNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::problem::Position;

    fn filled(text: &str, given: &RunInputs) -> Option<String> {
        let values = Values::new(given, BTreeMap::new());
        let filled = values.fill(&mut Report::new(), text, MAX_FILLED, &Location::new(Position::START, ""))?;
        filled.text().map(str::to_owned)
    }

    #[test]
    fn fills_once() {
        for (text, input, expected) in [
            ("a {{input}} b", "x", "a x b"),
            ("{{ input }}{{input}}", "x", "xx"),
            ("{{input}}", "{{input}}", "{{input}}"),
            ("{% $states.input %} {x} {{", "x", "{% $states.input %} {x} {{"),
            ("\"quotes\"\nand 🦊", "x", "\"quotes\"\nand 🦊"),
            ("", "x", ""),
        ] {
            let given = RunInputs { input: Some(input.to_owned()), ..RunInputs::default() };
            assert_eq!(filled(text, &given).as_deref(), Some(expected));
        }
        for unknown in ["{{env.KEY}}", "{{input}}", "{{}}", "{{vars.x}}", "{{step_a.text}}", "{{ {{input}} }}"] {
            assert_eq!(filled(unknown, &RunInputs::default()), None, "{unknown}");
        }
    }

    #[test]
    fn a_text_is_not_filled_beyond_its_limit() {
        let given = RunInputs { input: Some("x".repeat(1_000)), ..RunInputs::default() };
        let values = Values::new(&given, BTreeMap::new());
        let text = "{{input}}".repeat(100_000);
        let filled = values.fill(&mut Report::new(), &text, MAX_FILLED, &Location::new(Position::START, "")).unwrap();
        assert!(filled.cut && filled.text().unwrap().len() <= MAX_FILLED);
    }
}
