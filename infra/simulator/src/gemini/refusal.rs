//! Errors in Google's envelope.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The beginning of the names of types.
const TYPES: &str = "type.googleapis.com";

/// An error: its HTTP code, its status, a message, and details by their type.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) status: &'static str,
    pub(super) message: String,
    details: Vec<Value>,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, status: &'static str, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), details: Vec::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    pub(super) fn wrong_key() -> Self {
        let info = json!({ "reason": "API_KEY_INVALID", "domain": "googleapis.com",
            "metadata": { "service": "generativelanguage.googleapis.com" } });
        Self::invalid("API key not valid. Please pass a valid API key.").detail("ErrorInfo", info)
    }

    /// Adds a detail of a type of `google.rpc`.
    pub(super) fn detail(mut self, kind: &str, mut value: Value) -> Self {
        value["@type"] = json!(format!("{TYPES}/google.rpc.{kind}"));
        self.details.push(value);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code.as_u16(), "message": self.message, "status": self.status });
        if !self.details.is_empty() {
            error["details"] = Value::Array(self.details);
        }
        (self.code, Json(json!({ "error": error }))).into_response()
    }
}
