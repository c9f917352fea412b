//! The first reading of a document: its items in order, their names, types and models, everything but params and inputs.
//! After it every name is known, so that every reference can be resolved.

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostics::{Location, Report, Table, join, list};
use super::key_specs::{DOCUMENT, GROUP, GROUP_KEYS, LATER_TYPES, MAX_NAME, SETTINGS, STEP, find};
use super::settings::{self, Settings};
use super::yaml::{Content, Node};
use super::{CachePolicy, MAX_STEPS, RunInputs};
use crate::catalogue::{self, Model, StepType};
use crate::ids::StepName;
use crate::text::shown;

/// The target of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The step of this number.
    Step(usize),
    /// The item of this number, which is a group.
    Group(usize),
}

/// A step as far as it is read.
#[derive(Debug)]
pub(super) struct RawStep<'n> {
    pub(super) location: Location,
    /// `None` where the name that it has cannot be used.
    pub(super) name: Option<StepName>,
    /// The number of its item.
    pub(super) item: usize,
    pub(super) step: Option<StepType>,
    pub(super) model: Option<&'static Model>,
    pub(super) enabled: bool,
    pub(super) params: Option<(&'n Node, Location)>,
    pub(super) input_from: Option<(&'n Node, Location)>,
    pub(super) repetition: u32,
    pub(super) cache: CachePolicy,
    pub(super) timeout: Option<u32>,
    pub(super) fail_fast: bool,
}

impl RawStep<'_> {
    /// Its name for messages.
    pub(super) fn called(&self) -> &str {
        self.name.as_ref().map_or("?", StepName::as_str)
    }

    /// Its model or, where that is not known, the one that serves to understand the rest of the step.
    pub(super) fn likely_model(&self) -> Option<&'static Model> {
        self.model.or_else(|| catalogue::default_model(self.step?))
    }
}

/// A step outside a group, or a group.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: Option<StepName>,
    pub(super) workers: u32,
    /// Its steps.
    pub(super) steps: Range<usize>,
    /// The number of its enabled steps.
    pub(super) enabled: usize,
}

/// A document after the first reading.
#[derive(Debug)]
pub(super) struct ParsedDocument<'n> {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) vars: Option<&'n Node>,
    pub(super) items: Vec<Item>,
    pub(super) steps: Vec<RawStep<'n>>,
    pub(super) names: BTreeMap<String, Target>,
    /// The number of steps in the document, also those that are not read because they are too many.
    pub(super) written: usize,
}

/// Reads the whole document once.
pub(super) fn read<'n>(report: &mut Report, root: &'n Node, given: &RunInputs) -> Option<ParsedDocument<'n>> {
    let whole = Location::new(root.place, "");
    let table = report.table(root, whole, DOCUMENT, advise_document)?;
    let name = title(report, &table).unwrap_or_else(|| "pipeline".to_owned());
    if let Some((node, location)) = table.at("description") {
        report.text(node, &location);
    }
    if let Some((node, location)) = table.at("version")
        && !matches!(node.content, Content::Text(_) | Content::Number(_))
    {
        report.wrong_type(node, &location, "a version");
    }
    let settings = settings::read(report, table.get("settings"), given);
    let parsed = ParsedDocument {
        name,
        settings,
        vars: table.get("vars"),
        items: Vec::new(),
        steps: Vec::new(),
        names: BTreeMap::new(),
        written: 0,
    };
    let mut reader = Reader { report, parsed, lines: BTreeMap::new(), unnamed: Vec::new() };
    let (steps, location) = reader.steps_of(&table)?;
    for (n, node) in steps.iter().enumerate() {
        reader.item(node, format!("{}[{n}]", location.path));
    }
    reader.name_the_unnamed();
    let parsed = reader.parsed;
    if parsed.written > MAX_STEPS {
        let message = format!("the document has {} steps; one run has at most {MAX_STEPS}", parsed.written);
        report.add(&location, "too_many_steps", message, "Split it, or use a batch.");
    } else if !steps.is_empty() && parsed.written > 0 && parsed.items.iter().all(|item| item.enabled == 0) {
        report.add(&location, "no_steps", "no step is enabled", "Enable at least one.");
    }
    Some(parsed)
}

fn title(report: &mut Report, table: &Table<'_>) -> Option<String> {
    let (node, location) = table.at("name")?;
    let name = report.text(node, &location)?;
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let message = "the pipeline's name is too long or has control characters";
        report.add(&location, "bad_name", message, format!("Use at most {MAX_NAME} printable characters."));
    }
    Some(name.to_owned())
}

struct Reader<'r, 'n> {
    report: &'r mut Report,
    parsed: ParsedDocument<'n>,
    /// The locations of names.
    lines: BTreeMap<String, Location>,
    unnamed: Vec<usize>,
}

/// The settings that a group passes on to its steps.
#[derive(Clone, Copy)]
struct Inherited {
    in_group: bool,
    fail_fast: bool,
    timeout: Option<u32>,
}

impl<'n> Reader<'_, 'n> {
    /// The list under `steps` of a document or a group.
    fn steps_of(&mut self, table: &Table<'n>) -> Option<(&'n [Node], Location)> {
        let what = if table.location.path.is_empty() { "the document" } else { "the group" };
        let Some((node, location)) = table.at("steps") else {
            let location = Location::new(table.location.place, join(&table.location.path, "steps"));
            let advice = "Add a list `steps:` with at least one step.";
            self.report.add(&location, "no_steps", format!("{what} has no steps"), advice);
            return None;
        };
        match &node.content {
            Content::List(items) => {
                if items.is_empty() {
                    let message = format!("{what}'s list of steps is empty");
                    self.report.add(&location, "no_steps", message, "Add at least one step.");
                }
                Some((items, location))
            }
            _ => {
                self.report.wrong_type(node, &location, "a list of steps");
                None
            }
        }
    }

    fn item(&mut self, node: &'n Node, path: String) {
        let first = self.parsed.steps.len();
        let number = self.parsed.items.len();
        let settings = self.parsed.settings.clone();
        let mut own = None;
        let mut name = None;
        if is_group(node) {
            let Some(table) = self.report.table(node, Location::new(node.place, path), GROUP_KEYS, advise_group) else {
                return;
            };
            own = self.report.whole(&table, "max_workers");
            name = self.name(&table, Target::Group(number));
            let inherited = Inherited {
                in_group: true,
                fail_fast: self.report.flag(&table, "fail_fast").unwrap_or(settings.fail_fast),
                timeout: self.report.whole(&table, "timeout"),
            };
            if let Some((steps, location)) = self.steps_of(&table) {
                for (n, node) in steps.iter().enumerate() {
                    self.step(node, || format!("{}[{n}]", location.path), inherited);
                }
            }
        } else {
            let inherited = Inherited { in_group: false, fail_fast: settings.fail_fast, timeout: None };
            self.step(node, || path, inherited);
        }
        let steps = first..self.parsed.steps.len();
        let enabled = self.parsed.steps[steps.clone()].iter().filter(|step| step.enabled).count();
        let workers = if settings.parallel { own.unwrap_or(settings.workers) } else { 1 };
        self.parsed.items.push(Item { name, workers, steps, enabled });
    }

    fn step(&mut self, node: &'n Node, path: impl FnOnce() -> String, inherited: Inherited) {
        self.parsed.written += 1;
        if self.parsed.written > MAX_STEPS {
            // Reported once, by the document: ten thousand reports of the same would not help.
            return;
        }
        let number = self.parsed.steps.len();
        let location = Location::new(node.place, path());
        let empty = RawStep {
            location: location.clone(),
            name: None,
            item: self.parsed.items.len(),
            step: None,
            model: None,
            enabled: true,
            params: None,
            input_from: None,
            repetition: 1,
            cache: self.parsed.settings.cache,
            timeout: inherited.timeout,
            fail_fast: inherited.fail_fast,
        };
        let table = if inherited.in_group && is_group(node) {
            let advice = "Move its steps into the outer group, or the group behind it.";
            self.report.add(&location, "nested_group", "a group cannot stand within a group", advice);
            None
        } else {
            self.report.table(node, location, STEP, advise_step)
        };
        let Some(table) = table else {
            self.parsed.steps.push(empty);
            return;
        };
        let name = self.name(&table, Target::Step(number));
        if table.get("name").is_none() {
            self.unnamed.push(number);
        }
        let step = self.step_type(&table);
        let raw = RawStep {
            name,
            step,
            model: step.and_then(|step| self.model(&table, step)),
            enabled: self.report.flag(&table, "enabled").unwrap_or(true),
            params: table.at("params").filter(|(node, _)| node.content != Content::Null),
            input_from: table.at("input_from"),
            repetition: self.report.whole(&table, "take").unwrap_or(empty.repetition),
            cache: self.report.word(&table, "cache", &CachePolicy::ALL).unwrap_or(empty.cache),
            timeout: self.report.whole(&table, "timeout").or(empty.timeout),
            ..empty
        };
        if let Some((node, location)) = &raw.params
            && !matches!(node.content, Content::Table(_))
        {
            self.report.wrong_type(node, location, "a table of params");
        }
        self.parsed.steps.push(raw);
    }

    fn name(&mut self, table: &Table<'_>, target: Target) -> Option<StepName> {
        let (node, location) = table.at("name")?;
        let text = self.report.text(node, &location)?;
        let name = StepName::parse(text);
        if let Err(error) = &name {
            self.report.add(&location, "bad_name", "this name cannot be used", format!("Use {}.", error.rule));
        } else if let Some(first) = self.lines.get(text) {
            let message = format!("`{}` is taken by line {}", shown(text), first.place.line);
            self.report.add(&location, "duplicate_name", message, "Give every step and group a name of its own.");
        }
        // A name that cannot be used still says what a reference to it means.
        self.parsed.names.entry(text.to_owned()).or_insert(target);
        self.lines.entry(text.to_owned()).or_insert(location);
        name.ok()
    }

    fn name_the_unnamed(&mut self) {
        for number in std::mem::take(&mut self.unnamed) {
            let Ok(name) = StepName::parse(format!("step_{}", number + 1)) else { continue };
            match self.lines.get(name.as_str()).cloned() {
                Some(taken) => {
                    let line = self.parsed.steps[number].location.place.line;
                    let message = format!(
                        "`{}` is the name of the step at line {line}, which has none of its own",
                        shown(name.as_str())
                    );
                    self.report.add(&taken, "duplicate_name", message, "Choose another, or give that step a name.");
                }
                None => {
                    self.parsed.names.insert(name.to_string(), Target::Step(number));
                }
            }
            self.parsed.steps[number].name = Some(name);
        }
    }

    fn step_type(&mut self, table: &Table<'_>) -> Option<StepType> {
        let types = || StepType::ALL.iter().map(|step| step.as_str());
        let Some((node, location)) = table.at("type") else {
            let location = Location::new(table.location.place, join(&table.location.path, "type"));
            let advice = format!("Add `type:`, one of {}.", list(types()));
            self.report.add(&location, "type_missing", "the step has no type", advice);
            return None;
        };
        let text = self.report.text(node, &location)?;
        let step = StepType::parse(text);
        if step.is_some() {
            return step;
        }
        let all = format!("This version carries out {}.", list(types()));
        if LATER_TYPES.contains(&text) {
            let message = format!("this version does not carry out `{}`", shown(text));
            self.report.add(&location, "not_supported", message, all);
        } else {
            let near = self.report.suggest(text, types().chain([GROUP]));
            let advice = near.map_or(all, |near| format!("Did you mean `{near}`?"));
            self.report.add(&location, "unknown_type", format!("there is no step type `{}`", shown(text)), advice);
        }
        None
    }

    fn model(&mut self, table: &Table<'_>, step: StepType) -> Option<&'static Model> {
        let Some((node, location)) = table.at("model") else { return catalogue::default_model(step) };
        let name = self.report.text(node, &location)?;
        let model = catalogue::find(step, name);
        if model.is_none() {
            let of_type = || catalogue::models().iter().filter(|model| model.step == step);
            let names: Vec<&str> = of_type().flat_map(Model::names).collect();
            let all = format!("Models for {}: {}.", step.as_str(), list(names.iter().copied()));
            let other = StepType::ALL.iter().find(|other| catalogue::find(**other, name).is_some());
            let advice = match (other, self.report.suggest(name, names.iter().copied())) {
                (Some(other), _) => format!("It is a model for {}. {all}", other.as_str()),
                (None, Some(near)) => format!("Did you mean `{near}`? {all}"),
                (None, None) => all,
            };
            let message = format!("there is no model `{}` for {}", shown(name), step.as_str());
            self.report.add(&location, "unknown_model", message, advice);
        }
        model
    }
}

fn is_group(node: &Node) -> bool {
    let Content::Table(entries) = &node.content else { return false };
    entries
        .iter()
        .any(|(key, value)| key.text == "type" && matches!(&value.content, Content::Text(text) if text == GROUP))
}

fn advise_document(key: &str) -> Option<String> {
    if find(SETTINGS, key).is_some() {
        return Some("Move it under `settings`.".to_owned());
    }
    find(STEP, key).map(|_| "Write it at a step of the list `steps`.".to_owned())
}

fn advise_step(key: &str) -> Option<String> {
    let is_param = |model: &Model| model.params.contains_key(key) || model.media_param(key).is_some();
    if catalogue::models().iter().any(is_param) {
        return Some(format!("Move it under `params`: `params: {{ {key}: … }}`."));
    }
    find(SETTINGS, key).map(|_| "Move it under `settings`; it holds for the whole run.".to_owned())
}

fn advise_group(key: &str) -> Option<String> {
    find(STEP, key).map(|_| "Write it at the steps of the group.".to_owned())
}
