//! MissReason a step is not what the step of its name was in the last run of the same pipeline. It is for people: what is generated
//! is decided by content keys alone.

use std::collections::{BTreeMap, BTreeSet};

use fresco_api_types::{MissReason, StepChange};
use fresco_ledger::records::{Output, StepRecord};
use fresco_pipeline::document::{CachePolicy, Piece};
use fresco_pipeline::ids::{ContentKey, StepName};
use fresco_pipeline::plan::{InputSource, PlannedStep};

/// The provider's name of the param that is the prompt, in every model that has one.
const PROMPT: &str = "prompt";

/// What the steps of a run have made, by name.
pub(crate) type Results<'a> = BTreeMap<&'a StepName, &'a [Output]>;

/// The last run of a pipeline.
pub(crate) struct Before<'a> {
    rows: BTreeMap<&'a StepName, &'a StepRecord>,
    made: Results<'a>,
}

impl<'a> Before<'a> {
    /// Of these steps.
    pub(crate) fn new(rows: &'a [StepRecord]) -> Self {
        let made = rows.iter().filter_map(|row| Some((&row.plan.name, row.pinned.as_ref()?.outputs.as_slice())));
        Before { rows: rows.iter().map(|row| (&row.plan.name, row)).collect(), made: made.collect() }
    }

    /// MissReason nothing is known of the step under this key.
    pub(crate) fn why(&self, step: &PlannedStep, key: &ContentKey, made: &Results<'_>) -> MissReason {
        let Some(row) = self.rows.get(&step.name) else { return MissReason::New };
        if row.key.as_ref() == Some(key) {
            return if row.pinned.is_some() { MissReason::Removed } else { MissReason::New };
        }
        let what = differences(&row.plan, &self.made, step, made);
        match what.is_empty() {
            false => MissReason::Changed { what },
            // A result that was salted was never to be found, and one that never came has no key to compare with.
            true if row.plan.cache == CachePolicy::Off || row.key.is_none() => MissReason::New,
            true => MissReason::Changed { what: vec![StepChange::KeyVersion] },
        }
    }
}

fn differences(
    before: &PlannedStep,
    made_before: &Results<'_>,
    now: &PlannedStep,
    made_now: &Results<'_>,
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
    if before.take != now.take {
        what.push(StepChange::Take);
    }
    what
}

fn params_that_differ(before: &PlannedStep, now: &PlannedStep) -> Vec<String> {
    let names: BTreeSet<&String> = before.params.keys().chain(now.params.keys()).collect();
    let differ = names.into_iter().filter(|name| *name != PROMPT && before.params.get(*name) != now.params.get(*name));
    differ.cloned().collect()
}

/// Hashes of everything that the step takes, with what takes it.
fn taken<'a>(step: &'a PlannedStep, made: &Results<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    let output = |name: &StepName, index: usize| Some(made.get(name)?.get(index)?.sha256.as_str());
    let media = step.media.iter().flat_map(|slot| {
        slot.from.iter().map(move |source| {
            let hash = match source {
                InputSource::Given(media) => Some(media.sha256.as_str()),
                InputSource::Output { step, index } => {
                    usize::try_from(*index).ok().and_then(|index| output(step, index))
                }
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

    fn output(of: &str) -> Output {
        Output {
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

    /// MissReason step `name` of this document is not what it was, where the steps made this.
    fn why(document: &str, name: &str, first_made: &str) -> String {
        let before = plan(BEFORE);
        let rows = rows(&before);
        let now = plan(document);
        let made = [output(first_made)];
        let step = now.steps.iter().find(|step| step.name.as_str() == name).unwrap();
        let first = StepName::parse("a").unwrap();
        let made = Results::from([(&first, made.as_slice())]);
        Before::new(&rows).why(step, &ContentKey::digest(b"another"), &made).to_string()
    }

    #[test]
    fn what_differs_is_named() {
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
    fn a_result_that_was_there_was_removed() {
        let now = plan(BEFORE);
        let mut rows = rows(&now);
        let key = rows[0].key.clone().unwrap();
        assert_eq!(Before::new(&rows).why(&now.steps[0], &key, &Results::new()), MissReason::Removed);
        rows[0].pinned = None;
        assert_eq!(Before::new(&rows).why(&now.steps[0], &key, &Results::new()), MissReason::New);
    }
}
