//! A drawn pipeline before it is written down: which models with which values read what. Everything that a document may say
//! without changing a request is not in it; `writing` adds that.

use proptest::prelude::*;
use serde_json::json;

use super::values::{Draw, draws, params, words};
use super::*;
use crate::catalogue::{MediaParam, ParamKind, models};

/// The number of media of a kind that a run is given.
const GIVEN: usize = 3;

/// A pipeline.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    /// The run's input text.
    pub(super) input: String,
    pub(super) steps: Vec<Drawn>,
}

/// A step.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) model: &'static Model,
    /// Params, without the texts.
    pub(super) params: Map<String, Value>,
    /// Texts, by the name of the param.
    pub(super) texts: BTreeMap<String, Vec<Words>>,
    /// Media, by the place of the input among those of the model.
    pub(super) media: BTreeMap<usize, Vec<Medium>>,
    pub(super) take: u32,
    /// The number of outputs of all its parts.
    outputs: u32,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Words {
    /// These words.
    Literal(String),
    /// The run's input text.
    Input,
    /// The text of the step at this position.
    Step(usize),
}

/// A medium.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Medium {
    /// One that is given with the run.
    Given(MediaKind, usize),
    /// The outputs of the step at this position.
    Step(usize),
}

impl Drawn {
    /// Whether a param of the model is a text.
    pub(super) fn is_text(&self, name: &str) -> bool {
        matches!(self.model.params[name].kind, ParamKind::Text { .. })
    }

    /// The places of the steps that it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = usize> {
        let media = self.media.values().flatten().filter_map(|from| match from {
            Medium::Step(step) => Some(*step),
            Medium::Given(..) => None,
        });
        let texts = self.texts.values().flatten().filter_map(|words| match words {
            Words::Step(step) => Some(*step),
            _ => None,
        });
        media.chain(texts)
    }
}

/// Pipelines of a few steps, of any models.
pub(super) fn sketches() -> impl Strategy<Value = Sketch> {
    let step = draws(STEP_DRAWS);
    (words(), prop::collection::vec(step, 1..6)).prop_map(|(input, draws)| {
        // What is filled in is tidy, and the input is not always filled in.
        let mut sketch = Sketch { input: input.trim().to_owned(), steps: Vec::new() };
        for draws in &draws {
            let step = sketch.step(draws);
            sketch.steps.push(step);
        }
        sketch
    })
}

/// One for the model, the take and whether there are pieces; four for media; the rest for params and texts.
const STEP_DRAWS: usize = 16;

impl Sketch {
    fn step(&self, draws: &[Draw]) -> Drawn {
        let model = &models()[draws[0].below(models().len())];
        let mut params = params(model, &draws[8..]);
        if let Some(count) = model.output.count.as_ref().filter(|count| params.contains_key(*count)) {
            // A few steps over all outputs of each other would soon be a thousand.
            params.insert(count.clone(), json!(1 + draws[1].below(2)));
        }
        let outputs = model.output.count.as_ref().and_then(|count| params.get(count)?.as_u64()).unwrap_or(1) as u32;
        let is_text = |name: &String| matches!(model.params[name].kind, ParamKind::Text { .. });
        let (texts, params): (Vec<_>, Vec<_>) = params.into_iter().partition(|(name, _)| is_text(name));
        let words = |(name, text): (String, Value)| {
            let own = Words::Literal(text.as_str().unwrap().to_owned());
            (name, if draws[2].one_in(2) { vec![own] } else { self.words(own, &draws[3..8]) })
        };
        let mut media = BTreeMap::new();
        let mut parts = 1;
        for (place, input) in model.inputs.iter().enumerate() {
            if !input.required && draws[4 + place].one_in(2) {
                continue;
            }
            let (from, count) = self.media(input, place == 0, &draws[4 + place..]);
            if place == 0 && !input.list {
                parts = count;
            }
            media.insert(place, from);
        }
        Drawn {
            model,
            params: params.into_iter().collect(),
            texts: texts.into_iter().map(words).collect(),
            media,
            take: 1 + draws[3].below(3) as u32,
            outputs: parts * outputs,
        }
    }

    /// The words with some before and behind them.
    fn words(&self, own: Words, draws: &[Draw]) -> Vec<Words> {
        let readable: Vec<usize> = self.that_give(MediaKind::Text).collect();
        let mut words = vec![own];
        for (n, draw) in draws.iter().enumerate().take(3) {
            let more = match draw.below(4) {
                0 => continue,
                1 => Words::Input,
                2 if !readable.is_empty() => Words::Step(readable[draw.below(readable.len())]),
                _ => Words::Literal(format!(" {} ", draw.text())),
            };
            if n == 0 && draw.one_in(5) {
                words = vec![more];
            } else {
                words.push(more);
            }
        }
        words
    }

    /// Media for an input, and how many they are.
    fn media(&self, input: &MediaParam, is_first: bool, draws: &[Draw]) -> (Vec<Medium>, u32) {
        let most = if input.list || !is_first { input.max } else { 3 };
        let (mut from, mut count) = (Vec::new(), 0);
        for draw in draws.iter().take(3) {
            let readable: Vec<usize> = self.that_give(input.kind).collect();
            let next = match draw.below(3) {
                0 if !readable.is_empty() => Medium::Step(readable[draw.below(readable.len())]),
                _ => Medium::Given(input.kind, draw.below(GIVEN)),
            };
            let outputs = if let Medium::Step(step) = next { self.steps[step].outputs } else { 1 };
            if count + outputs <= most {
                from.push(next);
                count += outputs;
            }
        }
        if from.is_empty() { (vec![Medium::Given(input.kind, 0)], 1) } else { (from, count) }
    }

    fn that_give(&self, kind: MediaKind) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(move |step| self.steps[*step].model.output.kind == kind)
    }
}
