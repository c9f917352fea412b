//! Reads the body of `POST /runs` and `POST /plans`.

use fresco_api_types::RunBody;
use http::header::HeaderMap;
use serde_json::Value;

use crate::body::{self, BodyFormat, Query};
use crate::problem::HttpProblem;

/// Reads JSON, or a document by itself with the input text as a parameter.
pub(crate) fn read(headers: &HeaderMap, query: Query, bytes: &bytes::Bytes) -> Result<RunBody, HttpProblem> {
    match body::format_of(headers, bytes)? {
        BodyFormat::Json => {
            let [] = query.read([])?;
            body::parse(bytes)
        }
        BodyFormat::Yaml => {
            let [input] = query.read(["input"])?;
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| HttpProblem::bad_request("not_utf8", "the document is not UTF-8 text"))?;
            Ok(RunBody { pipeline: Some(Value::String(text)), input, ..RunBody::default() })
        }
    }
}
