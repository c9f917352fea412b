//! Answers of fal: a status, a JSON body and headers. Also the check of the key.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::state::State;

/// A status, a JSON body and headers; boxed to be small as an error.
#[derive(Debug)]
pub(crate) struct Answer(Box<(StatusCode, HeaderMap, Value)>);

pub(crate) fn answer(status: StatusCode, body: Value) -> Answer {
    Answer(Box::new((status, HeaderMap::new(), body)))
}

/// A JSON body with `detail`.
pub(crate) fn detail(status: StatusCode, text: &str) -> Answer {
    answer(status, json!({ "detail": text }))
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.0.1.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, headers, body) = *self.0;
        (status, headers, Json(body)).into_response()
    }
}

/// Refuses every key but the configured one: `Authorization: Key <id>:<secret>`.
pub(super) fn authorize(state: &State, headers: &HeaderMap) -> Result<(), Answer> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Key ")) {
        Some(key) if key == state.fal_key => Ok(()),
        _ => Err(wrong_key()),
    }
}

pub(super) fn wrong_key() -> Answer {
    detail(StatusCode::UNAUTHORIZED, "No user found for Key ID and Secret")
}

/// The answer to an unknown request.
pub(super) fn unknown_request() -> Answer {
    answer(StatusCode::NOT_FOUND, json!({ "status": "NOT_FOUND" }))
}

/// The status of a number; 499 is not registered but valid.
pub(super) fn status_code(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
