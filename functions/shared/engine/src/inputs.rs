//! Media that users give: a file's bytes or a URL become an object under the hash of their content, checked as outputs are.
//! The same picture under two names is one object, one upload and one content key.

use bytes::{Bytes, BytesMut};
use fresco_ledger::traits::{Objects, Put, Upload};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::{InputMedia, MediaProblem, input_key};
use fresco_providers::media::{Downloader, Inspector, MediaInfo};

use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// A problem of an input, in the words of a document's report.
pub fn input_problem(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> MediaProblem {
    MediaProblem { code, message: message.into(), advice: advice.into() }
}

/// Looks at bytes that shall be of this kind: the object that they are kept as.
pub fn describe_input(kind: MediaKind, bytes: &[u8]) -> Result<InputMedia, MediaProblem> {
    if bytes.len() as u64 > kind.max_input_bytes() {
        return Err(too_large(kind, bytes.len() as u64));
    }
    let mut inspector = Inspector::new();
    inspector.feed(bytes);
    let info = inspector.finish(kind).map_err(|why| input_problem("input_kind", why.message, allowed(kind)))?;
    Ok(kept_as(kind, info))
}

/// The object that a medium is kept as.
pub(crate) fn kept_as(kind: MediaKind, info: MediaInfo) -> InputMedia {
    InputMedia {
        key: input_key(kind, &info.sha256, info.extension),
        kind,
        content_type: info.content_type.to_owned(),
        bytes: info.bytes,
        sha256: info.sha256,
        width: Some(info.width),
        height: Some(info.height),
    }
}

/// Fetches a URL that the document's check has let through. `downloader` is one for inputs: it dials public addresses only.
pub async fn fetch_input(downloader: &Downloader, kind: MediaKind, url: &str) -> Result<Bytes, MediaProblem> {
    let refused = |failure: Failure| {
        let advice = match failure.name {
            ErrorName::OutputUnavailable => "Check the address, or save the file and name it instead.",
            _ => "Save the file and name it instead.",
        };
        input_problem("input_fetch", failure.message, advice)
    };
    let mut download = downloader.fetch(url, kind, kind.max_input_bytes()).await.map_err(refused)?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = download.chunk().await.map_err(refused)? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

impl<P: Platform> Engine<P> {
    /// Keeps an input that [`describe_input`] described.
    pub async fn store_input(&self, media: &InputMedia, bytes: Bytes) -> Result<(), Failure> {
        let objects = self.platform.objects();
        let mut upload = objects.upload(&media.key, &media.content_type).await.map_err(failure)?;
        upload.write(bytes).await.map_err(failure)?;
        match upload.finish().await.map_err(failure)? {
            Put::Stored => self.note_bytes(i64::try_from(media.bytes).unwrap_or(i64::MAX)).await,
            // One that is there has the same content: the key is its hash. Its age begins anew, so that it is there as long as
            // the run that takes it now.
            Put::Exists => drop(objects.touch(&media.key, &media.content_type).await.map_err(failure)?),
        }
        Ok(())
    }
}

/// The problem of an input that is longer than its kind may be.
pub fn too_large(kind: MediaKind, bytes: u64) -> MediaProblem {
    let most = kind.max_input_bytes() / (1024 * 1024);
    let message = format!("it has {bytes} bytes; {} may have {most} MiB", kind.noun());
    input_problem("input_too_large", message, "Make it smaller.")
}

fn allowed(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "Give a PNG, JPEG or WebP file.",
        MediaKind::Video => "Give an MP4 file.",
        MediaKind::Text => "Give a text.",
    }
}
