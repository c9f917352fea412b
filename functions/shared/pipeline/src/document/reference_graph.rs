//! References: what a name means where it stands, and who waits for whom. A step reads only what stands before it, so a
//! reference to what stands behind is either a matter of order or one of a circle, and the two need different advice.

use std::collections::VecDeque;
use std::ops::Range;

use super::diagnostics::{Location, shown};
use super::parse::{ParsedDocument, Target};
use super::problem::MAX_PROBLEMS;
use super::template::{Part, parts, step_of};
use super::validate::Checker;
use super::yaml::{Content, Node};

/// The most names of a circle that a message tells.
const SHOWN_WAY: usize = 8;

/// Who reads whom: steps first, items behind them. An item "reads" its steps.
#[derive(Debug)]
pub(super) struct Graph(Vec<Vec<usize>>);

impl Graph {
    fn of(outline: &ParsedDocument<'_>) -> Graph {
        let count = outline.steps.len();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); count + outline.items.len()];
        for (number, item) in outline.items.iter().enumerate() {
            edges[count + number].extend(item.steps.clone().filter(|step| outline.steps[*step].enabled));
        }
        let mut before = None;
        let mut last = None;
        for (number, draft) in outline.steps.iter().enumerate().filter(|(_, draft)| draft.enabled) {
            if last != Some(draft.item) {
                before = last.replace(draft.item);
            }
            let to = &mut edges[number];
            let mut add = |target: Option<Target>| match target {
                Some(Target::Step(step)) => to.push(step),
                Some(Target::Group(item)) => to.push(count + item),
                None => {}
            };
            each_text(draft.input_from.as_ref().map(|(node, _)| *node), &mut |text| {
                add(outline.names.get(text).copied());
            });
            each_text(draft.params.as_ref().map(|(node, _)| *node), &mut |text| {
                for part in parts(text) {
                    if let Part::Placeholder(name) = part
                        && let Some(name) = step_of(name)
                    {
                        add(outline.of_placeholder(name));
                    }
                }
            });
            let input = draft.likely_model().and_then(|model| model.inputs.first().map(|input| (model, input)));
            if let (Some((model, input)), None, Some(before)) = (input, &draft.input_from, before) {
                let params = draft.params.as_ref().map(|(node, _)| &node.content);
                let named = matches!(params, Some(Content::Table(entries)) if entries.iter().any(|(key, _)| {
                    model.media_param(&key.text).is_some_and(|named| named.param == input.param)
                }));
                if !named {
                    to.push(count + before);
                }
            }
            to.sort_unstable();
            to.dedup();
        }
        Graph(edges)
    }

    /// The shortest way from one to the other.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut came: Vec<Option<usize>> = vec![None; self.0.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(here) = queue.pop_front() {
            if here == to {
                let mut way = vec![to];
                let mut at = to;
                while at != from {
                    at = came[at]?;
                    way.push(at);
                }
                way.reverse();
                return Some(way);
            }
            for &next in &self.0[here] {
                if came[next].is_none() && next != from {
                    came[next] = Some(here);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

fn each_text(node: Option<&Node>, see: &mut impl FnMut(&str)) {
    match node.map(|node| &node.content) {
        Some(Content::Text(text)) => see(text),
        Some(Content::List(nodes)) => nodes.iter().for_each(|node| each_text(Some(node), see)),
        Some(Content::Table(entries)) => entries.iter().for_each(|(_, node)| each_text(Some(node), see)),
        _ => {}
    }
}

impl ParsedDocument<'_> {
    /// What `{{step_NAME.output}}` reads: the step `NAME` or else the step `step_NAME`, so that `{{step_1.output}}` finds
    /// the first step if it has no name.
    pub(super) fn of_placeholder(&self, name: &str) -> Option<Target> {
        let found = self.names.get(name).copied();
        let whole = || self.names.get(&format!("step_{name}")).copied();
        match found {
            Some(Target::Step(_)) => found,
            _ => whole().or(found),
        }
    }

    fn node(&self, target: Target) -> usize {
        match target {
            Target::Step(step) => step,
            Target::Group(item) => self.steps.len() + item,
        }
    }
}

impl Checker<'_, '_> {
    /// The steps that a reference of a step reads. What it must not read is reported.
    pub(super) fn refer(
        &mut self,
        reader: usize,
        target: Option<Target>,
        called: &str,
        spot: &Location,
    ) -> Option<Range<usize>> {
        let Some(target) = target else {
            let names = self.outline.names.keys().map(String::as_str);
            let near = self.report.suggest(called, names);
            let advice = near.map_or_else(
                || "Name a step or a group of this document that stands before it.".to_owned(),
                |near| format!("Did you mean `{near}`?"),
            );
            self.report.add(spot, "unknown_step", format!("there is no step `{}`", shown(called)), advice);
            return None;
        };
        let (steps, enabled) = match target {
            Target::Step(step) => (step..step + 1, self.outline.steps[step].enabled),
            Target::Group(item) => {
                let item = &self.outline.items[item];
                // A group without steps has a problem of its own.
                (item.steps.clone(), item.enabled > 0 || item.steps.is_empty())
            }
        };
        if steps.contains(&reader) {
            let message = match target {
                Target::Step(_) => format!("`{called}` reads itself"),
                Target::Group(_) => {
                    format!("`{}` reads the group that it stands in", self.outline.steps[reader].called())
                }
            };
            let advice = "Name a step that stands before it.";
            self.report.add(spot, "self_reference", message, advice);
            return None;
        }
        if !enabled {
            let message = format!("`{called}` is not enabled and gives nothing");
            self.report.add(spot, "disabled_step", message, "Enable it, or read another step.");
            return None;
        }
        if steps.start > reader {
            self.forward(reader, target, called, spot);
            return None;
        }
        Some(steps)
    }

    /// A reference to what stands behind. Beyond what is shown, nobody needs the way of a circle.
    fn forward(&mut self, reader: usize, target: Target, called: &str, spot: &Location) {
        let from = self.outline.node(target);
        let outline = &self.outline;
        self.ways += 1;
        let way = if self.ways > MAX_PROBLEMS {
            None
        } else {
            self.graph.get_or_insert_with(|| Graph::of(outline)).way(from, reader)
        };
        let Some(way) = way else {
            let message = format!("`{called}` comes later than the step that reads it");
            let advice = format!("Move `{called}` up, before this step.");
            self.report.add(spot, "later_step", message, advice);
            return;
        };
        let reader = self.outline.steps[reader].called();
        let mut names = vec![reader];
        names.extend(way.iter().filter_map(|node| match node.checked_sub(self.outline.steps.len()) {
            None => Some(self.outline.steps[*node].called()),
            Some(item) => self.outline.items[item].name.as_ref().map(|name| name.as_str()),
        }));
        if names.len() > SHOWN_WAY {
            names.splice(SHOWN_WAY / 2..names.len() - SHOWN_WAY / 2, ["…"]);
        }
        let message = format!("`{reader}` waits for itself: {}", names.join(" → "));
        self.report.add(spot, "cycle", message, "Take one of these references away.");
    }
}
