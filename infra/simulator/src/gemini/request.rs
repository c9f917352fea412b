//! The body of a call: contents with texts and inline images, and the generation settings that the simulator honours.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use super::refusal::Refusal;
use super::schema::SCHEMA;

/// The image types that are accepted. HEIC and HEIF, which Gemini accepts too, cannot be decoded here.
const TYPES: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

/// The part of a call that the answer depends on.
#[derive(Debug, Default)]
pub(super) struct GenerateRequest {
    /// The texts of the last turn.
    texts: Vec<String>,
    /// The characters of all texts, those of earlier turns and of the system instruction included.
    pub(super) characters: usize,
    /// The bytes of all images, in order.
    pub(super) images: Vec<Vec<u8>>,
    pub(super) wants_json: bool,
    pub(super) max_output_tokens: Option<usize>,
}

/// A member in lower camel case or in snake case.
fn member<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake)).filter(|value| !value.is_null())
}

impl GenerateRequest {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?;
        SCHEMA.check(&body)?;
        let contents = match body.get("contents") {
            Some(Value::Array(contents)) if !contents.is_empty() => contents.as_slice(),
            Some(content @ Value::Object(_)) => std::slice::from_ref(content),
            _ => return Err(Refusal::invalid("* GenerateContentRequest.contents: contents is not specified")),
        };
        let mut request = Self::default();
        for content in contents {
            request.texts.clear();
            request.parts(content)?;
        }
        if request.characters == 0 && request.images.is_empty() {
            return Err(Refusal::invalid("* GenerateContentRequest.contents.parts: contents.parts must not be empty."));
        }
        if let Some(parts) = member(&body, "systemInstruction", "system_instruction") {
            let texts = parts.get("parts").and_then(Value::as_array).into_iter().flatten();
            let texts = texts.filter_map(|part| part.get("text").and_then(Value::as_str));
            request.characters += texts.map(|text| text.chars().count()).sum::<usize>();
        }
        if let Some(config) = member(&body, "generationConfig", "generation_config") {
            request.settings(config)?;
        }
        Ok(request)
    }

    fn parts(&mut self, content: &Value) -> Result<(), Refusal> {
        for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
            if let Some(text) = part.get("text").and_then(Value::as_str) {
                self.characters += text.chars().count();
                self.texts.push(text.to_owned());
            } else if let Some(data) = member(part, "inlineData", "inline_data") {
                self.images.push(inline(data)?);
            } else if let Some(file) = member(part, "fileData", "file_data") {
                let address = member(file, "fileUri", "file_uri").and_then(Value::as_str).unwrap_or_default();
                let name = address.rsplit('/').next().unwrap_or_default();
                // There is no Files API here, so no file of this account exists.
                let message = format!("You do not have permission to access the File {name} or it may not exist.");
                return Err(Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message));
            } else {
                return Err(Refusal::invalid(
                    "* GenerateContentRequest.contents.parts.data: field 'data' must have one initialized field",
                ));
            }
        }
        Ok(())
    }

    fn settings(&mut self, config: &Value) -> Result<(), Refusal> {
        match member(config, "responseMimeType", "response_mime_type").map(|kind| kind.as_str()) {
            None | Some(Some("text/plain")) => {}
            Some(Some("application/json")) => self.wants_json = true,
            Some(_) => {
                let message = "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are \
                               `text/plain`, `application/json`.";
                return Err(Refusal::invalid(message));
            }
        }
        if let Some(most) = member(config, "maxOutputTokens", "max_output_tokens") {
            let most = most.as_u64().filter(|most| *most > 0);
            let most = most.ok_or_else(|| {
                Refusal::invalid("* GenerateContentRequest.generation_config.max_output_tokens: must be positive.")
            })?;
            self.max_output_tokens = Some(usize::try_from(most).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// The texts of the last turn, one a line.
    pub(super) fn prompt(&self) -> Option<String> {
        (!self.texts.is_empty()).then(|| self.texts.join("\n"))
    }
}

fn inline(data: &Value) -> Result<Vec<u8>, Refusal> {
    let kind = member(data, "mimeType", "mime_type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        return Err(Refusal::invalid(format!("Unsupported MIME type: {kind}")));
    }
    let text = data.get("data").and_then(Value::as_str).unwrap_or_default();
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    match bytes {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Refusal::invalid(
            "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<GenerateRequest, Refusal> {
        GenerateRequest::read(body.to_string().as_bytes())
    }

    #[test]
    fn both_spellings_are_accepted() {
        let camel = json!({ "contents": [{ "parts": [{ "inlineData": { "mimeType": "image/png", "data": "aGk=" } },
            { "text": "What?" }] }],
            "generationConfig": { "maxOutputTokens": 9, "responseMimeType": "application/json" } });
        let snake = json!({ "contents": { "parts": [{ "inline_data": { "mime_type": "image/png", "data": "aGk=" } },
            { "text": "What?" }] }, "generation_config": { "max_output_tokens": 9,
            "response_mime_type": "application/json" } });
        for body in [camel, snake] {
            let request = read(body).unwrap();
            assert_eq!((request.prompt().as_deref(), request.characters), (Some("What?"), 5));
            assert_eq!((request.images.as_slice(), request.max_output_tokens), ([b"hi".to_vec()].as_slice(), Some(9)));
            assert!(request.wants_json);
        }
    }

    #[test]
    fn the_prompt_is_the_last_turn_and_the_characters_are_those_of_all_turns() {
        let body = json!({
            "contents": [{ "parts": [{ "text": "one" }] }, { "parts": [{ "text": "two" }, { "text": "three" }] }],
            "systemInstruction": { "parts": [{ "text": "be brief" }] } });
        let request = read(body).unwrap();
        assert_eq!((request.prompt().as_deref(), request.characters), (Some("two\nthree"), 19));
    }

    #[test]
    fn bodies_without_usable_parts_are_refused() {
        let part = |part: Value| json!({ "contents": [{ "parts": [part] }] });
        let cases = [
            json!([]),
            json!({}),
            json!({ "contents": [] }),
            json!({ "contents": [{ "parts": [] }] }),
            part(json!({ "text": 4 })),
            part(json!({ "other": 4 })),
            part(json!({ "inlineData": { "mimeType": "image/gif", "data": "aGk=" } })),
            part(json!({ "inlineData": { "mimeType": "image/png", "data": "&" } })),
            part(json!({ "inlineData": { "mimeType": "image/png" } })),
        ];
        for body in cases {
            let refusal = read(body.clone()).unwrap_err();
            assert_eq!((refusal.code.as_u16(), refusal.status), (400, "INVALID_ARGUMENT"), "{body}");
        }
        let file = read(part(json!({ "fileData": { "fileUri": "https://h/v1beta/files/abc" } }))).unwrap_err();
        assert_eq!(file.status, "PERMISSION_DENIED");
        assert!(file.message.contains("abc"));
    }
}
