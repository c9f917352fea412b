//! Everything that must always change a key: all that a request is made of, for every model and every param of the catalogue; and
//! that it changes no other key.

use proptest::prelude::*;
use serde_json::json;

use super::sketch::{Medium, Sketch, Words, sketches};
use super::values::{Draw, changed, draw, draws, params};
use super::writing::written;
use super::yaml::Rolls;
use super::*;
use crate::catalogue::models;

/// A document with one step of every model, in the catalogue's order.
fn one_of_each(of: impl Fn(usize, &'static Model) -> Value) -> String {
    let steps: Vec<Value> = models()
        .iter()
        .enumerate()
        .map(|(place, model)| {
            let mut step = of(place, model);
            step["name"] = json!(format!("s{place}"));
            step["type"] = json!(model.step.as_str());
            step["model"] = json!(model.name);
            step
        })
        .collect();
    json!({"steps": steps}).to_string()
}

/// A medium for every input that is needed.
fn media_of(model: &Model) -> Map<String, Value> {
    let needed = model.inputs.iter().filter(|input| input.required);
    needed.map(|input| (input.param.clone(), json!(named(input.kind, 0)))).collect()
}

fn named(kind: MediaKind, content: usize) -> String {
    format!("{}-{content}.bin", kind.as_str())
}

fn given() -> RunInputs {
    let mut given = with_pictures(&[]);
    for kind in [MediaKind::Image, MediaKind::Video, MediaKind::Text] {
        for content in 0..20 {
            given.media.insert(named(kind, content), Ok(medium(kind, &content.to_string(), "x")));
        }
    }
    given
}

/// The keys of a document with one step of every model, one request each.
fn keys_of_each(text: &str, given: &RunInputs) -> Vec<ContentKey> {
    let keys = keys(text, given);
    (0..models().len())
        .map(|place| {
            let [key] = &keys[&format!("s{place}")][..] else { panic!("{text}") };
            key.clone()
        })
        .collect()
}

fn all_differ(keys: &[ContentKey]) {
    let mut sorted = keys.to_vec();
    sorted.sort();
    assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

#[test]
fn no_two_models_have_a_key_in_common() {
    let given = given();
    all_differ(&keys_of_each(
        &one_of_each(|_, model| {
            let mut params = media_of(model);
            params.insert("prompt".to_owned(), json!("a fox"));
            json!({"params": params})
        }),
        &given,
    ));
    // Each by itself: what a model is called, what it does, where it is asked.
    for model in models() {
        let params = model.resolve(json!({"prompt": "a"}).as_object().unwrap()).unwrap();
        let mut step = model.clone();
        step.step = *StepType::ALL.iter().find(|step| **step != model.step).unwrap();
        let (mut name, mut endpoint) = (model.clone(), model.clone());
        name.name.push('x');
        endpoint.endpoint.push('x');
        let keys: Vec<ContentKey> =
            [model, &step, &name, &endpoint].map(|model| content_key(&request(model, &params, 1), None)).to_vec();
        all_differ(&keys);
    }
}

#[test]
fn every_input_counts_with_its_place() {
    let given = given();
    for model in models() {
        let key = |media: &[(&str, &[usize])]| {
            let mut params = media_of(model);
            params.insert("prompt".to_owned(), json!("a fox"));
            for (name, contents) in media {
                let kind = model.media_param(name).unwrap().kind;
                params.insert((*name).to_owned(), contents.iter().map(|content| named(kind, *content)).collect());
            }
            only(
                &json!({"steps": [{"type": model.step.as_str(), "model": model.name, "params": params}]}).to_string(),
                &given,
            )
        };
        for input in &model.inputs {
            let name = input.param.as_str();
            let mut keys = vec![key(&[(name, &[1])]), key(&[(name, &[2])])];
            if input.list && input.max > 2 {
                keys.extend([key(&[(name, &[1, 2])]), key(&[(name, &[2, 1])]), key(&[(name, &[1, 1])])]);
                keys.extend([key(&[(name, &[1, 2, 3])]), key(&[(name, &[1, 3, 2])])]);
            }
            all_differ(&keys);
        }
        for pair in model.inputs.windows(2) {
            let (one, two) = (pair[0].param.as_str(), pair[1].param.as_str());
            all_differ(&[key(&[(one, &[1])]), key(&[(one, &[1]), (two, &[2])]), key(&[(one, &[2]), (two, &[1])])]);
        }
    }
}

/// Where every medium makes a part, their order is that of the parts and changes no key.
#[test]
fn the_order_of_parts_is_no_part_of_them() {
    let of = |images: &str| {
        let text = format!("steps: [{{type: image_to_video, name: a, params: {{prompt: x, image: {images}}}}}]");
        keys(&text, &given())["a"].clone()
    };
    let (one, other) = (of("[image-1.bin, image-2.bin]"), of("[image-2.bin, image-1.bin]"));
    assert_eq!([&one[0], &one[1]], [&other[1], &other[0]]);
    assert_ne!(one[0], one[1]);
}

/// The most draws that one model needs.
const DRAWS: usize = 12;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_param_of_every_model_counts(draws in draws(models().len() * DRAWS), other in draw()) {
        let given = given();
        let base: Vec<_> = models().iter().zip(draws.chunks(DRAWS)).map(|(model, draws)| params(model, draws)).collect();
        let document = |params: &[Map<String, Value>]| {
            one_of_each(|place, model| {
                let mut own = media_of(model);
                own.extend(params[place].clone());
                json!({"params": own})
            })
        };
        let before = keys_of_each(&document(&base), &given);
        all_differ(&before);
        for number in 0..models().iter().map(|model| model.params.len()).max().unwrap_or(0) {
            let mut params = base.clone();
            let mut is_changed = vec![false; params.len()];
            for (place, model) in models().iter().enumerate() {
                let Some(name) = model.params.keys().nth(number) else { continue };
                params[place] = changed(model, &base[place], name, &other).unwrap();
                is_changed[place] = true;
            }
            let after = keys_of_each(&document(&params), &given);
            for place in 0..params.len() {
                let model = &models()[place].name;
                prop_assert_eq!(
                    before[place] != after[place], is_changed[place], "{}: {:?} {:?}", model, base[place], params[place]
                );
            }
        }
    }

    #[test]
    fn every_take_counts(takes in prop::collection::btree_set(1..1_000_000_u32, 2..5)) {
        let given = given();
        let of = |take: u32| {
            let step = |_, model: &Model| {
                let mut params = media_of(model);
                params.insert("prompt".to_owned(), json!("a fox"));
                json!({"take": take, "params": params})
            };
            keys_of_each(&one_of_each(step), &given)
        };
        all_differ(&takes.into_iter().flat_map(of).collect::<Vec<_>>());
    }
}

/// One change of what a step asks for, if it is one that can be made there.
fn change(sketch: &mut Sketch, place: usize, draw: &Draw) -> bool {
    let step = &mut sketch.steps[place];
    match draw.below(4) {
        0 => step.take += 1,
        1 => {
            let Some((_, words)) = step.texts.iter_mut().next() else { return false };
            words.push(Words::Literal("!".to_owned()));
        }
        2 => {
            let media = step.media.values_mut().flatten();
            let mut given = media.filter_map(|medium| match medium {
                Medium::Given(_, content) => Some(content),
                Medium::Step(_) => None,
            });
            let Some(content) = given.next() else { return false };
            *content = (*content + 1) % 3;
        }
        _ => {
            let mut names = step.model.params.keys().filter(|name| {
                !step.texts.contains_key(*name)
                    && !step.is_text(name)
                    && step.model.output.count.as_ref() != Some(*name)
            });
            let Some(name) = names.nth(draw.below(step.model.params.len())) else { return false };
            let Some(params) = changed(step.model, &step.params, name, draw) else { return false };
            step.params = params;
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is asked for otherwise has another key, and so has everything that is made of it; nothing else has.
    #[test]
    fn a_change_reaches_what_is_made_of_it_and_no_further(
        sketch in sketches(), place in 0..8_usize, draw in draw(), seed in any::<u64>(),
    ) {
        let place = place % sketch.steps.len();
        let before = written(&sketch, &mut Rolls::new(0));
        let mut other = sketch.clone();
        prop_assume!(change(&mut other, place, &draw));
        let after = written(&other, &mut Rolls::new(seed));
        let mut reached = vec![false; sketch.steps.len()];
        reached[place] = true;
        for step in place + 1..reached.len() {
            reached[step] = sketch.steps[step].reads().any(|read| reached[read]);
        }
        for (step, (before, after)) in before.keys().into_iter().zip(after.keys()).enumerate() {
            prop_assert_eq!(before != after, reached[step], "{} of {:?}\n{:?}", step, sketch, other);
        }
    }
}
