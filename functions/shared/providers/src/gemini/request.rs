//! The body of the one call, `generateContent`: the media within it, then the question. Nothing is sent that would be refused
//! for its size or its form anyway.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::request::GenerationRequest;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::submission::{InputData, Submission};

/// The longest request with media in it (Gemini docs, image understanding: 20 MB in total).
const MAX_BODY: usize = 20_000_000;

/// The model: the `engine` among the params, or else the endpoint. It becomes a segment of a path.
pub(super) fn model(request: &GenerationRequest) -> Result<&str, Failure> {
    let engine = request.params.get("engine").and_then(Value::as_str).filter(|engine| is_model(engine));
    engine
        .or(Some(request.endpoint.as_str()).filter(|endpoint| is_model(endpoint)))
        .ok_or_else(|| Failure::new(ErrorName::ProviderNotFound, "the endpoint cannot be one of Gemini's models"))
}

fn is_model(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
}

#[derive(Serialize)]
struct Body<'a> {
    contents: [Content<'a>; 1],
    #[serde(rename = "generationConfig")]
    config: Config<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Part<'a> {
    InlineData(Blob<'a>),
    Text(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    #[serde(serialize_with = "base64")]
    data: &'a [u8],
}

/// Written as it is encoded: a text of it would be another copy of a large picture.
fn base64<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(bytes, &STANDARD))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Value>,
}

/// The body for a model: the media in their order, then the prompt (Gemini docs, image understanding).
pub(super) fn body(model: &str, submission: &Submission) -> Result<Vec<u8>, Failure> {
    let refused = |message: String| Failure::new(ErrorName::ProviderRejected, message);
    let Some(prompt) = submission.request.params.get("prompt").and_then(Value::as_str) else {
        return Err(refused("there is no `prompt` to send to Gemini".to_owned()));
    };
    let mut parts = Vec::new();
    let mut length = prompt.len();
    for media in submission.request.media() {
        match submission.data(media)? {
            InputData::Bytes { content_type, bytes } => {
                length = length.saturating_add(bytes.len().div_ceil(3).saturating_mul(4));
                parts.push(Part::InlineData(Blob { mime_type: content_type, data: bytes }));
            }
            InputData::Url(_) => return Err(refused("Gemini takes media within the request, not by URL".to_owned())),
        }
    }
    let too_long =
        || refused(format!("with its media the request is longer than the {MAX_BODY} bytes that Gemini takes"));
    // Before anything is encoded, so that what is too long takes no memory.
    if length > MAX_BODY {
        return Err(too_long());
    }
    parts.push(Part::Text(prompt));
    let number = |name: &str| submission.request.params.get(name).filter(|value| value.is_number());
    let config = Config {
        temperature: number("temperature"),
        max_output_tokens: number("max_output_tokens"),
        // Thoughts are billed as output and count against its limit; a description needs none. Older models refuse the
        // setting, and the larger one of this generation refuses to go without.
        thinking_config: model.starts_with("gemini-2.5-flash").then(|| json!({"thinkingBudget": 0})),
    };
    let body = Body { contents: [Content { role: "user", parts }], config };
    let body = serde_json::to_vec(&body)
        .map_err(|_| Failure::new(ErrorName::Internal, "the request to Gemini cannot be written as JSON"))?;
    if body.len() > MAX_BODY { Err(too_long()) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fresco_pipeline::catalogue::MediaKind;

    use super::*;
    use crate::submission::tests::{field, request};

    fn submission(params: Value, media: Vec<InputData>) -> Submission {
        let keys: Vec<String> = (0..media.len()).map(|n| n.to_string()).collect();
        let mut request = request("gemini-2.5-flash", params);
        request.inputs = vec![field("image", true, &keys.iter().map(String::as_str).collect::<Vec<_>>())];
        Submission {
            request,
            media: keys.into_iter().zip(media).collect(),
            webhook_url: None,
            deadline: std::time::Duration::from_secs(60),
        }
    }

    fn image(length: usize) -> InputData {
        InputData::Bytes { content_type: "image/png".to_owned(), bytes: Bytes::from(vec![7; length]) }
    }

    #[test]
    fn the_engine_is_the_model_if_it_can_be_one() {
        for (engine, expected) in [
            (json!("gemini-2.0-flash"), "gemini-2.0-flash"),
            (json!(null), "gemini-2.5-flash"),
            (json!(7), "gemini-2.5-flash"),
            (json!(""), "gemini-2.5-flash"),
            (json!("../x"), "gemini-2.5-flash"),
            (json!("Gemini"), "gemini-2.5-flash"),
            (json!("x".repeat(65)), "gemini-2.5-flash"),
        ] {
            assert_eq!(model(&submission(json!({"engine": engine}), Vec::new()).request), Ok(expected));
        }
        let mut other = submission(json!({}), Vec::new()).request;
        for endpoint in ["", "a/b", "a?b", "a:b", "a b", "ä"] {
            other.endpoint = endpoint.to_owned();
            assert_eq!(model(&other).unwrap_err().name, ErrorName::ProviderNotFound, "{endpoint}");
        }
    }

    #[test]
    fn the_largest_input_fits_and_what_does_not_is_not_encoded() {
        let largest = usize::try_from(MediaKind::Image.max_input_bytes()).unwrap();
        let prompt = json!({"prompt": "x".repeat(8000)});
        assert!(body("m", &submission(prompt, vec![image(largest)])).is_ok());
        for (prompt, media) in [
            ("x".to_owned(), vec![image(15_000_000)]),
            ("x".to_owned(), vec![image(8_000_000), image(8_000_000)]),
            // The frame around it is what is too much.
            ("x".to_owned(), vec![image(14_999_997)]),
            // It grows as it is escaped.
            ("\"".repeat(10_000_001), Vec::new()),
        ] {
            let failure = body("m", &submission(json!({"prompt": prompt}), media)).unwrap_err();
            assert_eq!(failure.name, ErrorName::ProviderRejected);
            assert!(failure.message.contains("longer"), "{failure}");
        }
    }

    #[test]
    fn an_unsendable_request_is_refused() {
        let url = InputData::Url("https://b.example/a.png?X-Amz-Signature=secret".to_owned());
        for submission in [
            submission(json!({"prompt": "x"}), vec![url]),
            submission(json!({}), vec![image(1)]),
            submission(json!({"prompt": 7}), Vec::new()),
        ] {
            let failure = body("m", &submission).unwrap_err();
            assert_eq!(failure.name, ErrorName::ProviderRejected);
            assert!(!failure.message.contains("secret"), "{failure}");
        }
    }
}
