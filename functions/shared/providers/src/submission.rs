//! A submission to a provider: the request, its media in the form that the provider takes, and the webhook URL. Presigned URLs
//! and whole pictures must not be logged, so `Debug` is written by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::Media;
use fresco_pipeline::request::GenerationRequest;

/// One submission of a request. Its `Debug` shows no prompt, no URL and no media.
#[derive(Clone, PartialEq)]
pub struct Submission {
    pub request: GenerationRequest,
    /// Every medium of the request by the key of its object, in the form that
    /// [`Provider::input_form`](crate::Provider::input_form) asks for.
    pub media: BTreeMap<String, InputData>,
    /// The URL to which the end of the job is reported. It holds the attempt's token.
    pub webhook_url: Option<String>,
    /// The longest that the call of a provider which answers at once may take.
    pub deadline: Duration,
}

impl Submission {
    /// A medium of the request in the provider's form.
    pub(crate) fn data(&self, media: &Media) -> Result<&InputData, Failure> {
        let missing =
            || Failure::new(ErrorName::Internal, format!("the medium {} is not in the submission", media.key));
        self.media.get(&media.key).ok_or_else(missing)
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("request", &self.request)
            .field("media", &self.media)
            .field("webhook", &self.webhook_url.is_some())
            .finish()
    }
}

/// A medium. Its `Debug` shows neither the URL nor the bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum InputData {
    /// A presigned URL from which the provider fetches it.
    Url(String),
    /// The medium itself.
    Bytes {
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

/// The form in which a provider takes media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputForm {
    /// It fetches them.
    Url,
    /// They are part of the request.
    Bytes,
}

#[cfg(test)]
pub(crate) mod tests {
    use fresco_pipeline::catalogue::{MediaKind, ProviderName, StepType};
    use fresco_pipeline::media::FieldMedia;
    use serde_json::{Value, json};

    use super::*;

    /// A request for an image without media.
    pub(crate) fn request(endpoint: &str, params: Value) -> GenerationRequest {
        GenerationRequest {
            provider: ProviderName::Fal,
            step: StepType::TextToImage,
            model: "model".to_owned(),
            endpoint: endpoint.to_owned(),
            params: params.as_object().unwrap().clone(),
            inputs: Vec::new(),
            repetition: 1,
            kind: MediaKind::Image,
        }
    }

    /// A field with the objects of these keys.
    pub(crate) fn field(to: &str, list: bool, keys: &[&str]) -> FieldMedia<Media> {
        let media = |key: &&str| Media {
            key: (*key).to_owned(),
            kind: MediaKind::Image,
            content_type: "image/png".to_owned(),
            bytes: 1,
            sha256: "0".repeat(64),
            width: None,
            height: None,
            duration_ms: None,
        };
        FieldMedia { to: to.to_owned(), list, media: keys.iter().map(media).collect() }
    }

    #[test]
    fn the_debug_form_shows_no_prompt_url_or_media() {
        let mut request = request("fal-ai/x", json!({"prompt": "secret fox"}));
        request.inputs = vec![field("image_urls", true, &["inputs/a.png", "inputs/b.png"])];
        let url = InputData::Url("https://b.example/inputs/a.png?X-Amz-Signature=secret".to_owned());
        let bytes = InputData::Bytes { content_type: "image/png".to_owned(), bytes: Bytes::from_static(b"secret") };
        let submission = Submission {
            request,
            media: [("inputs/a.png".to_owned(), url), ("inputs/b.png".to_owned(), bytes)].into(),
            webhook_url: Some("https://hooks.example/secret".to_owned()),
            deadline: Duration::from_secs(60),
        };
        for shown in [format!("{submission:?}"), format!("{submission:#?}")] {
            assert!(!shown.contains("secret") && shown.contains("image_urls") && shown.contains("prompt"), "{shown}");
        }
        assert!(format!("{submission:?}").contains(r#"Bytes { content_type: "image/png", bytes: 6 }"#));
    }
}
