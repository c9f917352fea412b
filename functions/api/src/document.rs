//! What a client sends, as the order that it is.

use fresco_api_types::RunBody;
use http::header::HeaderMap;
use serde_json::Value;

use crate::body::{self, Kind, Query};
use crate::problem::Problem;

/// What the client sends: JSON, or a document by itself with the input text as a parameter.
pub(crate) fn read(headers: &HeaderMap, query: Query, bytes: &bytes::Bytes) -> Result<RunBody, Problem> {
    match body::kind(headers, bytes)? {
        Kind::Json => {
            let [] = query.take([])?;
            body::parse(bytes)
        }
        Kind::Yaml => {
            let [input] = query.take(["input"])?;
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| Problem::bad_request("not_utf8", "the document is not UTF-8 text"))?;
            Ok(RunBody { pipeline: Some(Value::String(text)), input, ..RunBody::default() })
        }
    }
}
