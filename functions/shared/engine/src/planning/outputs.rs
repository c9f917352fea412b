//! Reads the outputs of a result for the steps that use them.

use bytes::Bytes;
use fresco_ledger::records::CachedResult;
use fresco_ledger::traits::Objects;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::Media;
use fresco_pipeline::request::StepOutputs;

/// Reads the outputs of a result, with its text where `text` is set.
pub(crate) async fn outputs_of<O: Objects>(
    objects: &O,
    ready: &CachedResult,
    text: bool,
) -> Result<StepOutputs, Failure> {
    let media = ready.outputs.clone();
    let text = match media.iter().find(|media| text && media.kind == MediaKind::Text) {
        Some(media) => Some(text_of(objects, media).await?),
        None => None,
    };
    Ok(StepOutputs { media, text, shortfall: ready.shortfall.clone() })
}

async fn text_of<O: Objects>(objects: &O, media: &Media) -> Result<String, Failure> {
    let bytes = media_bytes(objects, media).await?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Failure::new(ErrorName::StepInput, "the text of a step before it is not UTF-8"))
}

pub(crate) async fn media_bytes<O: Objects>(objects: &O, media: &Media) -> Result<Bytes, Failure> {
    let bytes = objects.get(&media.key).await?;
    bytes.ok_or_else(|| {
        let message = format!("{} that it takes is not in the bucket any more", media.kind.noun());
        Failure::new(ErrorName::StepInput, message)
    })
}
