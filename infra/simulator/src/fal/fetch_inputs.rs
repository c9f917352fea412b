//! The media inputs of a request: they are fetched when the work begins, decoded, and cached as the copies that the output
//! is drawn from. An input that cannot be fetched or decoded ends the request, as on fal.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::endpoint::{MediaInput, ParamType};
use super::request_store::Job;
use super::validation_error;
use crate::input_cache::CachedInput;
use crate::input_image;
use crate::state::State;

/// The largest input in bytes.
const LARGEST: usize = 64 << 20;
/// The time that one input may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The characters of a data URI that a refusal shows.
const SHOWN: usize = 200;
/// The turns to fetch: each input is whole in memory for a while.
static TURNS: Semaphore = Semaphore::const_new(8);

/// The reason that an input cannot be used, in fal's words.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("Failed to download the file. Please check if the URL is accessible and try again.")]
    Download,
    #[error("File size exceeds the maximum allowed size of {LARGEST} bytes.")]
    TooLarge,
    #[error("Failed to load the image. Please ensure the image file is not corrupted and is in a supported format.")]
    Load,
}

impl Unusable {
    fn kind(&self) -> &'static str {
        match self {
            Self::Download => "file_download_error",
            Self::TooLarge => "file_too_large",
            Self::Load => "image_load_error",
        }
    }

    fn entry(&self, input: MediaInput<'_>) -> Value {
        let mut loc = vec![json!("body"), json!(input.param)];
        loc.extend(input.index.map(|index| json!(index)));
        let start: String = input.address.chars().take(SHOWN).collect();
        let shown = if input.address.starts_with("data:") { &start } else { input.address };
        let context = matches!(self, Self::TooLarge).then(|| json!({ "max_size": LARGEST }));
        validation_error::entry(Value::Array(loc), self.kind(), &self.to_string(), context, &json!(shown))
    }
}

/// Fetches every input of a request and caches its pictures, or gives the entries of `detail`, one for each input that
/// cannot be used.
pub(super) async fn fetch_all(state: &Arc<State>, job: &Job) -> Result<Vec<CachedInput>, Vec<Value>> {
    let mut inputs = Vec::new();
    let mut problems = Vec::new();
    for input in job.endpoint.media_inputs(&job.input) {
        match fetch(state, input).await {
            Ok(cached) => inputs.extend(cached),
            Err(unusable) => problems.push(unusable.entry(input)),
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(problems) }
}

/// Fetches one input. Only a picture is decoded and cached.
async fn fetch(state: &Arc<State>, input: MediaInput<'_>) -> Result<Option<CachedInput>, Unusable> {
    let _turn = TURNS.acquire().await.map_err(|_| Unusable::Download)?;
    let bytes = match input.address.strip_prefix("data:") {
        Some(rest) => data(rest)?,
        None => {
            let download = download(state, input.address);
            tokio::time::timeout(TIMEOUT, download).await.map_err(|_| Unusable::Download)??
        }
    };
    if input.r#type != ParamType::ImageUrl {
        return Ok(None);
    }
    let inner = state.clone();
    let cached = state.renderer.run(move || {
        let (picture, _) = input_image::decode(&bytes).ok()?;
        drop(bytes);
        let copy = inner.input_cache.put(input_image::copy_of(&picture).ok()?);
        Some(CachedInput { copy, width: picture.width(), height: picture.height() })
    });
    cached.await.map(Some).ok_or(Unusable::Load)
}

/// The bytes of a data URI without its `data:`. Only base64 is accepted.
fn data(rest: &str) -> Result<Vec<u8>, Unusable> {
    let (head, body) = rest.split_once(',').ok_or(Unusable::Download)?;
    if !head.ends_with(";base64") {
        return Err(Unusable::Download);
    }
    if body.len() / 4 * 3 > LARGEST {
        return Err(Unusable::TooLarge);
    }
    STANDARD.decode(body.trim()).map_err(|_| Unusable::Download)
}

async fn download(state: &State, address: &str) -> Result<Vec<u8>, Unusable> {
    let failed = |error: reqwest::Error| {
        tracing::debug!(error = %error, "input not fetched");
        Unusable::Download
    };
    let mut answer = state.client.get(address).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        tracing::debug!(status = answer.status().as_u16(), "input not fetched");
        return Err(Unusable::Download);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Unusable::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_entry_has_its_place_and_type() {
        let input =
            MediaInput { param: "image_urls", index: Some(1), address: "http://h/x", r#type: ParamType::ImageUrl };
        let expected = json!({ "type": "file_download_error", "loc": ["body", "image_urls", 1],
            "msg": "Failed to download the file. Please check if the URL is accessible and try again.",
            "input": "http://h/x", "url": "https://docs.fal.ai/errors#file_download_error" });
        assert_eq!(Unusable::Download.entry(input), expected);
        assert_eq!(Unusable::TooLarge.entry(input)["ctx"], json!({ "max_size": LARGEST }));
    }

    #[test]
    fn data_uris_are_read_as_base64() {
        assert_eq!(data("image/png;base64,aGk=").unwrap(), b"hi");
        for bad in ["image/png;base64", "image/png,hi", "image/png;base64,&"] {
            assert!(matches!(data(bad), Err(Unusable::Download)), "{bad}");
        }
    }
}
