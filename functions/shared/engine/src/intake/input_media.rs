//! Media that users give: a file's bytes or a URL become an object under the hash of their content, checked as outputs are.
//! The same picture under two names is one object, one upload and one content key.

use bytes::{Bytes, BytesMut};
use fresco_ledger::traits::{Objects, Put, Upload};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::inspection::input_problem;
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_providers::media::Downloader;

use crate::Engine;
use crate::platform::Platform;

/// Fetches a URL that the document's check has let through. `downloader` is one for inputs: it dials public addresses only.
pub(crate) async fn fetch_input(downloader: &Downloader, kind: MediaKind, url: &str) -> Result<Bytes, MediaProblem> {
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
        let mut upload = objects.upload(&media.key, &media.content_type).await?;
        upload.write(bytes).await?;
        match upload.finish().await? {
            Put::Stored => self.note_bytes(i64::try_from(media.bytes).unwrap_or(i64::MAX)).await,
            // One that is there has the same content: the key is its hash. Its age begins anew, so that it is there as long as
            // the run that takes it now.
            Put::Exists => drop(objects.renew(&media.key, &media.content_type).await?),
        }
        Ok(())
    }
}
