//! References of steps: the steps that a name stands for, or the reason why a step may not refer to it. A step reads only
//! steps before it, so a reference to a later one is either out of order or part of a circle; the advice differs.

use std::ops::Range;

use super::diagnostics::Location;
use super::parse::Target;
use super::problem::MAX_PROBLEMS;
use super::reference_graph::Graph;
use super::validate::Checker;
use crate::text::shown;

/// The most names of a circle in a message.
const SHOWN_WAY: usize = 8;

impl Checker<'_, '_> {
    /// Resolves a reference of a step to the steps that it reads. One that is not allowed is reported.
    pub(super) fn refer(
        &mut self,
        reader: usize,
        target: Option<Target>,
        called: &str,
        location: &Location,
    ) -> Option<Range<usize>> {
        let said = shown(called);
        let Some(target) = target else {
            let names = self.parsed.names.keys().map(String::as_str);
            let near = self.report.suggest(called, names);
            let advice = near.map_or_else(
                || "Name a step or a group of this document that stands before it.".to_owned(),
                |near| format!("Did you mean `{near}`?"),
            );
            self.report.add(location, "unknown_step", format!("there is no step `{said}`"), advice);
            return None;
        };
        let (steps, enabled) = match target {
            Target::Step(step) => (step..step + 1, self.parsed.steps[step].enabled),
            Target::Group(item) => {
                let item = &self.parsed.items[item];
                // A group without steps has a problem of its own.
                (item.steps.clone(), item.enabled > 0 || item.steps.is_empty())
            }
        };
        if steps.contains(&reader) {
            let message = match target {
                Target::Step(_) => format!("`{said}` reads itself"),
                Target::Group(_) => {
                    format!("`{}` reads the group that it stands in", self.parsed.steps[reader].called())
                }
            };
            let advice = "Name a step that stands before it.";
            self.report.add(location, "self_reference", message, advice);
            return None;
        }
        if !enabled {
            let message = format!("`{said}` is not enabled and gives nothing");
            self.report.add(location, "disabled_step", message, "Enable it, or read another step.");
            return None;
        }
        if steps.start > reader {
            self.forward(reader, target, called, location);
            return None;
        }
        Some(steps)
    }

    /// Reports a reference to a later step. The way of a circle is sought for as many problems as are shown.
    fn forward(&mut self, reader: usize, target: Target, called: &str, location: &Location) {
        let from = self.parsed.node(target);
        let parsed = &self.parsed;
        self.ways += 1;
        let way = if self.ways > MAX_PROBLEMS {
            None
        } else {
            self.graph.get_or_insert_with(|| Graph::of(parsed)).way(from, reader)
        };
        let Some(way) = way else {
            let message = format!("`{}` comes later than the step that reads it", shown(called));
            let advice = format!("Move `{}` up, before this step.", shown(called));
            self.report.add(location, "later_step", message, advice);
            return;
        };
        let reader = self.parsed.steps[reader].called();
        let mut names = vec![reader];
        names.extend(way.iter().filter_map(|node| match node.checked_sub(self.parsed.steps.len()) {
            None => Some(self.parsed.steps[*node].called()),
            Some(item) => self.parsed.items[item].name.as_ref().map(|name| name.as_str()),
        }));
        if names.len() > SHOWN_WAY {
            names.splice(SHOWN_WAY / 2..names.len() - SHOWN_WAY / 2, ["…"]);
        }
        let message = format!("`{reader}` waits for itself: {}", names.join(" → "));
        self.report.add(location, "cycle", message, "Take one of these references away.");
    }
}
