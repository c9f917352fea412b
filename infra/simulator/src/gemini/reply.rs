//! The answer to a call: a text that describes the images and quotes the prompt, cut at the caller's bound, and the count
//! of tokens. The same request always gets the same text.

use serde_json::{Value, json};

use super::describe_image::Description;
use super::request::GenerateRequest;
use crate::faults::Fault;

/// The tokens of an image that needs no tiles, after Google's documentation.
const PICTURE_TOKENS: usize = 258;
/// Characters of a token, by Google's rule of thumb.
const CHARACTERS: usize = 4;
/// The characters of the prompt that are quoted.
const QUOTED: usize = 200;

/// The whole body.
pub(super) fn body(model: &str, id: &str, request: &GenerateRequest, images: &[Description]) -> Value {
    let mut text = if request.wants_json { as_json(request, images) } else { as_text(request, images) };
    let mut finish = "STOP";
    if let Some(most) = request.max_output_tokens
        && text.chars().count() > most.saturating_mul(CHARACTERS)
    {
        text = text.chars().take(most * CHARACTERS).collect();
        finish = "MAX_TOKENS";
    }
    let (pictures, words) = (PICTURE_TOKENS * images.len(), request.characters.div_ceil(CHARACTERS));
    let candidate = text.chars().count().div_ceil(CHARACTERS);
    let mut details = vec![json!({ "modality": "TEXT", "tokenCount": words })];
    if !images.is_empty() {
        details.push(json!({ "modality": "IMAGE", "tokenCount": pictures }));
    }
    json!({
        "candidates": [{
            "content": { "parts": [{ "text": text }], "role": "model" },
            "finishReason": finish,
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": pictures + words,
            "candidatesTokenCount": candidate,
            "totalTokenCount": pictures + words + candidate,
            "promptTokensDetails": details,
            "candidatesTokensDetails": [{ "modality": "TEXT", "tokenCount": candidate }],
        },
        "modelVersion": model,
        "responseId": id,
    })
}

/// Applies a fault to a body. The tokens that remain are counted, and Google bills them.
pub(super) fn apply(body: &mut Value, fault: &Fault) {
    let candidate = match fault {
        Fault::Blocked { reason } => {
            body["promptFeedback"] = json!({ "blockReason": reason, "safetyRatings": [] });
            if let Some(body) = body.as_object_mut() {
                body.remove("candidates");
            }
            None
        }
        Fault::Safety => Some(json!({ "finishReason": "SAFETY", "index": 0, "safetyRatings": [
            { "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true }] })),
        Fault::Empty => Some(json!({ "content": { "role": "model" }, "finishReason": "STOP", "index": 0 })),
        Fault::MaxTokens { characters } => {
            let text = body.pointer("/candidates/0/content/parts/0/text").and_then(Value::as_str).unwrap_or_default();
            let text: String = text.chars().take(*characters).collect();
            let content = match text.is_empty() {
                true => json!({ "role": "model" }),
                false => json!({ "parts": [{ "text": text }], "role": "model" }),
            };
            let tokens = text.chars().count().div_ceil(CHARACTERS);
            count_tokens(body, tokens);
            body["candidates"] = json!([{ "content": content, "finishReason": "MAX_TOKENS", "index": 0 }]);
            return;
        }
        _ => return,
    };
    if let Some(candidate) = candidate {
        body["candidates"] = json!([candidate]);
    }
    count_tokens(body, 0);
}

/// Corrects the usage of a shortened answer.
fn count_tokens(body: &mut Value, candidate: usize) {
    let prompt = body.pointer("/usageMetadata/promptTokenCount").and_then(Value::as_u64).unwrap_or_default();
    body["usageMetadata"]["totalTokenCount"] = json!(prompt + candidate as u64);
    if let Some(usage) = body["usageMetadata"].as_object_mut() {
        match candidate {
            0 => {
                usage.remove("candidatesTokenCount");
                usage.remove("candidatesTokensDetails");
            }
            _ => {
                usage.insert("candidatesTokenCount".to_owned(), json!(candidate));
                usage.insert(
                    "candidatesTokensDetails".to_owned(),
                    json!([{ "modality": "TEXT", "tokenCount": candidate }]),
                );
            }
        }
    }
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
        .map(|picture| {
            let Description { width, height, format, colour, hash } = picture;
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
        let body = body("gemini-2.0-flash", "id", &request, &[images()]);
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
        let body = body("gemini-2.0-flash", "id", &request, &[images()]);
        assert_eq!(body["candidates"][0]["content"]["parts"][0]["text"], "A PNG image of 64x48");
        assert_eq!(body["candidates"][0]["finishReason"], "MAX_TOKENS");
        assert_eq!(body["usageMetadata"]["candidatesTokenCount"], 5);
    }
}
