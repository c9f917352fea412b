//! The media that a request brings as addresses: they are truly fetched when the work begins, read as pictures, and
//! kept as copies that the results are drawn from. What cannot be fetched or read ends the request as on fal.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::requests::Job;
use super::schema::{Field, Kind, located};
use crate::keep::Kept;
use crate::still;
use crate::world::World;

/// The largest input.
const LARGEST: usize = 64 << 20;
/// How long one input may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many inputs are fetched at once, each of them whole in memory for a while.
pub(crate) const FETCHED_AT_ONCE: usize = 8;
/// A data URI is shown in a refusal up to here.
const SHOWN: usize = 200;

/// One media input of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    field: &'static str,
    /// Its place, where the field is a list.
    index: Option<usize>,
    address: &'a str,
}

/// Why an input is none. The types and words are fal's.
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

    fn problem(&self, wanted: Wanted<'_>) -> Value {
        let mut loc = vec![json!("body"), json!(wanted.field)];
        loc.extend(wanted.index.map(|index| json!(index)));
        let shown: String = wanted.address.chars().take(SHOWN).collect();
        let input = if wanted.address.starts_with("data:") { shown.as_str() } else { wanted.address };
        let context = matches!(self, Self::TooLarge).then(|| json!({ "max_size": LARGEST }));
        located(Value::Array(loc), self.kind(), &self.to_string(), context, &json!(input))
    }
}

/// The media inputs of a body, in the order of the endpoint's fields. What is no text is left out.
pub(super) fn wanted<'a>(fields: &[Field], body: &'a Value) -> Vec<Wanted<'a>> {
    let mut found = Vec::new();
    for field in fields {
        let given = body.get(field.name).unwrap_or(&Value::Null);
        match (&field.kind, given) {
            (Kind::Url, Value::String(address)) => found.push(Wanted { field: field.name, index: None, address }),
            (Kind::Urls { .. }, Value::Array(items)) => {
                found.extend(items.iter().enumerate().filter_map(|(index, item)| {
                    Some(Wanted { field: field.name, index: Some(index), address: item.as_str()? })
                }));
            }
            _ => {}
        }
    }
    found
}

/// Fetches and keeps every input of a request, or gives the entries of `detail`, one for each that is no use.
pub(super) async fn take_in(world: &Arc<World>, job: &Job) -> Result<Vec<Kept>, Vec<Value>> {
    let mut kept = Vec::new();
    let mut problems = Vec::new();
    for wanted in wanted(job.endpoint.fields, &job.input) {
        match one(world, wanted.address).await {
            Ok(input) => kept.push(input),
            Err(unusable) => problems.push(unusable.problem(wanted)),
        }
    }
    if problems.is_empty() { Ok(kept) } else { Err(problems) }
}

async fn one(world: &Arc<World>, address: &str) -> Result<Kept, Unusable> {
    let _turn = world.fetches.acquire().await.map_err(|_| Unusable::Download)?;
    let bytes = match address.strip_prefix("data:") {
        Some(rest) => data(rest)?,
        None => tokio::time::timeout(PATIENCE, download(world, address)).await.map_err(|_| Unusable::Download)??,
    };
    let keeper = world.clone();
    let made = world.gallery.draw(move || {
        let (picture, _) = still::decode(&bytes).ok()?;
        drop(bytes);
        let copy = keeper.keep.put(still::copy_of(&picture).ok()?);
        Some(Kept { copy, width: picture.width(), height: picture.height() })
    });
    made.await.ok_or(Unusable::Load)
}

/// What stands after `data:`. Only base64 is read: nobody writes pictures in percent signs.
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

async fn download(world: &World, address: &str) -> Result<Vec<u8>, Unusable> {
    let failed = |error: reqwest::Error| {
        tracing::debug!(error = %error, "input not fetched");
        Unusable::Download
    };
    let mut answer = world.client.get(address).send().await.map_err(failed)?;
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
    use crate::fal::endpoints;

    #[test]
    fn inputs_are_found_in_the_order_of_the_fields() {
        let fields = endpoints::find("fal-ai/kling-video/v2.6/pro/image-to-video").unwrap().fields;
        let body = json!({ "end_image_url": "b", "start_image_url": "a", "image_url": "c" });
        let found: Vec<_> = wanted(fields, &body).iter().map(|wanted| (wanted.field, wanted.address)).collect();
        assert_eq!(found, [("start_image_url", "a"), ("end_image_url", "b")]);
        let fields = endpoints::find("fal-ai/nano-banana-pro/edit").unwrap().fields;
        let found = wanted(fields, &json!({ "image_urls": ["a", 4, "b"] })).len();
        assert_eq!(found, 2);
        assert_eq!(wanted(fields, &json!({ "image_urls": "a" })), []);
    }

    #[test]
    fn a_problem_has_its_place_and_type() {
        let wanted = Wanted { field: "image_urls", index: Some(1), address: "http://h/x" };
        let expected = json!({ "type": "file_download_error", "loc": ["body", "image_urls", 1],
            "msg": "Failed to download the file. Please check if the URL is accessible and try again.",
            "input": "http://h/x", "url": "https://docs.fal.ai/errors#file_download_error" });
        assert_eq!(Unusable::Download.problem(wanted), expected);
        assert_eq!(Unusable::TooLarge.problem(wanted)["ctx"], json!({ "max_size": LARGEST }));
    }

    #[test]
    fn data_uris_are_read_as_base64() {
        assert_eq!(data("image/png;base64,aGk=").unwrap(), b"hi");
        for bad in ["image/png;base64", "image/png,hi", "image/png;base64,&"] {
            assert!(matches!(data(bad), Err(Unusable::Download)), "{bad}");
        }
    }
}
