//! Checking the tree. Each function takes what it knows, reports what it does not, and goes on, so that one run of the
//! checker finds everything.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fill::{UnknownPlaceholder, fill};
use super::problem::{Place, Problem, Problems};
use super::tree::{Content, Key, Node};
use super::{CachePolicy, Checked, CheckedGroup, CheckedStep, DEFAULT_WORKERS, MAX_STEPS, MAX_WORKERS};
use crate::catalogue::{self, Model, StepType};
use crate::ids::StepName;
use crate::money::Money;
use crate::nearest::nearest;

const DOCUMENT_KEYS: &[&str] = &["name", "description", "version", "settings", "steps"];
const SETTING_KEYS: &[&str] = &["parallel", "max_workers", "fail_fast", "cache", "max_cost"];
const STEP_KEYS: &[&str] = &["name", "type", "model", "params", "timeout", "cache", "take"];
const GROUP_KEYS: &[&str] = &["name", "type", "max_workers", "steps"];
/// Keys of the language that this version does not carry out yet: refused by name, so that nobody takes them for obeyed.
const NOT_YET: &[&str] =
    &["vars", "workers", "schedule", "similar", "rate_limit_delay", "max_age_days", "input_from", "enabled", "export"];
const GROUP: &str = "parallel_group";

struct Settings {
    parallel: bool,
    max_workers: u32,
    fail_fast: bool,
    cache: CachePolicy,
    max_cost: Option<Money>,
}

struct Checker<'a> {
    input: Option<&'a str>,
    problems: Vec<Problem>,
    names: BTreeMap<String, Place>,
    steps: usize,
}

pub(super) fn check(root: &Node, input: Option<&str>) -> Result<Checked, Problems> {
    let mut checker = Checker { input, problems: Vec::new(), names: BTreeMap::new(), steps: 0 };
    let checked = checker.document(root);
    let mut problems = checker.problems;
    problems.sort_by_key(|problem| problem.place);
    match checked {
        Some(checked) if problems.is_empty() => Ok(checked),
        _ => Err(Problems(problems)),
    }
}

impl Checker<'_> {
    fn report(&mut self, place: Place, code: &str, path: &str, message: impl Into<String>, advice: impl Into<String>) {
        self.problems.push(Problem::at(place, code, path, message, advice));
    }

    fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str) {
        self.report(
            node.place,
            "wrong_type",
            path,
            format!("`{path}` is {}, not {wanted}", node.kind()),
            format!("Write {wanted}."),
        );
    }

    /// The entries of a table by key; unknown keys are reported.
    fn table<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&str],
    ) -> Option<BTreeMap<&'n str, (&'n Key, &'n Node)>> {
        let Content::Table(entries) = &node.content else {
            self.wrong_type(node, path, "a table (`key: value` lines)");
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let here = join(path, &key.text);
            if NOT_YET.contains(&key.text.as_str()) {
                let message = format!("this version does not carry out `{}`", key.text);
                self.report(key.place, "not_supported", &here, message, "Remove it.");
                continue;
            }
            let advice = nearest(&key.text, known.iter().copied())
                .map_or_else(|| format!("Known here: {}.", known.join(", ")), |near| format!("Did you mean `{near}`?"));
            self.report(key.place, "unknown_key", &here, format!("`{}` is not known here", key.text), advice);
        }
        Some(entries.iter().map(|(key, node)| (key.text.as_str(), (key, node))).collect())
    }

    fn text<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n str> {
        match &node.content {
            Content::Text(text) => Some(text),
            _ => {
                self.wrong_type(node, path, "text");
                None
            }
        }
    }

    fn flag(&mut self, node: &Node, path: &str) -> Option<bool> {
        match node.content {
            Content::Bool(value) => Some(value),
            _ => {
                self.wrong_type(node, path, "true or false");
                None
            }
        }
    }

    fn whole(&mut self, node: &Node, path: &str, min: u32, max: u32) -> Option<u32> {
        let number = match &node.content {
            Content::Number(number) => number.as_u64(),
            _ => None,
        };
        let found = number.and_then(|number| u32::try_from(number).ok()).filter(|number| (min..=max).contains(number));
        if found.is_none() {
            self.report(
                node.place,
                "wrong_value",
                path,
                format!("`{path}` is not a whole number from {min} to {max}"),
                format!("Use {min} to {max}."),
            );
        }
        found
    }

    fn document(&mut self, root: &Node) -> Option<Checked> {
        let table = self.table(root, "", DOCUMENT_KEYS)?;
        let name = table.get("name").and_then(|(_, node)| self.text(node, "name")).unwrap_or("pipeline");
        if name.chars().count() > 200 || name.chars().any(char::is_control) {
            let place = table.get("name").map_or(root.place, |(_, node)| node.place);
            self.report(
                place,
                "bad_name",
                "name",
                "the pipeline's name is too long or has control characters",
                "Use at most 200 printable characters.",
            );
        }
        let settings = self.settings(table.get("settings").map(|(_, node)| *node));
        let Some((_, steps)) = table.get("steps") else {
            self.report(
                root.place,
                "no_steps",
                "steps",
                "the document has no steps",
                "Add a list `steps:` with at least one step.",
            );
            return None;
        };
        let Content::List(items) = &steps.content else {
            self.wrong_type(steps, "steps", "a list of steps");
            return None;
        };
        if items.is_empty() {
            self.report(steps.place, "no_steps", "steps", "the list of steps is empty", "Add at least one step.");
        }
        let groups = items
            .iter()
            .enumerate()
            .filter_map(|(n, item)| self.item(item, &format!("steps[{n}]"), &settings))
            .collect();
        if self.steps > MAX_STEPS {
            let message = format!("the document has {} steps; one run has at most {MAX_STEPS}", self.steps);
            self.report(steps.place, "too_many_steps", "steps", message, "Split it, or use a batch.");
        }
        Some(Checked {
            name: name.to_owned(),
            parallel: settings.parallel,
            schedule: super::Schedule::Groups,
            fail_fast: settings.fail_fast,
            max_cost: settings.max_cost,
            groups,
        })
    }

    fn settings(&mut self, node: Option<&Node>) -> Settings {
        let mut settings = Settings {
            parallel: true,
            max_workers: DEFAULT_WORKERS,
            fail_fast: true,
            cache: CachePolicy::Use,
            max_cost: None,
        };
        let Some(table) = node.and_then(|node| self.table(node, "settings", SETTING_KEYS)) else { return settings };
        for (key, (_, node)) in table {
            let path = join("settings", key);
            match key {
                "parallel" => settings.parallel = self.flag(node, &path).unwrap_or(settings.parallel),
                "max_workers" => {
                    settings.max_workers = self.whole(node, &path, 1, MAX_WORKERS).unwrap_or(settings.max_workers)
                }
                "fail_fast" => settings.fail_fast = self.flag(node, &path).unwrap_or(settings.fail_fast),
                "cache" => settings.cache = self.cache(node, &path).unwrap_or_default(),
                "max_cost" => settings.max_cost = self.dollars(node, &path),
                _ => {}
            }
        }
        settings
    }

    fn cache(&mut self, node: &Node, path: &str) -> Option<CachePolicy> {
        let found = match &node.content {
            Content::Text(text) => CachePolicy::ALL.iter().find(|(name, _)| name == text).map(|(_, policy)| *policy),
            // YAML 1.1 readers take a bare `off` for false, and so may ours.
            Content::Bool(false) => Some(CachePolicy::Off),
            _ => None,
        };
        if found.is_none() {
            self.report(
                node.place,
                "wrong_value",
                path,
                format!("`{path}` is not a cache policy"),
                "Use use, refresh or off.",
            );
        }
        found
    }

    fn dollars(&mut self, node: &Node, path: &str) -> Option<Money> {
        let number = match &node.content {
            Content::Number(number) => number.as_f64(),
            _ => None,
        };
        let found = number.and_then(Money::from_dollars);
        if found.is_none() {
            self.report(
                node.place,
                "wrong_value",
                path,
                format!("`{path}` is not an amount in dollars"),
                "Write a number, as 2.50.",
            );
        }
        found
    }

    fn item(&mut self, node: &Node, path: &str, settings: &Settings) -> Option<CheckedGroup> {
        let Content::Table(entries) = &node.content else {
            self.wrong_type(node, path, "a step (`name`, `type`, `params` …)");
            return None;
        };
        let is_group =
            entries.iter().any(|(key, value)| key.text == "type" && value.content == Content::Text(GROUP.into()));
        if !is_group {
            return self.step(node, path, settings).map(|step| CheckedGroup {
                name: None,
                workers: 1,
                steps: vec![step],
            });
        }
        let table = self.table(node, path, GROUP_KEYS)?;
        let own =
            table.get("max_workers").and_then(|(_, node)| self.whole(node, &join(path, "max_workers"), 1, MAX_WORKERS));
        let workers = if settings.parallel { own.unwrap_or(settings.max_workers) } else { 1 };
        if let Some((_, name)) = table.get("name") {
            self.name(name, &join(path, "name"));
        }
        let here = join(path, "steps");
        let Some((_, steps)) = table.get("steps") else {
            self.report(node.place, "no_steps", &here, "the group has no steps", "Add a list `steps:` to it.");
            return None;
        };
        let Content::List(items) = &steps.content else {
            self.wrong_type(steps, &here, "a list of steps");
            return None;
        };
        if items.is_empty() {
            self.report(steps.place, "no_steps", &here, "the group's list of steps is empty", "Add at least one step.");
        }
        let steps = items
            .iter()
            .enumerate()
            .filter_map(|(n, item)| self.step(item, &format!("{here}[{n}]"), settings))
            .collect();
        Some(CheckedGroup { name: None, workers, steps })
    }

    fn step(&mut self, node: &Node, path: &str, settings: &Settings) -> Option<CheckedStep> {
        self.steps += 1;
        let number = self.steps;
        if number > MAX_STEPS {
            // Reported once, by the document: ten thousand reports of the same help nobody.
            return None;
        }
        let table = self.table(node, path, STEP_KEYS)?;
        let name = match table.get("name") {
            Some((_, name)) => self.name(name, &join(path, "name")),
            None => StepName::parse(format!("step_{number}")).ok().inspect(|name| {
                self.names.entry(name.to_string()).or_insert(node.place);
            }),
        };
        let model = self.model(&table, node, path);
        let timeout = table.get("timeout").and_then(|(_, node)| self.whole(node, &join(path, "timeout"), 1, 3_600));
        let take = table.get("take").and_then(|(_, node)| self.whole(node, &join(path, "take"), 1, 1_000_000));
        let cache = table.get("cache").and_then(|(_, node)| self.cache(node, &join(path, "cache")));
        let params = self.params(table.get("params").map(|(_, node)| *node), node.place, &join(path, "params"), model);
        Some(CheckedStep {
            name: name?,
            model: model?,
            params: params?,
            texts: Vec::new(),
            media: Vec::new(),
            fail_fast: settings.fail_fast,
            fleeting: false,
            take: take.unwrap_or(1),
            cache: cache.unwrap_or(settings.cache),
            timeout,
        })
    }

    fn name(&mut self, node: &Node, path: &str) -> Option<StepName> {
        let text = self.text(node, path)?;
        let name = match StepName::parse(text) {
            Ok(name) => name,
            Err(error) => {
                self.report(node.place, "bad_name", path, "this name cannot be used", format!("Use {}.", error.rule));
                return None;
            }
        };
        if let Some(first) = self.names.insert(name.to_string(), node.place) {
            let message = format!("`{name}` is taken by line {}", first.line);
            self.report(node.place, "duplicate_name", path, message, "Give every step and group a name of its own.");
            return None;
        }
        Some(name)
    }

    fn model(&mut self, table: &BTreeMap<&str, (&Key, &Node)>, node: &Node, path: &str) -> Option<&'static Model> {
        let Some((_, type_node)) = table.get("type") else {
            self.report(
                node.place,
                "type_missing",
                &join(path, "type"),
                "the step has no type",
                format!("Add `type:`, one of {}.", types()),
            );
            return None;
        };
        let here = join(path, "type");
        let type_text = self.text(type_node, &here)?;
        let Some(step) = StepType::parse(type_text) else {
            let near = nearest(type_text, StepType::ALL.iter().map(|step| step.as_str()).chain([GROUP]));
            let advice = near.map_or_else(
                || format!("This version carries out {}.", types()),
                |near| format!("Did you mean `{near}`?"),
            );
            self.report(
                type_node.place,
                "unknown_type",
                &here,
                format!("there is no step type `{}`", shown(type_text)),
                advice,
            );
            return None;
        };
        let Some((_, model_node)) = table.get("model") else { return catalogue::default_model(step) };
        let here = join(path, "model");
        let name = self.text(model_node, &here)?;
        let model = catalogue::find(step, name);
        if model.is_none() {
            let names: Vec<&str> = catalogue::models()
                .iter()
                .filter(|model| model.step == step)
                .flat_map(|model| std::iter::once(&model.name).chain(&model.aliases))
                .map(String::as_str)
                .collect();
            let all = format!("Models for {}: {}.", step.as_str(), names.join(", "));
            let advice = nearest(name, names.iter().copied())
                .map_or(all.clone(), |near| format!("Did you mean `{near}`? {all}"));
            self.report(
                model_node.place,
                "unknown_model",
                &here,
                format!("there is no model `{}` for {}", shown(name), step.as_str()),
                advice,
            );
        }
        model
    }

    fn params(
        &mut self,
        node: Option<&Node>,
        place: Place,
        path: &str,
        model: Option<&'static Model>,
    ) -> Option<Map<String, Value>> {
        let mut given = Map::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        match node.map(|node| (&node.content, node)) {
            None | Some((Content::Null, _)) => {}
            Some((Content::Table(entries), _)) => {
                for (key, node) in entries {
                    let value = match &node.content {
                        Content::Text(text) => self.filled(text, node.place, &join(path, &key.text))?,
                        _ => node.value(),
                    };
                    places.insert(key.text.clone(), node.place);
                    given.insert(key.text.clone(), value);
                }
            }
            Some((_, node)) => {
                self.wrong_type(node, path, "a table of params");
                return None;
            }
        }
        let model = model?;
        // The guide's steps without a prompt take the run's input text.
        if let (false, Some(input)) = (given.contains_key("prompt"), self.input) {
            given.insert("prompt".into(), Value::String(input.to_owned()));
        }
        match model.resolve(&given) {
            Ok(resolved) => Some(resolved),
            Err(problems) => {
                for problem in problems {
                    let place = places.get(&problem.param).copied().unwrap_or(place);
                    let mut advice = problem.advice;
                    if problem.code == "param_missing" && problem.param == "prompt" {
                        advice = "Add `prompt:` under `params`, or give the run an input text (--input).".to_owned();
                    }
                    self.report(place, problem.code, &join(path, &problem.param), problem.message, advice);
                }
                None
            }
        }
    }

    fn filled(&mut self, text: &str, place: Place, path: &str) -> Option<Value> {
        match fill(text, self.input) {
            Ok(text) => Some(Value::String(text)),
            Err(UnknownPlaceholder(name)) if name == "input" => {
                self.report(
                    place,
                    "input_missing",
                    path,
                    "`{{input}}` is used and the run has no input text",
                    "Give it one (--input \"…\").",
                );
                None
            }
            Err(UnknownPlaceholder(name)) => {
                let message = format!("`{{{{{}}}}}` is not filled by this version", shown(&name));
                self.report(place, "unknown_placeholder", path, message, "Only {{input}} is.");
                None
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key) } else { format!("{path}.{}", shown(key)) }
}

/// A user's text in a message: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn types() -> String {
    StepType::ALL.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(", ")
}
