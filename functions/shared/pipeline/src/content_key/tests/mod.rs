//! The basis of content keys, and the changes that they follow. `same` and `other` draw whole documents from the catalogue, so that a
//! model which is added is covered without a test of its own.

mod canonical;
mod other;

mod same;
mod sketch;
mod texts;
mod values;
mod writing;
mod yaml;

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::catalogue::{MediaKind, Model, StepType, find};
use crate::document::{RunInputs, check};
use crate::plan::compile;
use crate::request::StepOutputs;

/// A medium with this content. Where it lies and what it says of itself follow from a name: they are no part of a request.
fn medium(kind: MediaKind, content: &str, name: &str) -> Media {
    let sha256 = ContentKey::digest(content.as_bytes()).to_string();
    Media {
        key: format!("{}/{name}", kind.as_str()),
        kind,
        content_type: format!("{}/{}", kind.as_str(), name.len()),
        bytes: 1,
        sha256,
        width: Some(640),
        height: Some(480),
        duration_ms: None,
    }
}

/// A run with these pictures, each by its name and its content.
fn with_pictures(pictures: &[(&str, &str)]) -> RunInputs {
    let picture = |(name, content): &(&str, &str)| ((*name).to_owned(), Ok(medium(MediaKind::Image, content, name)));
    RunInputs {
        input: Some("a fox".to_owned()),
        media: pictures.iter().map(picture).collect(),
        timestamp: "2026-01-02T03:04:05Z".to_owned(),
        random: "f00d".to_owned(),
        ..RunInputs::default()
    }
}

/// The keys of a document's steps, the parts of a step in their order, by the step's name. Every step is done as soon as it
/// can be; what it gives follows from its key, so that another key is another input of those who read it.
fn keys(text: &str, given: &RunInputs) -> BTreeMap<String, Vec<ContentKey>> {
    keys_where(text, given, |key| key.to_string())
}

/// The keys as by [`keys`], with the text that a step of this key gives.
fn keys_where(
    text: &str,
    given: &RunInputs,
    says: impl Fn(&ContentKey) -> String,
) -> BTreeMap<String, Vec<ContentKey>> {
    let checked = check(text, given).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let run = RunId::parse("run-00001").unwrap();
    let mut made = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<ContentKey>> = BTreeMap::new();
    for step in compile(&checked).steps {
        let ready = step.resolve(&run, &made).unwrap().unwrap_or_else(|| panic!("{} waits\n{text}", step.name));
        let output = |n| medium(step.kind, &format!("{} {n}", ready.key), step.name.as_str());
        let media = (0..step.outputs).map(output).collect();
        made.insert(
            step.id(),
            StepOutputs { media, text: (step.kind == MediaKind::Text).then(|| says(&ready.key)), shortfall: None },
        );
        keys.entry(step.of.to_string()).or_default().push(ready.key);
    }
    keys
}

/// The key of the only request of a document with one step.
fn only(text: &str, given: &RunInputs) -> ContentKey {
    let mut keys: Vec<ContentKey> = keys(text, given).into_values().flatten().collect();
    assert_eq!(keys.len(), 1, "{text}");
    keys.remove(0)
}

fn key(model: &str, params: Value, repetition: u32) -> ContentKey {
    let model = find(StepType::TextToImage, model).unwrap();
    content_key(&request(model, &model.resolve(params.as_object().unwrap()).unwrap(), repetition), None)
}

/// A request without media.
fn request(model: &Model, params: &Map<String, Value>, repetition: u32) -> GenerationRequest {
    GenerationRequest {
        provider: model.provider,
        step: model.step,
        model: model.name.clone(),
        endpoint: model.endpoint.clone(),
        params: params.clone(),
        inputs: Vec::new(),
        repetition,
        kind: model.output.kind,
    }
}

#[test]
fn what_changes_the_request_changes_the_key_and_nothing_else_does() {
    let base = key("flux_schnell", json!({"prompt": "a", "seed": 1}), 1);
    for same in [
        json!({"seed": 1, "prompt": "a"}),
        json!({"prompt": "a", "seed": 1, "num_images": 1}),
        json!({"prompt": "a", "seed": 1, "aspect_ratio": "4:3"}),
    ] {
        assert_eq!(key("flux_schnell", same, 1), base);
    }
    for other in [
        json!({"prompt": "b", "seed": 1}),
        json!({"prompt": "a", "seed": 2}),
        json!({"prompt": "a"}),
        json!({"prompt": "a", "seed": 1, "num_images": 2}),
    ] {
        assert_ne!(key("flux_schnell", other, 1), base);
    }
    assert_ne!(key("flux_schnell", json!({"prompt": "a", "seed": 1}), 2), base);
    assert_eq!(key("nano_banana", json!({"prompt": "a"}), 1), key("nano_banana_pro", json!({"prompt": "a"}), 1));
}

/// A change of this value makes every cached result unreachable: raise [`KEY_VERSION`] on purpose, never by accident.
#[test]
fn keys_are_stable_between_releases() {
    assert_eq!(
        key("flux_schnell", json!({"prompt": "a lighthouse at dusk"}), 1).as_str(),
        "2fa5b90787c8aede964b6adcc5e1a29ef4be42ba8c0f5cf5f67c063a5fcbce4b"
    );
}

/// The same of a whole document: two inputs under their fields, a take, and the step's own key with `cache: off`.
#[test]
fn keys_with_inputs_are_stable_between_releases() {
    let given = with_pictures(&[("start.png", "the first picture"), ("end.png", "the last picture")]);
    let step = "type: image_to_video, name: a, model: kling_2_6_pro, take: 2";
    let params = "{prompt: {{input}}, image: start.png, end_image: end.png}".replace("{{input}}", "\"{{input}} runs\"");
    for (cache, pinned) in [
        ("use", "7b82f8ed5cd27ac4a5490476b62b866866011871a44fcb59c707296da1db0474"),
        ("off", "d5e4dd4c607481c7c8d10d0e363da72d16e002f23da82788c330fdc3ea909f97"),
    ] {
        let text = format!("steps: [{{{step}, cache: {cache}, params: {params}}}]");
        assert_eq!(only(&text, &given).as_str(), pinned, "{cache}");
    }
}

#[test]
fn another_version_is_another_key() {
    for model in crate::catalogue::models() {
        let params = model.resolve(json!({"prompt": "a"}).as_object().unwrap()).unwrap();
        let request = request(model, &params, 1);
        let of = |version| of_version(version, &request, None);
        assert_eq!(of(KEY_VERSION), content_key(&request, None), "{}", model.name);
        assert_ne!(of(KEY_VERSION), of(KEY_VERSION + 1), "{}", model.name);
        assert_ne!(of(KEY_VERSION + 1), of(KEY_VERSION + 2), "{}", model.name);
    }
}
