//! What is asked of a provider, and what is told of it afterwards to find it again. A submission holds a prompt, presigned
//! URLs and whole pictures, none of which a log may show, so `Debug` is written by hand.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

/// What is asked of a provider. Its `Debug` shows no prompt, no URL and no media.
#[derive(Clone, PartialEq)]
pub struct Submission {
    /// The provider's id of the model.
    pub endpoint: String,
    /// The resolved request, by the provider's names, without media.
    pub params: Map<String, Value>,
    /// The media, in the form that [`Provider::input_form`](crate::Provider::input_form) asks for.
    pub inputs: Vec<SubmittedInput>,
    /// Where to report the end of the job, if anywhere. It holds the attempt's token.
    pub webhook_url: Option<String>,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("endpoint", &self.endpoint)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .field("inputs", &self.inputs)
            .field("webhook", &self.webhook_url.is_some())
            .finish()
    }
}

/// The media for one of the provider's fields. Without any, the field is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedInput {
    /// The provider's field.
    pub to: String,
    /// Whether the field is a list. One that is not takes a single medium.
    pub list: bool,
    /// In the order of the document.
    pub media: Vec<InputData>,
}

/// A medium. Its `Debug` shows neither the URL nor the bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum InputData {
    /// Where the provider fetches it: a presigned URL.
    Url(String),
    /// The medium itself.
    Bytes {
        /// Its media type.
        content_type: String,
        /// The whole of it.
        bytes: Bytes,
    },
}

impl fmt::Debug for InputData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputData::Url(_) => f.write_str("Url(…)"),
            InputData::Bytes { content_type, bytes } => {
                f.debug_struct("Bytes").field("content_type", content_type).field("bytes", &bytes.len()).finish()
            }
        }
    }
}

/// How a provider takes media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputForm {
    /// It fetches them.
    Url,
    /// They are part of the request.
    Bytes,
}

/// The job that is looked for. Its `Debug` shows no prompt.
#[derive(Clone, PartialEq)]
pub struct Lookup {
    /// The provider's id of the model.
    pub endpoint: String,
    /// The request as it was submitted, without media.
    pub params: Map<String, Value>,
    /// The media that were submitted as URLs.
    pub inputs: Vec<LookupInput>,
    /// The instant of the submission less the skew of clocks, in milliseconds since the epoch.
    pub not_before_ms: i64,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("endpoint", &self.endpoint)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .field("inputs", &self.inputs)
            .field("not_before_ms", &self.not_before_ms)
            .finish()
    }
}

/// The media of one field, by the keys of the objects that the submitted URLs pointed to. The URLs themselves are no help:
/// the same object has another one each time it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupInput {
    /// The provider's field.
    pub to: String,
    /// Whether the field is a list.
    pub list: bool,
    /// The objects' keys, in the order of the submission.
    pub keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_must_not_be_logged_is_shown() {
        let params = json!({"prompt": "secret fox"}).as_object().unwrap().clone();
        let media = vec![
            InputData::Url("https://b.example/inputs/a.png?X-Amz-Signature=secret".to_owned()),
            InputData::Bytes { content_type: "image/png".to_owned(), bytes: Bytes::from_static(b"secret") },
        ];
        let submission = Submission {
            endpoint: "fal-ai/x".to_owned(),
            params: params.clone(),
            inputs: vec![SubmittedInput { to: "image_urls".to_owned(), list: true, media }],
            webhook_url: Some("https://hooks.example/secret".to_owned()),
        };
        let keys = vec!["inputs/a.png".to_owned()];
        let inputs = vec![LookupInput { to: "image_urls".to_owned(), list: true, keys }];
        let lookup = Lookup { endpoint: "fal-ai/x".to_owned(), params, inputs, not_before_ms: 0 };
        for shown in [format!("{submission:?}"), format!("{submission:#?}"), format!("{lookup:?}")] {
            assert!(!shown.contains("secret") && shown.contains("image_urls") && shown.contains("prompt"), "{shown}");
        }
        assert!(format!("{submission:?}").contains(r#"Bytes { content_type: "image/png", bytes: 6 }"#));
    }
}
