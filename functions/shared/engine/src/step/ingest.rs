//! Copies media from the host of a provider to the bucket: fetched, inspected on the way, and visible only when they
//! are whole and of the right kind. Memory is a chunk and two parts, whatever the size.

use bytes::Bytes;
use fresco_ledger::traits::{Objects, Put, Upload};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::inspection::{Inspector, MediaInfo, SNIFF_BYTES, sniff_head};
use fresco_pipeline::media::Media;
use fresco_providers::RemoteMedia;
use fresco_providers::media::Downloader;

use crate::platform::{MediaStore, OutputPlace};

/// Ingests media into a bucket.
pub struct MediaIngest<O> {
    downloader: Downloader,
    objects: O,
}

impl<O: Objects> MediaIngest<O> {
    /// Makes one that stores into this bucket.
    pub fn new(downloader: Downloader, objects: O) -> Self {
        MediaIngest { downloader, objects }
    }

    /// Returns whether the object under the key has the same content. It was written by another call of collect: keys
    /// contain the attempt, and only whole objects become visible. A difference means that the provider serves two
    /// contents under one URL.
    async fn same(&self, key: &str, info: &MediaInfo, place: &OutputPlace) -> Result<bool, Failure> {
        let head = self.objects.head(key).await?;
        if head.is_none_or(|head| head.bytes != info.bytes) {
            return Ok(false);
        }
        let mut inspector = Inspector::new();
        if self.objects.scan(key, &mut |piece| inspector.feed(piece)).await?.is_none() {
            return Ok(false);
        }
        Ok(inspector.finish(place.kind)?.sha256 == info.sha256)
    }
}

/// Makes a failure to inspect the media retryable: the download may have gone wrong and not the job, which is paid. The
/// bound of the retries makes it invalid in the end.
fn spoilt(cause: Failure) -> Failure {
    Failure::new(ErrorName::OutputUnavailable, cause.message)
}

impl<O: Objects> MediaStore for MediaIngest<O> {
    async fn store(&self, place: &OutputPlace, media: &RemoteMedia) -> Result<Media, Failure> {
        let mut download = self.downloader.fetch(&media.url, place.kind, place.kind.max_bytes()).await?;
        let mut head = Vec::new();
        while head.len() < SNIFF_BYTES {
            match download.chunk().await? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => break,
            }
        }
        let format = sniff_head(place.kind, &head).map_err(spoilt)?;
        let key = place.object_key(format.extension());
        let mut upload = self.objects.upload(&key, format.content_type()).await?;
        let mut inspector = Inspector::new();
        let copied = async {
            let mut next = Some(Bytes::from(head));
            while let Some(chunk) = next {
                inspector.feed(&chunk);
                upload.write(chunk).await?;
                next = download.chunk().await?;
            }
            inspector.finish(place.kind).map_err(spoilt)
        }
        .await;
        let info = match copied {
            Ok(info) => info,
            Err(cause) => {
                upload.abort().await;
                return Err(cause);
            }
        };
        if upload.finish().await? == Put::Exists && !self.same(&key, &info, place).await? {
            let message = "another object stands under the output's key";
            return Err(Failure::new(ErrorName::OutputInvalid, message));
        }
        Ok(Media {
            key,
            kind: place.kind,
            content_type: info.content_type.to_owned(),
            bytes: info.bytes,
            sha256: info.sha256,
            width: Some(info.width),
            height: Some(info.height),
            duration_ms: info.duration_ms,
        })
    }
}
