//! Compares a step with the step of its name in the last run of the pipeline, to explain a miss. Content keys alone
//! decide what is generated.

use std::collections::{BTreeMap, BTreeSet};

use fresco_api_types::{MissReason, StepChange};
use fresco_ledger::records::StepRecord;
use fresco_pipeline::document::{CachePolicy, Piece};
use fresco_pipeline::ids::{ContentKey, StepName, StepRef};
use fresco_pipeline::media::{Media, MediaRef};
use fresco_pipeline::plan::PlannedStep;

/// The name of the prompt param at every provider.
const PROMPT: &str = "prompt";

/// The outputs of the steps of a run, by step.
pub(crate) type OutputsByStep<'a> = BTreeMap<StepRef, &'a [Media]>;

/// The steps of the last run of a pipeline.
pub(crate) struct PreviousRun<'a> {
    rows: BTreeMap<StepRef, &'a StepRecord>,
    made: OutputsByStep<'a>,
}

impl<'a> PreviousRun<'a> {
    /// Makes it of the records of its steps.
    pub(crate) fn new(rows: &'a [StepRecord]) -> Self {
        let made = rows.iter().filter_map(|row| Some((row.plan.id(), row.pinned.as_ref()?.outputs.as_slice())));
        PreviousRun { rows: rows.iter().map(|row| (row.plan.id(), row)).collect(), made: made.collect() }
    }

    /// The reason for which there is no entry of the step under this key.
    pub(crate) fn why(&self, step: &PlannedStep, key: &ContentKey, made: &OutputsByStep<'_>) -> MissReason {
        let Some(row) = self.rows.get(&step.id()) else { return MissReason::New };
        if row.key.as_ref() == Some(key) {
            return if row.pinned.is_some() { MissReason::Removed } else { MissReason::New };
        }
        let what = differences(&row.plan, &self.made, step, made);
        match what.is_empty() {
            false => MissReason::Changed { what },
            // A salted result is never found again, and a step without a result has no key to compare with.
            true if row.plan.cache == CachePolicy::Off || row.key.is_none() => MissReason::New,
            true => MissReason::Changed { what: vec![StepChange::KeyVersion] },
        }
    }
}

fn differences(
    before: &PlannedStep,
    made_before: &OutputsByStep<'_>,
    now: &PlannedStep,
    made_now: &OutputsByStep<'_>,
) -> Vec<StepChange> {
    let mut what = Vec::new();
    let model = (before.step, &before.model, &before.endpoint) != (now.step, &now.model, &now.endpoint);
    if model {
        what.push(StepChange::Model);
    }
    let words = |step: &PlannedStep| {
        let literal = step.params.get(PROMPT).cloned();
        let texts: Vec<(String, Vec<Option<String>>)> = step
            .texts
            .iter()
            .map(|slot| {
                let piece = |piece: &Piece| match piece {
                    Piece::Text(text) => Some(text.clone()),
                    Piece::Step(_) => None,
                };
                (slot.to.clone(), slot.pieces.iter().map(piece).collect())
            })
            .collect();
        (literal, texts)
    };
    if words(before) != words(now) {
        what.push(StepChange::Prompt);
    }
    // Another model has other params; naming them all says nothing.
    let names = if model { Vec::new() } else { params_that_differ(before, now) };
    if !names.is_empty() {
        what.push(StepChange::Params { names });
    }
    if taken(before, made_before) != taken(now, made_now) {
        what.push(StepChange::Input);
    }
    if before.repetition != now.repetition {
        what.push(StepChange::Take);
    }
    what
}

fn params_that_differ(before: &PlannedStep, now: &PlannedStep) -> Vec<String> {
    let names: BTreeSet<&String> = before.params.keys().chain(now.params.keys()).collect();
    let differ = names.into_iter().filter(|name| *name != PROMPT && before.params.get(*name) != now.params.get(*name));
    differ.cloned().collect()
}

/// The hashes of the inputs of a step, each with the param that takes it.
fn taken<'a>(step: &'a PlannedStep, made: &OutputsByStep<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    let output = |name: &StepName, index: usize| Some(made.get(&step.sibling(name))?.get(index)?.sha256.as_str());
    let media = step.media.iter().flat_map(|slot| {
        slot.media.iter().map(move |source| {
            let hash = match source {
                MediaRef::Input(media) => Some(media.sha256.as_str()),
                MediaRef::Output { step, index } => usize::try_from(*index).ok().and_then(|index| output(step, index)),
            };
            (slot.to.as_str(), hash)
        })
    });
    let texts = step.texts.iter().flat_map(|slot| {
        slot.pieces.iter().filter_map(move |piece| match piece {
            Piece::Step(name) => Some((slot.to.as_str(), output(name, 0))),
            Piece::Text(_) => None,
        })
    });
    media.chain(texts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fresco_ledger::records::{CachedResult, StepState};
    use fresco_pipeline::document::{RunInputs, check};
    use fresco_pipeline::ids::{Attempt, RunId};
    use fresco_pipeline::money::Money;
    use fresco_pipeline::plan::{Plan, compile};

    fn plan(document: &str) -> Plan {
        compile(&check(document, &RunInputs::default()).unwrap_or_else(|problems| panic!("{problems}")))
    }

    fn output(of: &str) -> Media {
        Media {
            key: format!("outputs/image/{of}"),
            kind: fresco_pipeline::catalogue::MediaKind::Image,
            content_type: "image/png".to_owned(),
            bytes: 1,
            sha256: of.to_owned(),
            width: None,
            height: None,
            duration_ms: None,
        }
    }

    /// The steps of a run in which every step made something of its own.
    fn rows(plan: &Plan) -> Vec<StepRecord> {
        let run = RunId::parse("run-00000001").unwrap();
        let row = |step: &PlannedStep| StepRecord {
            run: run.clone(),
            plan: step.clone(),
            key: Some(ContentKey::digest(step.name.as_str().as_bytes())),
            state: StepState::Done,
            source: None,
            pinned: Some(CachedResult {
                shortfall: None,
                attempt: Attempt(1),
                outputs: vec![output(step.name.as_str())],
                created_at: 0,
                cost: Money::ZERO,
                took_ms: 0,
            }),
            failure: None,
            started_at: None,
            ended_at: None,
            calls: 1,
        };
        plan.steps.iter().map(row).collect()
    }

    const BEFORE: &str = "
name: p
steps:
  - { name: a, type: text_to_image, model: flux_schnell, params: { prompt: one, seed: 1 } }
  - { name: b, type: image_to_image, params: { prompt: two } }
";

    /// Why step `name` of this document is not what it was, where the steps made this.
    fn why(document: &str, name: &str, first_made: &str) -> String {
        let before = plan(BEFORE);
        let rows = rows(&before);
        let now = plan(document);
        let made = [output(first_made)];
        let step = now.steps.iter().find(|step| step.name.as_str() == name).unwrap();
        let made = OutputsByStep::from([("a".parse().unwrap(), made.as_slice())]);
        PreviousRun::new(&rows).why(step, &ContentKey::digest(b"another"), &made).to_string()
    }

    #[test]
    fn the_differences_of_a_step_are_named() {
        for (from, to, name, first_made, expected) in [
            ("prompt: one", "prompt: uno", "a", "a", "prompt changed"),
            ("seed: 1", "seed: 2", "a", "a", "seed changed"),
            ("seed: 1", "seed: 2, num_images: 2", "a", "a", "num_images, seed changed"),
            ("model: flux_schnell", "model: flux_dev", "a", "a", "model changed"),
            (
                "flux_schnell, params: { prompt: one",
                "flux_dev, params: { prompt: uno",
                "a",
                "a",
                "model and prompt changed",
            ),
            ("seed: 1 } }", "seed: 1 }, take: 2 }", "a", "a", "take changed"),
            ("prompt: two", "prompt: two", "b", "other", "input changed"),
            ("prompt: two", "prompt: due", "b", "other", "prompt and input changed"),
            // The same request under another key.
            ("prompt: two", "prompt: two", "b", "a", "key version changed"),
            ("name: b", "name: c", "c", "a", "new"),
        ] {
            assert_eq!(why(&BEFORE.replacen(from, to, 1), name, first_made), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_result_of_the_last_run_that_is_gone_was_removed() {
        let now = plan(BEFORE);
        let mut rows = rows(&now);
        let key = rows[0].key.clone().unwrap();
        assert_eq!(PreviousRun::new(&rows).why(&now.steps[0], &key, &OutputsByStep::new()), MissReason::Removed);
        rows[0].pinned = None;
        assert_eq!(PreviousRun::new(&rows).why(&now.steps[0], &key, &OutputsByStep::new()), MissReason::New);
    }
}
