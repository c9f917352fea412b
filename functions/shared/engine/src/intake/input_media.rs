//! Input media of users: the bytes of a file or a URL become an object under the hash of their content, checked as
//! outputs are. The same picture under two names is one object, one upload and one content key.

use bytes::{Bytes, BytesMut};
use fresco_ledger::traits::{Objects, Put, Upload};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::document::Problem;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::inspection::input_problem;
use fresco_pipeline::media::Media;
use fresco_providers::media::Downloader;

use crate::intake::Intake;
use crate::platform::Platform;

/// Fetches a URL that the check of the document has accepted. `downloader` has to be one for inputs, which connects to
/// public addresses only.
pub(crate) async fn fetch_input(downloader: &Downloader, kind: MediaKind, url: &str) -> Result<Bytes, Problem> {
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

impl<P: Platform> Intake<P> {
    /// Stores an input that [`describe_input`] described.
    pub async fn store_input(&self, media: &Media, bytes: Bytes) -> Result<(), Failure> {
        let objects = self.platform.objects();
        let mut upload = objects.upload(&media.key, &media.content_type).await?;
        upload.write(bytes).await?;
        match upload.finish().await? {
            Put::Stored => self.quota.record_bytes(i64::try_from(media.bytes).unwrap_or(i64::MAX)).await,
            // An existing object has the same content, since its key is the hash. It is renewed, so that it lives as
            // long as the run that uses it now.
            Put::Exists => drop(objects.touch(&media.key, &media.content_type).await?),
        }
        Ok(())
    }
}
