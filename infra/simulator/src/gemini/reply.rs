//! The answer to a call: a text that describes the images and quotes the prompt, cut at the caller's bound, and the count
//! of tokens. The same request always gets the same text.

use serde_json::{Value, json};

use super::describe_image::Description;
use super::request::GenerateRequest;
use crate::faults::Fault;

/// The tokens of an image that needs no tiles, after Google's documentation.
const IMAGE_TOKENS: usize = 258;
/// Characters of a token, by Google's rule of thumb.
const CHARACTERS: usize = 4;
/// The characters of the prompt that are quoted.
const QUOTED: usize = 200;

/// The body of the answer. The tokens that a fault leaves are counted, and Google bills them.
pub(super) fn body(
    model: &str,
    id: &str,
    request: &GenerateRequest,
    images: &[Description],
    fault: Option<&Fault>,
) -> Value {
    let text = if request.wants_json { as_json(request, images) } else { as_text(request, images) };
    let limit = match fault {
        Some(Fault::MaxTokens { characters } | Fault::Safety { characters, .. }) => Some(*characters),
        Some(Fault::Empty | Fault::Blocked { .. }) => Some(0),
        _ => request.max_output_tokens.map(|tokens| tokens.saturating_mul(CHARACTERS)),
    };
    let kept: String = text.chars().take(limit.unwrap_or(usize::MAX)).collect();
    let is_cut = kept.len() < text.len() || matches!(fault, Some(Fault::MaxTokens { .. }));
    let mut body = json!({ "usageMetadata": usage(request, images, &kept), "modelVersion": model, "responseId": id });
    match fault {
        Some(Fault::Blocked { reason }) => {
            body["promptFeedback"] = json!({ "blockReason": reason, "safetyRatings": [] });
        }
        Some(Fault::Safety { reason, .. }) => {
            let rating =
                json!({ "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true });
            let mut candidate = json!({ "finishReason": reason, "index": 0, "safetyRatings": [rating] });
            if !kept.is_empty() {
                candidate["content"] = json!({ "parts": [{ "text": kept }], "role": "model" });
            }
            body["candidates"] = json!([candidate]);
        }
        fault => {
            let content = match kept.is_empty() {
                true => json!({ "role": "model" }),
                false => json!({ "parts": [{ "text": kept }], "role": "model" }),
            };
            let reason = if is_cut && fault != Some(&Fault::Empty) { "MAX_TOKENS" } else { "STOP" };
            body["candidates"] = json!([{ "content": content, "finishReason": reason, "index": 0 }]);
        }
    }
    body
}

fn usage(request: &GenerateRequest, images: &[Description], text: &str) -> Value {
    let (of_images, of_texts) = (IMAGE_TOKENS * images.len(), request.characters.div_ceil(CHARACTERS));
    let tokens = text.chars().count().div_ceil(CHARACTERS);
    let mut details = vec![json!({ "modality": "TEXT", "tokenCount": of_texts })];
    if !images.is_empty() {
        details.push(json!({ "modality": "IMAGE", "tokenCount": of_images }));
    }
    let mut usage = json!({
        "promptTokenCount": of_images + of_texts,
        "totalTokenCount": of_images + of_texts + tokens,
        "promptTokensDetails": details,
    });
    if tokens > 0 {
        usage["candidatesTokenCount"] = json!(tokens);
        usage["candidatesTokensDetails"] = json!([{ "modality": "TEXT", "tokenCount": tokens }]);
    }
    usage
}

fn quoted(request: &GenerateRequest) -> String {
    let prompt = request.prompt().unwrap_or_default();
    let mut start: String = prompt.chars().take(QUOTED).collect();
    if prompt.chars().count() > QUOTED {
        start.push('…');
    }
    start
}

fn as_text(request: &GenerateRequest, images: &[Description]) -> String {
    let mut sentences: Vec<String> = images
        .iter()
        .map(|Description { width, height, format, colour, hash }| {
            format!("A {format} image of {width}x{height} pixels, mostly {colour} (sha256 {hash}).")
        })
        .collect();
    if sentences.is_empty() {
        sentences.push("No image was given.".to_owned());
    }
    sentences.push(match request.prompt() {
        Some(_) => format!("Asked was: \"{}\".", quoted(request)),
        None => "Nothing was asked of it.".to_owned(),
    });
    sentences.join(" ")
}

fn as_json(request: &GenerateRequest, images: &[Description]) -> String {
    let pictures: Vec<Value> = images
        .iter()
        .map(|picture| {
            json!({ "width": picture.width, "height": picture.height, "format": picture.format,
                "dominant_colour": picture.colour, "sha256": picture.hash })
        })
        .collect();
    json!({ "images": pictures, "asked": quoted(request) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> GenerateRequest {
        GenerateRequest::read(body.to_string().as_bytes()).unwrap()
    }

    fn images() -> Description {
        Description { width: 64, height: 48, format: "PNG", colour: "blue", hash: "0123abcd".into() }
    }

    #[test]
    fn the_text_describes_the_image_and_quotes_the_prompt() {
        let request = request(json!({ "contents": [{ "parts": [{ "text": "What is this?" }] }] }));
        let body = body("gemini-2.0-flash", "id", &request, &[images()], None);
        assert_eq!(
            body["candidates"][0]["content"]["parts"][0]["text"],
            "A PNG image of 64x48 pixels, mostly blue (sha256 0123abcd). Asked was: \"What is this?\"."
        );
        assert_eq!(body["usageMetadata"]["promptTokenCount"], 258 + 4);
    }

    #[test]
    fn a_text_beyond_the_bound_is_cut_and_marked() {
        let request = request(json!({ "contents": [{ "parts": [{ "text": "x".repeat(900) }] }],
            "generationConfig": { "maxOutputTokens": 5 } }));
        let body = body("gemini-2.0-flash", "id", &request, &[images()], None);
        assert_eq!(body["candidates"][0]["content"]["parts"][0]["text"], "A PNG image of 64x48");
        assert_eq!(body["candidates"][0]["finishReason"], "MAX_TOKENS");
        assert_eq!(body["usageMetadata"]["candidatesTokenCount"], 5);
    }
}
