//! The second reading: each step's params, texts and media, in the document's order, when everything before it is known.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostics::{Location, Report, join};
use super::parse::{ParsedDocument, RawStep, Target, read};
use super::problem::Problems;
use super::reference_graph::Graph;
use super::template::{MAX_FILLED, Values};
use super::unread::{report_image, report_input, report_unread};
use super::yaml::{Content, Node};
use super::{Checked, MAX_STEPS, MediaReference, RunInputs, ValidGroup, ValidStep};
use crate::catalogue::{MediaKind, Model};
use crate::ids::StepName;
use crate::text::tidy;

/// The outputs of a step as later steps see them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fact {
    pub(super) kind: Option<MediaKind>,
    /// The number of outputs of all its parts; `None` where its problems hide that.
    pub(super) outputs: Option<u64>,
}

/// The state of the check.
pub(super) struct Checker<'a, 'n> {
    pub(super) given: &'a RunInputs,
    pub(super) values: Values<'a>,
    pub(super) parsed: ParsedDocument<'n>,
    pub(super) report: Report,
    /// Of the steps so far.
    pub(super) facts: Vec<Fact>,
    /// The last step so far that gives this kind, for advice.
    pub(super) latest: BTreeMap<MediaKind, StepName>,
    /// The graph of references, built when the first later step is named.
    pub(super) graph: Option<Graph>,
    /// The number of searches for a circle.
    pub(super) ways: usize,
    pub(super) media_references: Vec<MediaReference>,
    mentioned: BTreeSet<(String, MediaKind)>,
    /// Whether a problem of the run's own image is reported: it is one, however many steps take the image.
    pub(super) image_reported: bool,
    /// Whether a step takes the run's own image.
    pub(super) image_taken: bool,
    /// Parts so far.
    parts: u64,
}

/// Checks a document and lists its media references, whether or not it has problems.
pub(super) fn examine(root: &Node, given: &RunInputs) -> (Result<Checked, Problems>, Vec<MediaReference>) {
    let mut report = Report::new();
    let Some(parsed) = read(&mut report, root, given) else {
        return (Err(report.into_problems()), Vec::new());
    };
    let values = Values::new(given, vars(&mut report, parsed.vars, given));
    let mut checker = Checker {
        given,
        values,
        parsed,
        report,
        facts: Vec::new(),
        latest: BTreeMap::new(),
        graph: None,
        ways: 0,
        media_references: Vec::new(),
        mentioned: BTreeSet::new(),
        image_reported: false,
        image_taken: false,
        parts: 0,
    };
    // Too many steps are reported already, and would take their time.
    let groups = if checker.parsed.written > MAX_STEPS { Vec::new() } else { checker.groups() };
    report_unread(&mut checker.report, &checker.parsed, given);
    report_image(&mut checker.report, &checker.parsed, given, checker.image_taken);
    let Checker { parsed: ParsedDocument { name, settings, .. }, report, media_references, .. } = checker;
    if !report.is_empty() {
        return (Err(report.into_problems()), media_references);
    }
    let checked = Checked {
        name,
        parallel: settings.parallel,
        schedule: settings.schedule,
        fail_fast: settings.fail_fast,
        max_cost: settings.max_cost,
        export: settings.export,
        groups,
    };
    (Ok(checked), media_references)
}

/// Checks that the document reads the vars and the environment of a run. Its other problems are left to [`examine`].
pub(super) fn examine_unread(root: &Node, given: &RunInputs) -> Result<(), Problems> {
    let Some(parsed) = read(&mut Report::new(), root, given) else { return Ok(()) };
    let mut report = Report::new();
    report_unread(&mut report, &parsed, given);
    if report.is_empty() { Ok(()) } else { Err(report.into_problems()) }
}

/// Checks that the document reads the input text of a run, or that a step takes it. Its other problems are left to [`examine`].
pub(super) fn examine_unread_input(root: &Node, given: &RunInputs) -> Result<(), Problems> {
    let Some(parsed) = read(&mut Report::new(), root, given) else { return Ok(()) };
    let mut report = Report::new();
    report_input(&mut report, &parsed, given);
    if report.is_empty() { Ok(()) } else { Err(report.into_problems()) }
}

/// The document's vars, over them the run's, and over those a row's.
fn vars(report: &mut Report, node: Option<&Node>, given: &RunInputs) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    let entries: &[_] = match node.map(|node| (&node.content, node)) {
        None | Some((Content::Null, _)) => &[],
        Some((Content::Table(entries), _)) => entries,
        Some((_, node)) => {
            report.wrong_type(node, &Location::new(node.place, "vars"), "a table (`name: value` lines)");
            &[]
        }
    };
    let values = Values::for_vars(given);
    for (key, node) in entries {
        let location = Location::new(node.place, join("vars", &key.text));
        let value = match &node.content {
            Content::Text(_) if given.vars.contains_key(&key.text) || given.row.contains_key(&key.text) => {
                Some(String::new())
            }
            Content::Text(text) => values.fill(report, text, MAX_FILLED, &location).and_then(|filled| {
                if filled.cut {
                    report.add(&location, "param_too_long", "all vars together are longer than 1 MiB", "Shorten them.");
                }
                filled.text().map(|text| tidy(text).into_owned())
            }),
            Content::Number(number) => Some(number.to_string()),
            Content::Bool(flag) => Some(flag.to_string()),
            _ => {
                report.wrong_type(node, &location, "text, a number, or true or false");
                None
            }
        };
        // What has a problem of its own is not reported again wherever it is used.
        vars.insert(key.text.clone(), value.unwrap_or_default());
    }
    let of_run = given.vars.iter().chain(&given.row);
    vars.extend(of_run.map(|(name, value)| (name.clone(), tidy(value).into_owned())));
    vars
}

impl Checker<'_, '_> {
    fn groups(&mut self) -> Vec<ValidGroup> {
        let mut groups = Vec::new();
        for number in 0..self.parsed.items.len() {
            let mut steps = Vec::new();
            for step in self.parsed.items[number].steps.clone() {
                let (checked, fact) = self.step(step);
                if let (Some(checked), Some(kind)) = (&checked, fact.kind) {
                    self.latest.insert(kind, checked.name.clone());
                }
                self.facts.push(fact);
                steps.extend(checked);
            }
            if !steps.is_empty() {
                let item = &self.parsed.items[number];
                groups.push(ValidGroup { name: item.name.clone(), workers: item.workers, steps });
            }
        }
        groups
    }

    fn step(&mut self, number: usize) -> (Option<ValidStep>, Fact) {
        let raw = &self.parsed.steps[number];
        let kind = raw.likely_model().map(|model| model.output.kind);
        if !raw.enabled {
            return (None, Fact { kind, outputs: None });
        }
        let params = self.params(number);
        let media = self.media(number, params.media);
        let parts = media.parts;
        self.count_parts(number, parts);
        let raw = &self.parsed.steps[number];
        let RawStep { name: Some(name), model: Some(model), .. } = raw else {
            return (None, Fact { kind, outputs: None });
        };
        let model: &'static Model = model;
        let count = params.resolved.as_ref().map(|resolved| u64::from(model.output_count(resolved)));
        let outputs = count.zip(parts).map(|(count, parts)| count.saturating_mul(parts));
        let checked = ValidStep {
            name: name.clone(),
            model,
            params: params.resolved.unwrap_or_default(),
            texts: params.texts,
            media: media.fields,
            repetition: raw.repetition,
            cache: raw.cache,
            timeout: raw.timeout,
            fail_fast: raw.fail_fast,
            uncacheable: params.uncacheable || media.uncacheable,
        };
        (Some(checked), Fact { kind, outputs })
    }

    /// Counts the parts of a step, and checks that their names are free.
    fn count_parts(&mut self, number: usize, parts: Option<u64>) {
        let most = MAX_STEPS as u64;
        let Some(parts) = parts else { return };
        let before = self.parts;
        self.parts = self.parts.saturating_add(parts);
        let raw = &self.parsed.steps[number];
        let location = raw.input_from.as_ref().map_or_else(|| raw.location.clone(), |(_, location)| location.clone());
        if before <= most && self.parts > most {
            let message = format!(
                "with the {parts} parts of `{}` the run has {} steps; it may have {most}",
                raw.called(),
                self.parts
            );
            self.report.add(&location, "too_many_steps", message, "Ask for fewer outputs, or use a batch.");
        }
        if parts < 2 || self.parts > most {
            return;
        }
        let Some(name) = raw.name.clone() else { return };
        let location = raw.location.clone();
        for part in (1..=parts).map(|part| format!("{name}_{part}")) {
            if StepName::parse(part.as_str()).is_err() {
                let message = format!("the name of the part `{part}` would be too long");
                self.report.add(&location, "bad_name", message, "Shorten the step's name.");
                return;
            }
            let Some(target) = self.parsed.names.get(&part) else { continue };
            let taken = match *target {
                Target::Step(step) => self.parsed.steps[step].location.place.line,
                Target::Group(group) => {
                    let first = self.parsed.items[group].steps.start;
                    self.parsed.steps.get(first).map_or(location.place.line, |step| step.location.place.line)
                }
            };
            let message =
                format!("`{name}` has {parts} parts, and the name of the part `{part}` is taken near line {taken}");
            self.report.add(&location, "duplicate_name", message, "Rename one of the two.");
        }
    }

    /// Notes a file or URL that is named.
    pub(super) fn reference(&mut self, text: &str, kind: MediaKind) {
        if self.mentioned.insert((text.to_owned(), kind)) {
            self.media_references.push(MediaReference { text: text.to_owned(), kind });
        }
    }
}
