//! Placeholders: taking a text apart and filling it. What looks like one and is none is a problem, not a prompt. What is filled in is never read again, so an input that contains
//! `{{…}}` stays as it is. Names are looked up in what was given with the run and nowhere else.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::RunInputs;
use super::diagnostics::{Location, Report, list};
use super::yaml::{Content, Node};
use crate::text::{shown, tidy};

/// The most bytes of a filled text, whatever it is for.
pub(super) const MAX_FILLED: usize = 1024 * 1024;
/// The most bytes of all filled texts of a document together: a long input may be filled in very often.
const MAX_FILLED_TOGETHER: usize = 128 * 1024 * 1024;
/// The mistakes of one text that are reported. All of one text have one place, so more of them would not be shown.
const MAX_MISTAKES: usize = 100;
/// The bytes in which the end of a placeholder in single braces is sought.
const MAX_SINGLE: usize = 96;
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
    /// `{{` without its `}}` before the next `{{` or the end; the text from there on.
    Unclosed(&'t str),
    /// The name of a placeholder between single braces, with these and a `$` before them.
    SingleBraces(&'t str),
}

/// The parts of a text. A backslash before braces makes them text: `\{{`, and `\{input}`.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, behind) = first_part(rest);
        rest = behind;
        Some(part)
    })
}

/// Whether a text has placeholders.
pub(super) fn has_placeholder(text: &str) -> bool {
    parts(text).any(|part| matches!(part, Part::Placeholder(_)))
}

/// The first part of a text that is not empty, and what is behind it.
fn first_part(text: &str) -> (Part<'_>, &str) {
    let marked = text.match_indices('{').find_map(|(at, _)| {
        let double = text[at..].starts_with("{{");
        let from = if !double && text[..at].ends_with('$') { at - 1 } else { at };
        let length = if double { 2 } else { single_braces(&text[from..])? };
        Some((from, length))
    });
    match marked {
        None => (Part::Text(text), ""),
        Some((1, length)) if text.starts_with('\\') => (Part::Text(&text[1..1 + length]), &text[1 + length..]),
        Some((0, length)) => marked_part(text, length),
        // A backslash before the braces is kept with them.
        Some((from, _)) => {
            let (before, behind) = text.split_at(from - usize::from(text[..from].ends_with('\\')));
            (Part::Text(before), behind)
        }
    }
}

/// The part of a text that begins with so many bytes of braces.
fn marked_part(text: &str, length: usize) -> (Part<'_>, &str) {
    let Some(after) = text.strip_prefix("{{") else {
        let (written, behind) = text.split_at(length);
        return (Part::SingleBraces(written), behind);
    };
    // The nearest of the two, so that a text of nothing but braces is read once.
    let next = after.as_bytes().windows(2).position(|pair| pair == b"}}" || pair == b"{{");
    match next.map(|at| after.split_at(at)) {
        Some((name, behind)) if behind.starts_with("}}") => (Part::Placeholder(name.trim()), &behind[2..]),
        // More braces are of the same mistake.
        _ => (Part::Unclosed(text), after.trim_start_matches('{')),
    }
}

/// The length of a placeholder in single braces at the beginning of a text, with a `$` before it.
fn single_braces(text: &str) -> Option<usize> {
    let braces = text.strip_prefix('$').unwrap_or(text);
    let inner = braces.strip_prefix('{').filter(|inner| !inner.starts_with('{'))?;
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let end = inner.bytes().take(MAX_SINGLE).position(|b| !is_word(b) && b != b'.' && b != b' ')?;
    let name = inner[..end].trim();
    if !inner[end..].starts_with('}') {
        return None;
    }
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_word);
    let known = matches!(name, "input" | "timestamp" | "random")
        || ["vars.", "env."].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_name))
        || step_of(name).is_some_and(is_name);
    known.then_some(text.len() - braces.len() + end + 2)
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
                Part::Text(_) | Part::Unclosed(_) | Part::SingleBraces(_) => None,
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

/// The values of placeholders, tidy.
#[derive(Debug)]
pub(super) struct Values<'g> {
    given: &'g RunInputs,
    input: Option<Cow<'g, str>>,
    env: BTreeMap<&'g str, Cow<'g, str>>,
    /// The document's own and the run's; `None` for texts that may not use them.
    vars: Option<BTreeMap<String, String>>,
    /// The bytes that may still be filled.
    left: Cell<usize>,
}

impl<'g> Values<'g> {
    /// The values that the document's own vars may use: none that is computed after them. Together they are as long as
    /// one text may be.
    pub(super) fn for_vars(given: &'g RunInputs) -> Self {
        Values::of(given, None, MAX_FILLED)
    }

    /// The values that params may use.
    pub(super) fn new(given: &'g RunInputs, vars: BTreeMap<String, String>) -> Self {
        Values::of(given, Some(vars), MAX_FILLED_TOGETHER)
    }

    fn of(given: &'g RunInputs, vars: Option<BTreeMap<String, String>>, left: usize) -> Self {
        let env = given.env.iter().map(|(name, value)| (name.as_str(), tidy(value))).collect();
        Values { given, input: given.input.as_deref().map(tidy), env, vars, left: Cell::new(left) }
    }

    /// Fills a text up to so many bytes. Every placeholder without a value is reported; then there is no text.
    pub(super) fn fill(&self, report: &mut Report, text: &str, limit: usize, location: &Location) -> Option<Filled> {
        let mut filled = Filled::default();
        let limit = limit.min(MAX_FILLED).min(self.left.get());
        let mut length = 0;
        let mut reported = BTreeSet::new();
        let mut mistakes = 0;
        for part in parts(text) {
            let value = match part {
                Part::Text(text) => Some(text),
                Part::Unclosed(_) | Part::SingleBraces(_) if mistakes == MAX_MISTAKES => break,
                Part::Unclosed(rest) => {
                    mistakes += 1;
                    if reported.insert("{{") {
                        unclosed(report, rest, location);
                    }
                    None
                }
                Part::SingleBraces(written) => {
                    mistakes += 1;
                    if reported.insert(written) {
                        single(report, written, location);
                    }
                    None
                }
                Part::Placeholder(name) => match self.value(name, &mut filled) {
                    Some(value) => Some(value),
                    None if step_of(name).is_some() && self.vars.is_some() => {
                        filled.pieces.push(Filling::Step(step_of(name).unwrap_or_default().to_owned()));
                        None
                    }
                    None => {
                        if reported.len() < MAX_MISTAKES && reported.insert(name) {
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
            None if name == "input" => self.input.as_deref(),
            None if name == "timestamp" || name == "random" => {
                self.vars.as_ref()?;
                filled.uncacheable = true;
                Some(if name == "random" { &self.given.random } else { &self.given.timestamp })
            }
            Some(("vars", var)) => self.vars.as_ref()?.get(var).map(String::as_str),
            Some(("env", var)) => self.env.get(var).map(Cow::as_ref),
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

fn unclosed(report: &mut Report, rest: &str, location: &Location) {
    let message = format!("`{}`: the braces `{{{{` are not closed", shown(rest));
    let advice = "Close them with `}}`, or write `\\{{` for the braces themselves.";
    report.add(location, "unclosed_placeholder", message, advice);
}

fn single(report: &mut Report, written: &str, location: &Location) {
    let name = written.trim_matches(['$', '{', '}']).trim();
    let message = format!("`{}` fills nothing: a placeholder has two braces", shown(written));
    let advice = format!("Write `{{{{{}}}}}`, or a backslash before the brace to keep it as text.", shown(name));
    report.add(location, "single_braces", message, advice);
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
            ("{% $states.input %} {x} ${y} }} \\{x} \\ $", "x", "{% $states.input %} {x} ${y} }} \\{x} \\ $"),
            ("\\{{masterpiece}} by {{input}}", "x", "{{masterpiece}} by x"),
            ("\\{{input}} \\{input} $\\{input} \\${vars.a}", "x", "{{input}} {input} ${input} ${vars.a}"),
            ("{{input}}, {{input}}", " \u{feff}x\r\ny\r\n", "x\ny, x\ny"),
            ("\"quotes\"\nand 🦊", "x", "\"quotes\"\nand 🦊"),
            ("", "x", ""),
        ] {
            let given = RunInputs { input: Some(input.to_owned()), ..RunInputs::default() };
            assert_eq!(filled(text, &given).as_deref(), Some(expected));
        }
        for unknown in [
            "{{env.KEY}}",
            "{{input}}",
            "{{}}",
            "{{vars.x}}",
            "{{step_a.text}}",
            "{{ {{input}} }}",
            "{{",
            "a {{input",
            "{input}",
        ] {
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
