//! Files and URLs that a document names: they are read or fetched here, looked at before anything is started, and kept in
//! the stack under the hash of their content once the document is found to be well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fresco_api_types::{UploadBody, UploadKind, UploadView};
use fresco_engine::{RunRequest, describe_input, fetch_input, input_problem, too_large};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::Failure;
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_providers::media::{Downloader, HostList};
use sha2::{Digest, Sha256};

use super::{Api, ApiError};

/// The media of a request, by the text that names them.
#[derive(Debug, Default)]
pub struct Inputs(BTreeMap<String, (InputMedia, Bytes)>);

impl Inputs {
    /// How many there are; the same content under two names is one.
    pub fn len(&self) -> usize {
        self.0.values().map(|(media, _)| &media.key).collect::<BTreeSet<_>>().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads what the request's document names, and notes in the request what was found; what cannot be used becomes a problem
/// of the document. Paths are relative to `folder`, that of the document; the run's own image is relative to where we are.
pub async fn gather(request: &mut RunRequest, folder: &Path) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::default();
    let mut downloader = None;
    for reference in request.media_references() {
        let looked_at = if reference.text.contains("://") {
            let downloader = match &downloader {
                Some(downloader) => downloader,
                None => downloader.insert(Downloader::for_inputs(HostList::anywhere())?),
            };
            fetch_input(downloader, reference.kind, &reference.text).await
        } else {
            let own = request.image.as_ref() == Some(&reference.text);
            read(reference.kind, &if own { PathBuf::from(&reference.text) } else { folder.join(&reference.text) })
        };
        match looked_at.and_then(|bytes| Ok((describe_input(reference.kind, &bytes)?, bytes))) {
            Ok((media, bytes)) => {
                request.media.insert(reference.text.clone(), media.clone());
                inputs.0.insert(reference.text, (media, bytes));
            }
            Err(problem) => drop(request.refused.insert(reference.text, problem)),
        }
    }
    Ok(inputs)
}

/// Reads a file, unless it is longer than its kind may be.
fn read(kind: MediaKind, path: &Path) -> Result<Bytes, MediaProblem> {
    let unread = |why: String| {
        let message = format!("{} cannot be read: {why}", path.display());
        input_problem("input_unread", message, "Check the path; it is relative to the document's folder.")
    };
    // Asked before it is opened: opening a pipe would wait for somebody to write.
    let about = std::fs::metadata(path).map_err(|error| unread(error.to_string()))?;
    if !about.is_file() {
        return Err(unread("it is not a file".to_owned()));
    }
    if about.len() > kind.max_input_bytes() {
        return Err(too_large(kind, about.len()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unread(error.to_string()))?;
    file.take(kind.max_input_bytes() + 1).read_to_end(&mut bytes).map_err(|error| unread(error.to_string()))?;
    Ok(Bytes::from(bytes))
}

impl Api {
    /// Uploads the inputs, the same content once; the uploads by the text that names them.
    pub(super) async fn upload_all(&self, inputs: &Inputs) -> Result<BTreeMap<String, String>, ApiError> {
        let mut uploaded: BTreeMap<&str, String> = BTreeMap::new();
        let mut named = BTreeMap::new();
        for (name, (media, bytes)) in &inputs.0 {
            let id = match uploaded.get(media.key.as_str()) {
                Some(id) => id.clone(),
                None => {
                    let kind = match media.kind {
                        MediaKind::Video => UploadKind::Video,
                        MediaKind::Image | MediaKind::Text => UploadKind::Image,
                    };
                    let id = self.upload(kind, bytes.clone(), media.sha256.clone()).await?;
                    uploaded.entry(&media.key).or_insert(id).clone()
                }
            };
            named.insert(name.clone(), id);
        }
        Ok(named)
    }

    /// Uploads a document that is too long for a request.
    pub(super) async fn upload_document(&self, document: &str) -> Result<String, ApiError> {
        let bytes = Bytes::copy_from_slice(document.as_bytes());
        let sha256 = hex::encode(Sha256::digest(&bytes));
        self.upload(UploadKind::Document, bytes, sha256).await
    }

    async fn upload(&self, kind: UploadKind, bytes: Bytes, sha256: String) -> Result<String, ApiError> {
        let body = UploadBody { kind, bytes: bytes.len() as u64, sha256: Some(sha256) };
        let upload: UploadView = self.post("/uploads", &body, None).await?;
        self.put(&upload, body.bytes, Cursor::new(bytes)).await?;
        Ok(upload.id)
    }
}
