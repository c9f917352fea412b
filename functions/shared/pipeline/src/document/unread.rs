//! What is given with a run and read by nothing in the document. A mistyped name would otherwise cost money without effect. Steps that
//! are not enabled read, too: switching one off is no reason to give less.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostics::{Location, Report};
use super::parse::{ParsedDocument, RawStep};
use super::problem::Position;
use super::reference_graph::each_text;
use super::template::{Part, parts};
use super::yaml::Content;
use super::{MAX_STEPS, RunInputs};
use crate::catalogue::MediaKind;
use crate::text::shown;

/// Reports the vars and the environment of the run that no placeholder names. The vars of a row need not be read: a file has the
/// columns that it has.
pub(super) fn report_unread(report: &mut Report, parsed: &ParsedDocument<'_>, given: &RunInputs) {
    // Of a document with too many steps not all are known.
    if parsed.written > MAX_STEPS || given.vars.is_empty() && given.env.is_empty() {
        return;
    }
    let mut read = [BTreeSet::new(), BTreeSet::new()];
    let mut note = |text: &str| {
        for part in parts(text) {
            let Part::Placeholder(name) = part else { continue };
            for (prefix, read) in ["vars.", "env."].iter().zip(&mut read) {
                read.extend(name.strip_prefix(prefix).map(str::to_owned));
            }
        }
    };
    each_text(parsed.vars, &mut note);
    for raw in &parsed.steps {
        each_text(raw.params.as_ref().map(|(node, _)| *node), &mut note);
    }
    let [vars, env] = read;
    names(report, ("var", "vars"), &given.vars, &vars);
    names(report, ("env", "env"), &given.env, &env);
}

fn names(report: &mut Report, (flag, prefix): (&str, &str), given: &BTreeMap<String, String>, read: &BTreeSet<String>) {
    for name in given.keys().filter(|name| !read.contains(*name)) {
        let near = report.suggest(name, read.iter().map(String::as_str));
        let advice = match near {
            Some(near) => format!("Did you mean `{}`?", shown(near)),
            None => format!("Write {{{{{prefix}.{}}}}} where it belongs, or leave it out.", shown(name)),
        };
        let message = format!(
            "`{}` is given with the run (--{flag}), and nothing reads {{{{{prefix}.{}}}}}",
            shown(name),
            shown(name)
        );
        report.add(&Location::new(Position::START, ""), &format!("unread_{flag}"), message, advice);
    }
}

/// Reports the run's image if no step takes it. `taken` is whether an enabled step does.
pub(super) fn report_image(report: &mut Report, parsed: &ParsedDocument<'_>, given: &RunInputs, taken: bool) {
    let may_take = |raw: &RawStep<'_>| {
        let input = raw.likely_model().and_then(|model| model.inputs.first());
        !raw.enabled && input.is_some_and(|input| input.kind == MediaKind::Image)
    };
    // Another problem of a step may be the reason that it did not take it.
    if taken || given.image.is_none() || !report.is_empty() || parsed.steps.iter().any(may_take) {
        return;
    }
    let message = "the run is given an image (--input-image), and no step takes it";
    let advice = "A step takes it that needs an image, names none, and has no item before it; or leave it out.";
    report.add(&Location::new(Position::START, ""), "unread_image", message, advice);
}

/// Reports the run's input text if no placeholder names it and no step takes it as its prompt.
pub(super) fn report_input(report: &mut Report, parsed: &ParsedDocument<'_>, given: &RunInputs) {
    if given.input.is_none() || parsed.written > MAX_STEPS || parsed.steps.iter().any(takes_input) {
        return;
    }
    let mut read = false;
    let mut note = |text: &str| read |= parts(text).any(|part| matches!(part, Part::Placeholder("input")));
    each_text(parsed.vars, &mut note);
    for raw in &parsed.steps {
        each_text(raw.params.as_ref().map(|(node, _)| *node), &mut note);
    }
    if !read {
        let message = "the run is given an input text (--input), and nothing reads {{input}}";
        let advice = "Write {{input}} where it belongs, or leave the text out.";
        report.add(&Location::new(Position::START, ""), "unread_input", message, advice);
    }
}

/// Whether the step has no prompt and needs one. One whose model is not known may.
fn takes_input(raw: &RawStep<'_>) -> bool {
    let Some(model) = raw.likely_model() else { return true };
    let entered = match raw.params.as_ref().map(|(node, _)| &node.content) {
        Some(Content::Table(entries)) => entries.as_slice(),
        _ => &[],
    };
    let is_prompt = |name: &str| {
        name == "prompt" || model.params.get(name).is_some_and(|param| param.to.as_deref() == Some("prompt"))
    };
    let needs_prompt = model.params.get("prompt").is_some_and(|param| param.required);
    needs_prompt && !entered.iter().any(|(key, _)| is_prompt(&key.text))
}
