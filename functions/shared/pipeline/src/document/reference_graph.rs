//! The graph of references in a document, with the shortest way from one step to another. It is built from the raw steps, so
//! that a circle is found before any step is valid.

use std::collections::VecDeque;

use super::parse::{ParsedDocument, Target};
use super::template::{Part, parts, step_of};
use super::yaml::{Content, Node};

/// The references of steps and items: steps first, then items. An item refers to its steps.
#[derive(Debug)]
pub(super) struct Graph(Vec<Vec<usize>>);

impl Graph {
    /// Builds the graph of a document.
    pub(super) fn of(parsed: &ParsedDocument<'_>) -> Graph {
        let count = parsed.steps.len();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); count + parsed.items.len()];
        for (number, item) in parsed.items.iter().enumerate() {
            edges[count + number].extend(item.steps.clone().filter(|step| parsed.steps[*step].enabled));
        }
        let mut before = None;
        let mut last = None;
        for (number, raw) in parsed.steps.iter().enumerate().filter(|(_, raw)| raw.enabled) {
            if last != Some(raw.item) {
                before = last.replace(raw.item);
            }
            let to = &mut edges[number];
            let mut add = |target: Option<Target>| match target {
                Some(Target::Step(step)) => to.push(step),
                Some(Target::Group(item)) => to.push(count + item),
                None => {}
            };
            each_text(raw.input_from.as_ref().map(|(node, _)| *node), &mut |text| {
                add(parsed.names.get(text).copied());
            });
            each_text(raw.params.as_ref().map(|(node, _)| *node), &mut |text| {
                for part in parts(text) {
                    if let Part::Placeholder(name) = part
                        && let Some(name) = step_of(name)
                    {
                        add(parsed.of_placeholder(name));
                    }
                }
            });
            let input = raw.likely_model().and_then(|model| model.inputs.first().map(|input| (model, input)));
            if let (Some((model, input)), None, Some(before)) = (input, &raw.input_from, before) {
                let params = raw.params.as_ref().map(|(node, _)| &node.content);
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

    /// The shortest way from one node to another.
    pub(super) fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
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

/// Shows every text of a value.
pub(super) fn each_text(node: Option<&Node>, see: &mut impl FnMut(&str)) {
    match node.map(|node| &node.content) {
        Some(Content::Text(text)) => see(text),
        Some(Content::List(nodes)) => nodes.iter().for_each(|node| each_text(Some(node), see)),
        Some(Content::Table(entries)) => entries.iter().for_each(|(_, node)| each_text(Some(node), see)),
        _ => {}
    }
}

impl ParsedDocument<'_> {
    /// The target of `{{step_NAME.output}}`: the step `NAME` or else the step `step_NAME`, so that `{{step_1.output}}` finds
    /// the first step if it has no name.
    pub(super) fn of_placeholder(&self, name: &str) -> Option<Target> {
        let found = self.names.get(name).copied();
        let whole = || self.names.get(&format!("step_{name}")).copied();
        match found {
            Some(Target::Step(_)) => found,
            _ => whole().or(found),
        }
    }

    pub(super) fn node(&self, target: Target) -> usize {
        match target {
            Target::Step(step) => step,
            Target::Group(item) => self.steps.len() + item,
        }
    }
}
