//! The catalogue against the simulator: every model goes the whole way, and every value that the catalogue allows is one
//! that the endpoint takes. The two tables are written apart from each other, so a slip in either shows here.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_pipeline::catalogue::{
    IMAGE_SIDES, MediaKind, Model, Param, ParamKind, PriceUnit, ProviderName, StepType, find, image_size_names, models,
};
use fresco_pipeline::inspection::MediaInfo;
use fresco_pipeline::media::FieldMedia;
use fresco_pipeline::money::Money;
use fresco_pipeline::request::GenerationRequest;
use fresco_providers::fal::Fal;
use fresco_providers::gemini::{Gemini, GeminiConfig};
use fresco_providers::{Accepted, InputData, JobReport, Provider, RemoteMedia, Submission};
use fresco_simulator::Running;
use serde_json::{Map, Value, json};

use super::simulator::{accepted, downloaded, end_of, fal, now_ms, start};
use super::{add_media, keys, object, params, request, set_media};

/// The rounding of a length by a player, in milliseconds.
const ROUNDING_MS: u64 = 50;

/// The least that a document has to say.
pub(super) fn minimal(model: &Model) -> Map<String, Value> {
    let required = model.params.iter().filter(|(_, param)| param.required);
    required
        .map(|(name, param)| match param.kind {
            ParamKind::Text { .. } => (name.clone(), json!("a fox")),
            _ => panic!("{}: a required `{name}` that is no text", model.name),
        })
        .collect()
}

fn submission(model: &Model, given: &Map<String, Value>, medium: &InputData) -> Submission {
    let mut submission = Submission {
        request: GenerationRequest {
            params: model.resolve(given).unwrap_or_else(|problems| panic!("{}: {problems:?}", model.name)),
            ..request(&model.endpoint, json!({}))
        },
        media: BTreeMap::new(),
        webhook_url: None,
        deadline: std::time::Duration::from_secs(60),
    };
    for input in &model.inputs {
        let media = if input.required { vec![medium.clone()] } else { Vec::new() };
        add_media(&mut submission, &input.to, input.list, media);
    }
    submission
}

async fn ended(fal: &Fal, submission: &Submission) -> JobReport {
    let id = accepted(fal, submission).await;
    end_of(fal, &submission.request.endpoint, &id).await
}

fn gemini(simulator: &Running) -> Gemini {
    let config = GeminiConfig { url: simulator.gemini_url(), key_name: "/fresco/gemini-key".to_owned() };
    Gemini::new(config, keys(simulator.gemini_key())).unwrap()
}

fn of(provider: ProviderName) -> impl Iterator<Item = &'static Model> {
    models().iter().filter(move |model| model.provider == provider)
}

/// A picture that the simulator serves: what the quickest model made in this size.
async fn picture(simulator: &Running, fal: &Fal, size: Value) -> (RemoteMedia, MediaInfo, Bytes) {
    let model = find(StepType::TextToImage, "flux_schnell").unwrap();
    let given = params(json!({"prompt": "a lighthouse", "image_size": size, "output_format": "png"}));
    let report = ended(fal, &submission(model, &given, &InputData::Url(String::new()))).await;
    let JobReport::Succeeded { mut media, .. } = report else { panic!("{report:?}") };
    let media = media.remove(0);
    let (info, bytes) = downloaded(simulator, &media, MediaKind::Image).await;
    (media, info, bytes)
}

/// The simulator's list prices of these endpoints: micro-dollars of a unit, and the unit.
async fn list_prices(simulator: &Running, endpoints: &[&str]) -> BTreeMap<String, (f64, String)> {
    let url = format!("{}/v1/models/pricing?endpoint_id={}", simulator.fal_api_url(), endpoints.join(","));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = client.get(url).header("authorization", format!("Key {}", simulator.fal_key()));
    let answer: Value = asked.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let price = |price: &Value| {
        let text = |field: &str| price[field].as_str().unwrap().to_owned();
        (text("endpoint_id"), (price["unit_price"].as_f64().unwrap() * 1e6, text("unit")))
    };
    answer["prices"].as_array().unwrap().iter().map(price).collect()
}

fn billed_units(simulator: &Running, endpoint: &str) -> f64 {
    simulator.counters().by_endpoint.get(endpoint).map_or(0.0, |own| own.billable_units)
}

#[tokio::test]
async fn every_model_of_fal_goes_the_whole_way() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    let endpoints: Vec<&str> = of(ProviderName::Fal).map(|model| model.endpoint.as_str()).collect();
    let prices = list_prices(&simulator, &endpoints).await;
    // No whole megapixel and no square, so that neither rounding nor a swap of the sides is hidden.
    let (input, size, _) = picture(&simulator, &fal, json!({"width": 1280, "height": 832})).await;
    let pixels = (size.width, size.height);
    let input = InputData::Url(input.url);
    for model in of(ProviderName::Fal) {
        let name = &model.name;
        let submission = submission(model, &minimal(model), &input);
        let before = billed_units(&simulator, &model.endpoint);
        let report = ended(&fal, &submission).await;
        let JobReport::Succeeded { media, billable_units: Some(units), .. } = report else {
            panic!("{name}: {report:?}")
        };
        assert_eq!(media.len(), model.output_count(&submission.request.params) as usize, "{name}");
        assert_eq!(billed_units(&simulator, &model.endpoint) - before, units, "{name}");
        for media in &media {
            let (info, bytes) = downloaded(&simulator, media, model.output.kind).await;
            let what = format!("{name}: {info:?}");
            assert_eq!(media.content_type.as_deref(), Some(info.content_type), "{what}");
            assert!(info.bytes == bytes.len() as u64 && info.width > 0 && info.height > 0, "{what}");
            assert!(media.width.is_none_or(|width| width == info.width), "{what}");
            assert!(media.height.is_none_or(|height| height == info.height), "{what}");
            let asked = match model.output.kind {
                MediaKind::Video => Some(seconds(&submission.request.params["duration"]) * 1000),
                _ => None,
            };
            match (info.duration_ms, asked) {
                (None, None) => {}
                (Some(lasts), Some(asked)) => assert!(lasts.abs_diff(asked) <= ROUNDING_MS, "{what}"),
                _ => panic!("{what}"),
            }
        }
        let (list, unit) = &prices[&model.endpoint];
        let unit_of_catalogue = match model.price.unit {
            PriceUnit::Image => "images",
            PriceUnit::Megapixel | PriceUnit::UpscaledMegapixel => "megapixels",
            PriceUnit::Second => "seconds",
            PriceUnit::Token => panic!("{name}: fal bills no tokens"),
        };
        assert_eq!(unit, unit_of_catalogue, "{name}");
        let billed = Money::micros((units * list).round() as i64);
        let bound = model.price_of(&submission.request.params, &[Some(pixels)]);
        assert!(bound >= billed, "{name}: {bound} < {billed}");
    }
    let counters = simulator.counters();
    assert_eq!(counters.failures, 0);
    assert_eq!(counters.billed_completions, endpoints.len() as u64 + 1);
}

/// A length as it is sent: a text to some, a number to others.
fn seconds(duration: &Value) -> u64 {
    duration.as_u64().or_else(|| duration.as_str()?.parse().ok()).unwrap()
}

#[tokio::test]
async fn every_model_of_gemini_goes_the_whole_way() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    let (_, info, bytes) = picture(&simulator, &fal, json!({"width": 320, "height": 192})).await;
    let medium = InputData::Bytes { content_type: info.content_type.to_owned(), bytes };
    let gemini = gemini(&simulator);
    for model in of(ProviderName::Gemini) {
        let name = &model.name;
        let most = model.inputs[0].max as usize;
        for count in [1, most] {
            let mut submission = submission(model, &minimal(model), &medium);
            set_media(&mut submission, 0, vec![medium.clone(); count]);
            let answer = gemini.submit(&submission).await.unwrap();
            let Accepted::Done(JobReport::TextOutput { text, input_tokens, output_tokens, .. }) = answer else {
                panic!("{name}: {answer:?}")
            };
            assert_eq!(text.matches("320x192").count(), count, "{name}: {text}");
            let (Some(input), Some(output)) = (input_tokens, output_tokens) else { panic!("{name}: no tokens") };
            assert!(input > 0 && output > 0, "{name}");
            let billed = model.price.of_tokens(input, output);
            let bound = model.price_of(&submission.request.params, &vec![None; count]);
            assert!(bound >= billed, "{name}: {bound} < {billed} for {count} pictures");
        }
    }
}

/// Every value of a closed list, and the ends of what is a range.
fn values(param: &Param) -> Vec<Value> {
    match &param.kind {
        ParamKind::Choice { values } => values.iter().map(|value| json!(value)).collect(),
        ParamKind::IntegerChoice { values } => values.iter().map(|value| json!(value)).collect(),
        ParamKind::Boolean => vec![json!(false), json!(true)],
        ParamKind::Integer { min, max } => vec![json!(min), json!(max)],
        ParamKind::Number { min, max } => vec![json!(min), json!(max)],
        ParamKind::Text { max_chars, blank } => {
            let longest = json!("x".repeat(*max_chars));
            if *blank { vec![json!(""), longest] } else { vec![longest] }
        }
        ParamKind::ImageSize => {
            let own = [*IMAGE_SIDES.start(), *IMAGE_SIDES.end()].map(|side| json!({"width": side, "height": side}));
            image_size_names().map(Value::from).chain(own).collect()
        }
    }
}

/// The params beside the minimum, one at a time.
fn variants(model: &Model) -> impl Iterator<Item = Map<String, Value>> + '_ {
    model.params.iter().flat_map(|(name, param)| values(param).into_iter().map(move |value| (name, param, value))).map(
        |(name, param, value)| {
            let mut given = minimal(model);
            // `question` is another name for a `prompt` that has to be given.
            if let Some(to) = &param.to {
                given.remove(to);
            }
            given.insert(name.clone(), value);
            given
        },
    )
}

#[tokio::test]
async fn every_allowed_value_is_taken() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    let gemini = gemini(&simulator);
    let (input, info, bytes) = picture(&simulator, &fal, json!({"width": 64, "height": 64})).await;
    let url = InputData::Url(input.url);
    let bytes = InputData::Bytes { content_type: info.content_type.to_owned(), bytes };
    let mut refused = Vec::new();
    for model in models() {
        for given in variants(model) {
            let report = match model.provider {
                ProviderName::Fal => ended(&fal, &submission(model, &given, &url)).await,
                ProviderName::Gemini => match gemini.submit(&submission(model, &given, &bytes)).await {
                    Ok(Accepted::Done(report)) => report,
                    other => panic!("{}: {given:?}: {other:?}", model.name),
                },
            };
            match report {
                JobReport::Succeeded { .. } | JobReport::TextOutput { .. } => {}
                other => refused.push(format!("{}: {:.200}: {other:?}", model.name, Value::Object(given).to_string())),
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// An endpoint ignores fields that it does not know, so a misspelt one would pass unseen. A value that no field can have
/// distinguishes them.
#[tokio::test]
async fn every_field_is_one_that_the_endpoint_knows() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    let (input, ..) = picture(&simulator, &fal, json!({"width": 64, "height": 64})).await;
    let medium = InputData::Url(input.url);
    for model in of(ProviderName::Fal) {
        let sound = submission(model, &minimal(model), &medium);
        let params = model.params.iter().map(|(name, param)| param.to.as_ref().unwrap_or(name));
        for field in params.chain(model.inputs.iter().map(|input| &input.to)) {
            let mut submission = sound.clone();
            submission.request.inputs.retain(|input| input.to != *field);
            submission.request.params.insert(field.clone(), json!([[]]));
            let JobReport::Failed { failure, billed: false } = ended(&fal, &submission).await else {
                panic!("{} does not know `{field}`", model.endpoint)
            };
            assert!(failure.message.contains(&format!("body.{field}")), "{}: {field}: {failure}", model.endpoint);
        }
        for input in model.inputs.iter().filter(|input| input.required) {
            let mut submission = sound.clone();
            submission.request.inputs.retain(|given| given.to != input.to);
            let JobReport::Failed { failure, .. } = ended(&fal, &submission).await else {
                panic!("{} does without `{}`", model.endpoint, input.to)
            };
            assert!(failure.message.contains(&format!("missing at body.{}", input.to)), "{failure}");
        }
    }
}

#[tokio::test]
async fn inputs_that_are_not_required_and_as_many_as_allowed_are_taken() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    let (input, ..) = picture(&simulator, &fal, json!({"width": 64, "height": 64})).await;
    let medium = InputData::Url(input.url);
    for model in of(ProviderName::Fal).filter(|model| !model.inputs.is_empty()) {
        let mut submission = submission(model, &minimal(model), &medium);
        for (n, param) in model.inputs.iter().enumerate() {
            set_media(&mut submission, n, vec![medium.clone(); param.max as usize]);
        }
        let report = ended(&fal, &submission).await;
        assert!(matches!(report, JobReport::Succeeded { .. }), "{}: {report:?}", model.name);
        let fields: u32 = model.inputs.iter().map(|input| input.max).sum();
        assert_eq!(simulator.requests().last().map(|request| request.inputs), Some(fields as usize), "{}", model.name);
    }
}

#[tokio::test]
async fn a_job_with_presigned_inputs_is_found_by_their_keys() {
    // Nothing begins, so no input is fetched: the addresses lead nowhere.
    let simulator = start(0.0, 0).await;
    let fal = fal(&simulator, simulator.fal_key());
    let begin = now_ms() - 1000;
    let signed = |key: &str, signature: &str| {
        let query = format!("X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Signature={signature}");
        InputData::Url(format!("http://127.0.0.1:9/bucket/{}?{query}", key.replace(' ', "%20")))
    };
    let (one, other) = ("inputs/image/a b.png", "inputs/image/c.png");
    let single = find(StepType::ImageToVideo, "kling_2_6_pro").unwrap();
    let many = find(StepType::ImageToImage, "nano_banana_pro_edit").unwrap();
    let order = async |model: &Model, media: Vec<Vec<InputData>>| {
        let mut submission = submission(model, &minimal(model), &signed(one, "0"));
        for (n, media) in media.into_iter().enumerate() {
            set_media(&mut submission, n, media);
        }
        accepted(&fal, &submission).await
    };
    let seek = async |model: &Model, keys: &[&[&str]]| {
        let inputs = model.inputs.iter().zip(keys).map(|(input, keys)| FieldMedia {
            to: input.to.clone(),
            list: input.list,
            media: keys.iter().map(|key| object(key)).collect(),
        });
        let wanted = GenerationRequest {
            params: model.resolve(&minimal(model)).unwrap(),
            inputs: inputs.collect(),
            ..request(&model.endpoint, json!({}))
        };
        let found = fal.find(&wanted, begin).await.unwrap();
        found.into_iter().map(|job| job.request_id).collect::<Vec<_>>()
    };
    let start_only = order(single, vec![vec![signed(one, "1")], vec![]]).await;
    let with_end = order(single, vec![vec![signed(one, "2")], vec![signed(other, "3")]]).await;
    let pair = order(many, vec![vec![signed(one, "4"), signed(other, "5")]]).await;
    assert_eq!(seek(single, &[&[one], &[]]).await, [start_only]);
    assert_eq!(seek(single, &[&[one], &[other]]).await, [with_end]);
    assert_eq!(seek(single, &[&[other], &[]]).await, [""; 0]);
    assert_eq!(seek(many, &[&[one, other]]).await, [pair]);
    assert_eq!(seek(many, &[&[other, one]]).await, [""; 0]);
    assert_eq!(seek(many, &[&[one]]).await, [""; 0]);
}
