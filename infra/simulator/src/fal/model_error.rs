//! Errors of a model, in the form of fal's `detail` array, after the page on errors of fal's documentation.

use serde_json::{Value, json};

/// The status that a type of error comes with.
pub(crate) fn status(kind: &str) -> Option<u16> {
    Some(match kind {
        "internal_server_error" | "downstream_service_unavailable" => 500,
        "generation_timeout" => 504,
        "downstream_service_error" => 400,
        "content_policy_violation" | "no_media_generated" | "missing" | "value_error" => 422,
        "image_too_small"
        | "image_too_large"
        | "image_load_error"
        | "file_download_error"
        | "face_detection_error"
        | "file_too_large" => 422,
        _ => return None,
    })
}

/// The body of an error with one entry.
pub(crate) fn body(kind: &str, input: &Value) -> Value {
    let message = match kind {
        "internal_server_error" => "Internal server error",
        "generation_timeout" => "Generation timed out",
        "downstream_service_error" => "Downstream service error",
        "downstream_service_unavailable" => "Downstream service unavailable",
        "content_policy_violation" => {
            "The content could not be processed because it contained material flagged by a content checker."
        }
        "no_media_generated" => "No media was generated.",
        "value_error" => "Value error, the prompt cannot be used",
        _ => "The request could not be processed",
    };
    let place = match kind {
        "content_policy_violation" | "value_error" => json!(["body", "prompt"]),
        _ => json!(["body"]),
    };
    let entry = json!({ "loc": place, "msg": message, "type": kind, "ctx": {},
        "url": format!("https://docs.fal.ai/errors#{kind}"), "input": input });
    json!({ "detail": [entry] })
}
