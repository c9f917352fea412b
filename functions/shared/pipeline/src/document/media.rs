//! The media of a step: from other steps, from params, from the run; how many they are, and into how many parts they make
//! the step fall. Whatever a document names has to be given with the run, so nothing is read here.

use super::diagnostics::{Location, join};
use super::params::NamedMedia;
use super::template::{Filling, has_placeholder};
use super::validate::Checker;
use super::yaml::{Content, Node};
use super::{MAX_STEPS, media_url};
use crate::catalogue::{MediaKind, MediaParam};
use crate::ids::StepName;
use crate::media::{FieldMedia, Media, MediaRef};
use crate::text::shown;

/// The most bytes of a param that names media: more than any path or URL.
const MAX_FILLED_PATH: usize = 16 * 1024;

/// The media of a step.
pub(super) struct StepMedia {
    pub(super) fields: Vec<FieldMedia<MediaRef>>,
    /// `None` where problems hide how many there are.
    pub(super) parts: Option<u64>,
    pub(super) uncacheable: bool,
}

/// Media for one field.
struct Sources {
    media: Vec<MediaRef>,
    /// `None` where problems hide how many there are.
    count: Option<u64>,
}

impl Sources {
    fn new() -> Self {
        Sources { media: Vec::new(), count: Some(0) }
    }

    fn add_input(&mut self, input: Option<Media>) {
        self.add(input.as_ref().map(|_| 1));
        self.media.extend(input.filter(|_| self.media.len() <= MAX_STEPS).map(MediaRef::Input));
    }

    fn add_outputs(&mut self, step: Option<&StepName>, outputs: Option<u64>) {
        self.add(outputs);
        let (Some(step), Some(outputs)) = (step, outputs) else { return };
        // One medium more than a run has steps is too many already.
        let room = (MAX_STEPS + 1).saturating_sub(self.media.len());
        let indices = (0..u32::try_from(outputs).unwrap_or(u32::MAX)).take(room);
        self.media.extend(indices.map(|index| MediaRef::Output { step: step.clone(), index }));
    }

    fn add(&mut self, count: Option<u64>) {
        self.count = self.count.zip(count).map(|(sum, count)| sum.saturating_add(count));
    }
}

impl<'n> Checker<'_, 'n> {
    /// Reads the media of a step.
    pub(super) fn media(&mut self, number: usize, params: Vec<NamedMedia<'n>>) -> StepMedia {
        let raw = &self.parsed.steps[number];
        let input_from = raw.input_from.clone();
        let mut media = StepMedia { fields: Vec::new(), parts: Some(1), uncacheable: false };
        let Some(model) = raw.likely_model() else {
            // Whatever the type was meant to be, its references have to lead somewhere.
            if let Some((node, location)) = &input_from {
                self.named(number, node, location, None);
            }
            media.parts = None;
            return media;
        };
        if let (Some((_, location)), true) = (&input_from, model.inputs.is_empty()) {
            let message = format!("{} takes no media", model.step.as_str());
            self.report.add(location, "unexpected_input", message, "Remove `input_from`, or use image_to_image.");
        }
        for (index, input) in model.inputs.iter().enumerate() {
            let mut named = params.iter().filter(|param| param.input == index);
            let param = named.next();
            if let (Some(first), Some(second)) = (param, named.next()) {
                let message = format!("`{}` and `{}` say the same thing", first.name, second.name);
                self.report.add(&second.location, "param_conflict", message, "Keep one of them.");
            }
            let (sources, location) = match (index, &input_from, param) {
                (0, Some((node, location)), param) => {
                    if let Some(param) = param {
                        let message = format!("`input_from` and `{}` both say what the step takes", param.name);
                        self.report.add(&param.location, "conflict", message, "Keep one of them.");
                    }
                    (self.named(number, node, location, Some(input)), location.clone())
                }
                (_, _, Some(param)) => {
                    (self.given_by(number, param, input, &mut media.uncacheable), param.location.clone())
                }
                (0, None, None) if input.required => {
                    let location = &self.parsed.steps[number].location;
                    let location = Location::new(location.place, join(&location.path, "input_from"));
                    (self.before(number, input, &location), location)
                }
                _ => continue,
            };
            let many = input.max == 1 && index == 0;
            match sources.count {
                Some(count) if count > u64::from(input.max) && !many => {
                    let message = format!("{count} media for `{}`, which takes {}", input.param, input.max);
                    self.report.add(&location, "too_many_inputs", message, "Name fewer of them.");
                }
                // What comes out for each of several media is a part of the step.
                count if many => media.parts = count.filter(|count| *count > 0),
                _ => {}
            }
            if !sources.media.is_empty() {
                let field = FieldMedia { to: input.to.clone(), list: input.list, media: sources.media };
                media.fields.push(field);
            }
        }
        media
    }

    /// The media that `input_from` names.
    fn named(&mut self, number: usize, node: &Node, location: &Location, input: Option<&MediaParam>) -> Sources {
        let mut sources = Sources::new();
        let entries = match &node.content {
            Content::Text(_) => std::slice::from_ref(node),
            Content::List(nodes) => nodes,
            _ => {
                self.report.wrong_type(node, location, "the name of a step or a group, or a list of them");
                return Sources { count: None, ..sources };
            }
        };
        if entries.is_empty() {
            let advice = "Name a step, or remove `input_from` to take the item before.";
            self.report.add(location, "wrong_value", "`input_from` is an empty list", advice);
            sources.count = None;
        }
        for (n, entry) in entries.iter().enumerate() {
            let path = if entries.len() == 1 { location.path.clone() } else { format!("{}[{n}]", location.path) };
            let here = Location::new(entry.place, path);
            let Some(name) = self.report.text(entry, &here) else {
                sources.count = None;
                continue;
            };
            let target = self.parsed.names.get(name).copied();
            match self.refer(number, target, name, &here) {
                Some(steps) => self.take(steps, input, &here, &mut sources),
                None => sources.count = None,
            }
        }
        sources
    }

    /// Takes every output of the steps that are enabled.
    fn take(
        &mut self,
        steps: std::ops::Range<usize>,
        input: Option<&MediaParam>,
        location: &Location,
        sources: &mut Sources,
    ) {
        for step in steps {
            let raw = &self.parsed.steps[step];
            if !raw.enabled {
                continue;
            }
            if sources.media.len() > MAX_STEPS {
                break;
            }
            let fact = self.facts[step];
            if let (Some(input), Some(kind)) = (input, fact.kind)
                && kind != input.kind
            {
                let message = format!("`{}` gives {}, and {} is needed", raw.called(), kind.noun(), input.kind.noun());
                let advice = self.fitting(input.kind);
                self.report.add(location, "kind_mismatch", message, advice);
                sources.count = None;
                break;
            }
            sources.add_outputs(raw.name.as_ref(), fact.outputs);
        }
    }

    /// Advice for a step that needs this kind.
    pub(super) fn fitting(&self, kind: MediaKind) -> String {
        match self.latest.get(&kind) {
            Some(name) => format!("Use `input_from: {name}`, which gives {}.", kind.noun()),
            None => format!("No step before this one gives {}; add one, or name a file under `params`.", kind.noun()),
        }
    }

    /// The media of a step that names none: those of the item before it, or the run's image.
    fn before(&mut self, number: usize, input: &MediaParam, location: &Location) -> Sources {
        let mut sources = Sources::new();
        let item = self.parsed.steps[number].item;
        if let Some(before) = self.parsed.items[..item].iter().rev().find(|item| item.enabled > 0) {
            let steps = before.steps.clone();
            self.take(steps, Some(input), location, &mut sources);
            return sources;
        }
        let Some(image) = self.given.image.clone().filter(|_| input.kind == MediaKind::Image) else {
            let message = format!("the step needs {} and there is none before it", input.kind.noun());
            let advice = format!(
                "Name it with input_from or `{}:` under params, or give the run an image with --input-image.",
                input.param
            );
            self.report.add(location, "input_missing_media", message, advice);
            return Sources { count: None, ..sources };
        };
        self.image_taken = true;
        let named = format!("`{}`", shown(&image));
        let media = if self.image_reported { None } else { self.given_media(&image, &named, input.kind, location) };
        self.image_reported = media.is_none();
        sources.add_input(media);
        sources
    }

    /// The media that a param names: a file, a URL or a step, or a list of them.
    fn given_by(
        &mut self,
        number: usize,
        param: &NamedMedia<'_>,
        input: &MediaParam,
        uncacheable: &mut bool,
    ) -> Sources {
        let mut sources = Sources::new();
        let entries = match &param.node.content {
            Content::Text(_) => std::slice::from_ref(param.node),
            Content::List(nodes) => nodes,
            _ => &[],
        };
        if entries.is_empty() {
            let (code, message) = match param.node.content {
                Content::List(_) => ("param_empty", format!("`{}` is an empty list", param.name)),
                _ => ("param_type", format!("`{}` is {}, not a file or a URL", param.name, param.node.kind())),
            };
            self.report.add(&param.location, code, message, "Give a file, an https URL, or {{step_NAME.output}}.");
            sources.count = None;
        }
        for (n, entry) in entries.iter().enumerate() {
            let is_list = matches!(param.node.content, Content::List(_));
            let path = if is_list { format!("{}[{n}]", param.location.path) } else { param.location.path.clone() };
            let here = Location::new(entry.place, path);
            match &entry.content {
                Content::Text(text) => self.medium(number, text, input, &here, uncacheable, &mut sources),
                _ => {
                    let message = format!("this is {}, not a file or a URL", entry.kind());
                    let advice = "Give a file, an https URL, or {{step_NAME.output}}.";
                    self.report.add(&here, "param_type", message, advice);
                    sources.count = None;
                }
            }
        }
        sources
    }

    fn medium(
        &mut self,
        number: usize,
        written: &str,
        input: &MediaParam,
        location: &Location,
        uncacheable: &mut bool,
        sources: &mut Sources,
    ) {
        let Some(filled) = self.values.fill(&mut self.report, written, MAX_FILLED_PATH, location) else {
            sources.count = None;
            return;
        };
        *uncacheable |= filled.uncacheable;
        if let [Filling::Step(name)] = filled.pieces.as_slice() {
            match self.placeholder_step(number, name, input.kind, location) {
                Some(step) => self.take(step..step + 1, Some(input), location, sources),
                None => sources.count = None,
            }
            return;
        }
        let media = match filled.text() {
            Some(text) if !filled.cut => {
                let named = if has_placeholder(written) { "it".to_owned() } else { format!("`{}`", shown(written)) };
                self.given_media(text, &named, input.kind, location)
            }
            Some(_) => {
                let message = format!("the path is longer than {} bytes", media_url::MAX_LENGTH);
                self.report.add(location, "input_path", message, "Use a shorter one.");
                None
            }
            None => {
                let message = "a step's output cannot be part of a path";
                self.report.add(
                    location,
                    "param_value",
                    message,
                    "Write `{{step_NAME.output}}` alone, or use input_from.",
                );
                None
            }
        };
        sources.add_input(media);
    }

    /// A medium that was given with the run under this text. Messages call it by what is `named`.
    fn given_media(&mut self, text: &str, named: &str, kind: MediaKind, location: &Location) -> Option<Media> {
        if let Err(problem) = media_url::check(text) {
            self.report.add(location, &problem.code, problem.message, problem.advice);
            return None;
        }
        self.reference(text, kind);
        match self.given.media.get(text) {
            Some(Ok(media)) if media.kind == kind => return Some(media.clone()),
            Some(Ok(media)) => {
                let message = format!("{named} is {}, and {} is needed", media.kind.noun(), kind.noun());
                self.report.add(location, "kind_mismatch", message, format!("Give {}.", kind.noun()));
            }
            Some(Err(problem)) => self.report.add(location, &problem.code, &problem.message, &problem.advice),
            None => {
                let message = format!("{named} names a file that was not given with the run");
                self.report.add(location, "input_unread", message, "Give it with the run, or name it by an https URL.");
            }
        }
        None
    }
}
