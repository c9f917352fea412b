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

    /// Describes the object under the key, which another call of collect wrote: keys contain the attempt, and only
    /// whole objects become visible. Its content may differ from what was fetched now, where the provider serves two
    /// contents under one URL.
    async fn adopt(&self, key: &str, place: &OutputPlace) -> Result<MediaInfo, Failure> {
        let mut inspector = Inspector::new();
        match self.objects.scan(key, &mut |piece| inspector.feed(piece)).await? {
            Some(_) => inspector.finish(place.kind),
            None => Err(Failure::new(ErrorName::OutputUnavailable, "the object under the output's key is gone")),
        }
    }
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
        let format = sniff_head(place.kind, &head)?;
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
            inspector.finish(place.kind)
        }
        .await;
        let info = match copied {
            Ok(info) => info,
            Err(cause) => {
                upload.abort().await;
                return Err(cause);
            }
        };
        let info = match upload.finish().await? {
            Put::Exists => self.adopt(&key, place).await?,
            Put::Stored => info,
        };
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
