//! Collecting problems while a tree is read. Each reader takes what it knows, reports what it does not, and goes on, so that
//! one run of the checker finds everything; what a report costs is bounded, however hostile the document.

use std::collections::BTreeMap;

use super::key_specs::{self, LATER_KEYS, Shape, Spec};
use super::problem::{Position, Problem, Problems};
use super::yaml::{Content, Node};
use crate::suggest::suggest;
use crate::text::{shorten, shown};

/// The comparisons of characters in search of nearest names, in one document. A handful of mistyped
/// names needs a thousandth of it; a document of nothing else would take seconds.
const EFFORT: usize = 1_000_000;
/// The most characters of a message or an advice: a user's text may stand in it.
const MAX_SENTENCE: usize = 600;

/// A place in the document and its path in the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Location {
    pub(super) place: Position,
    pub(super) path: String,
}

impl Location {
    pub(super) fn new(place: Position, path: impl Into<String>) -> Self {
        Location { place, path: path.into() }
    }
}

/// The problems so far.
#[derive(Debug)]
pub(super) struct Report {
    problems: Vec<Problem>,
    effort: usize,
}

/// A table whose keys are known.
#[derive(Debug)]
pub(super) struct Table<'n> {
    pub(super) location: Location,
    specs: &'static [Spec],
    entries: BTreeMap<&'n str, &'n Node>,
}

impl<'n> Table<'n> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).copied()
    }

    /// The value of a key with its location.
    pub(super) fn at(&self, key: &str) -> Option<(&'n Node, Location)> {
        self.get(key).map(|node| (node, Location::new(node.place, join(&self.location.path, key))))
    }
}

impl Report {
    pub(super) fn new() -> Self {
        Report { problems: Vec::new(), effort: EFFORT }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems::in_order(self.problems)
    }

    /// A problem with what is given with the run.
    pub(super) fn missing_input(
        &mut self,
        location: &Location,
        code: &str,
        name: &str,
        message: impl AsRef<str>,
        advice: impl AsRef<str>,
    ) {
        self.add(location, code, message, advice);
        if let Some(problem) = self.problems.last_mut() {
            problem.missing_input = Some(name.into());
        }
    }

    pub(super) fn add(&mut self, location: &Location, code: &str, message: impl AsRef<str>, advice: impl AsRef<str>) {
        let sentence = |text: &str| shorten(text, MAX_SENTENCE);
        let problem = Problem::at(
            location.place,
            code,
            shorten(&location.path, 300),
            sentence(message.as_ref()),
            sentence(advice.as_ref()),
        );
        self.problems.push(problem);
    }

    pub(super) fn wrong_type(&mut self, node: &Node, location: &Location, wanted: &str) {
        let path = if location.path.is_empty() { "the document" } else { &format!("`{}`", location.path) };
        self.add(
            location,
            "wrong_type",
            format!("{path} is {}, not {wanted}", node.kind()),
            format!("Write {wanted}."),
        );
    }

    /// The nearest of the candidates, as long as the effort lasts.
    pub(super) fn suggest<'a>(&mut self, word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        if word.len() > 256 {
            return None;
        }
        let effort = &mut self.effort;
        suggest(
            word,
            candidates.take_while(|candidate| {
                let cost = (word.len() + 1) * (candidate.len() + 1);
                let affordable = cost <= *effort;
                *effort = effort.saturating_sub(cost);
                affordable
            }),
        )
    }

    /// The entries of a table; keys that are not known are reported, with what `advise` has to say of them.
    pub(super) fn table<'n>(
        &mut self,
        node: &'n Node,
        location: Location,
        specs: &'static [Spec],
        advise: impl Fn(&str) -> Option<String>,
    ) -> Option<Table<'n>> {
        let Content::Table(entries) = &node.content else {
            self.wrong_type(node, &location, "a table (`key: value` lines)");
            return None;
        };
        for (key, _) in entries {
            if key_specs::find(specs, &key.text).is_some() {
                continue;
            }
            let here = Location::new(key.place, join(&location.path, &key.text));
            if let Some((_, advice)) = LATER_KEYS.iter().find(|(later, _)| *later == key.text) {
                let message = format!("this version does not carry out `{}`", key.text);
                self.add(&here, "not_supported", message, advice);
                continue;
            }
            let advice = advise(&key.text)
                .or_else(|| {
                    let near = self.suggest(&key.text, specs.iter().map(|spec| spec.key))?;
                    Some(format!("Did you mean `{near}`?"))
                })
                .unwrap_or_else(|| format!("Known here: {}.", list(specs.iter().map(|spec| spec.key))));
            self.add(&here, "unknown_key", format!("`{}` is not known here", shown(&key.text)), advice);
        }
        let entries = entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
        Some(Table { location, specs, entries })
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, location: &Location) -> Option<&'n str> {
        match &node.content {
            Content::Text(text) => Some(text),
            _ => {
                self.wrong_type(node, location, "text");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, table: &Table<'_>, key: &str) -> Option<bool> {
        let (node, location) = table.at(key)?;
        match node.content {
            Content::Bool(value) => Some(value),
            _ => {
                self.wrong_type(node, &location, "true or false");
                None
            }
        }
    }

    /// A whole number within the bounds that the table of keys has.
    pub(super) fn whole(&mut self, table: &Table<'_>, key: &str) -> Option<u32> {
        let (node, location) = table.at(key)?;
        let Some(Shape::Whole { min, max }) = key_specs::find(table.specs, key).map(|spec| spec.shape) else {
            return None;
        };
        let Content::Number(number) = &node.content else {
            self.wrong_type(node, &location, "a whole number");
            return None;
        };
        let found = number.as_u64().and_then(|number| u32::try_from(number).ok());
        let found = found.filter(|number| (min..=max).contains(number));
        if found.is_none() {
            let message = format!("`{}` is not a whole number from {min} to {max}", location.path);
            self.add(&location, "wrong_value", message, format!("Use {min} to {max}."));
        }
        found
    }

    /// The meaning of a word.
    pub(super) fn word<T: Copy>(&mut self, table: &Table<'_>, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let (node, location) = table.at(key)?;
        let written = match &node.content {
            Content::Text(text) => text.as_str(),
            // Who writes YAML with another program may have had a bare `off` turned into false.
            Content::Bool(false) => "off",
            _ => "",
        };
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let near = self.suggest(written, words.iter().map(|(word, _)| *word));
            let hint = near.map_or_else(String::new, |near| format!("Did you mean `{near}`? "));
            let advice = format!("{hint}Use one of {}.", list(words.iter().map(|(word, _)| *word)));
            let what = match &node.content {
                Content::Text(text) => format!("`{}`", shown(text)),
                _ => node.kind().to_owned(),
            };
            self.add(&location, "wrong_value", format!("`{}` cannot be {what}", location.path), advice);
        }
        found
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key) } else { format!("{path}.{}", shown(key)) }
}

/// Words between commas.
pub(super) fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
