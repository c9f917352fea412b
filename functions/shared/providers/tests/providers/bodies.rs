//! The requests of every model as they go over the wire, beside their content keys. A request that changes under the same key would be
//! answered with results of the old one.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_pipeline::catalogue::{Model, Param, ParamKind, ProviderName, models};
use fresco_pipeline::content_key::{KEY_VERSION, content_key};
use fresco_pipeline::request::GenerationRequest;
use fresco_providers::gemini::{Gemini, GeminiConfig};
use fresco_providers::{InputData, Provider, Submission};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::catalogue::minimal;
use super::script::{Script, answer};
use super::{add_media, fal, keys, request};

/// The requests as they are known, by model.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers/requests.json");
const WRITE: &str =
    "FRESCO_WRITE_PAGES=1 cargo test -p fresco-providers --test providers requests_json writes the file";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    key_version: u32,
    requests: BTreeMap<String, Sent>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sent {
    /// The content key.
    key: String,
    /// Method and path.
    to: String,
    body: Value,
}

/// Returns the requests that have changed under the same key.
fn changed_under_their_keys<'n>(known: &Known, now: &'n Known) -> Vec<&'n str> {
    let by_key: BTreeMap<&str, &Sent> = known.requests.values().map(|sent| (sent.key.as_str(), sent)).collect();
    let changed = |sent: &Sent| by_key.get(sent.key.as_str()).is_some_and(|known| *known != sent);
    now.requests.iter().filter(|(_, sent)| changed(sent)).map(|(name, _)| name.as_str()).collect()
}

/// A value that is not the default, if there is another.
fn sample(param: &Param) -> Value {
    match &param.kind {
        ParamKind::Text { .. } => json!("a fox"),
        ParamKind::Integer { max, .. } => json!(max),
        ParamKind::Number { max, .. } => json!(max),
        ParamKind::Boolean => json!(param.default != Some(json!(true))),
        ParamKind::Choice { values } => {
            json!(values.iter().rev().find(|value| param.default.as_ref() != Some(&json!(value))).unwrap_or(&values[0]))
        }
        ParamKind::IntegerChoice { values } => {
            json!(values.iter().rev().find(|value| param.default.as_ref() != Some(&json!(value))).unwrap_or(&values[0]))
        }
        ParamKind::ImageSize => json!({"width": 640, "height": 480}),
    }
}

/// Every param, of two that say the same to the provider the first.
fn all_params(model: &Model) -> Map<String, Value> {
    let mut fields = BTreeMap::new();
    for (name, param) in &model.params {
        fields.entry(param.to.as_deref().unwrap_or(name)).or_insert((name, param));
    }
    fields.into_values().map(|(name, param)| (name.clone(), sample(param))).collect()
}

/// A submission with these params, and with so many media for each input, as far as it takes them.
fn submission(model: &Model, given: &Map<String, Value>, media: impl Fn(bool, usize) -> usize) -> Submission {
    let params = model.resolve(given).unwrap_or_else(|problems| panic!("{}: {problems:?}", model.name));
    let mut submission = Submission {
        request: GenerationRequest {
            provider: model.provider,
            step: model.step,
            model: model.name.clone(),
            params,
            kind: model.output.kind,
            ..request(&model.endpoint, json!({}))
        },
        media: BTreeMap::new(),
        webhook_url: None,
        deadline: std::time::Duration::from_secs(60),
    };
    for input in &model.inputs {
        let count = media(input.required, input.max as usize);
        let medium = |n| match model.provider {
            ProviderName::Fal => InputData::Url(format!("https://inputs.test/{n}.png")),
            ProviderName::Gemini => {
                InputData::Bytes { content_type: "image/png".to_owned(), bytes: Bytes::from(vec![7; n + 1]) }
            }
        };
        add_media(&mut submission, &input.to, input.list, (0..count).map(medium).collect());
    }
    submission.request.inputs.retain(|field| !field.media.is_empty());
    submission
}

/// Sends a submission, and returns what went over the wire.
async fn sent(submission: &Submission) -> Sent {
    let script = Script::start(vec![answer(200, &[], r#"{"request_id":"r-1"}"#)]).await;
    match submission.request.provider {
        ProviderName::Fal => drop(fal(&script.base).submit(submission).await),
        ProviderName::Gemini => {
            let config = GeminiConfig { url: script.base.clone(), key_name: "/fresco/gemini-key".to_owned() };
            // The answer is none of Gemini's; the request is what counts.
            drop(Gemini::new(config, keys("secret")).unwrap().submit(submission).await);
        }
    }
    let asked = script.asked();
    let [asked] = asked.as_slice() else { panic!("{}: {} requests", submission.request.model, asked.len()) };
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    Sent {
        key: content_key(&submission.request, None).to_string(),
        to: head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned(),
        body: serde_json::from_str(body).unwrap(),
    }
}

#[tokio::test]
async fn requests_json_is_up_to_date_and_no_request_changes_under_its_key() {
    let mut now = Known { key_version: KEY_VERSION, requests: BTreeMap::new() };
    for model in models() {
        let name = format!("{} {}", model.step.as_str(), model.name);
        let least = submission(model, &minimal(model), |required, _| usize::from(required));
        let most = submission(model, &all_params(model), |_, most| most.min(2));
        now.requests.insert(format!("{name}, the least"), sent(&least).await);
        now.requests.insert(format!("{name}, all params"), sent(&most).await);
    }
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    let known = serde_json::from_str(&text).unwrap_or(Known { key_version: 0, requests: BTreeMap::new() });
    let changed = changed_under_their_keys(&known, &now);
    assert!(
        changed.is_empty(),
        "these requests have changed and their content keys have not, so that results of the old ones would be found for them: \
         {changed:?}. Raise KEY_VERSION in functions/shared/pipeline/src/content_key.rs; then {WRITE}."
    );
    if std::env::var_os("FRESCO_WRITE_PAGES").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
        return;
    }
    assert!(known == now, "models, params or KEY_VERSION have changed; {WRITE}");
}

#[test]
fn a_changed_request_needs_a_changed_key() {
    let known = |key: &str, body: Value| {
        let sent = Sent { key: key.to_owned(), to: "POST /a".to_owned(), body };
        Known { key_version: 1, requests: [("a".to_owned(), sent)].into() }
    };
    let before = known("k1", json!({"prompt": "a"}));
    assert_eq!(changed_under_their_keys(&before, &before), Vec::<&str>::new());
    assert_eq!(changed_under_their_keys(&before, &known("k1", json!({"prompt": "a", "mode": "fast"}))), ["a"]);
    assert_eq!(
        changed_under_their_keys(&before, &known("k2", json!({"prompt": "a", "mode": "fast"}))),
        Vec::<&str>::new()
    );
}
