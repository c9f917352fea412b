//! Files that a document names: they are read and inspected before anything starts, and uploaded once the document is valid.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fresco_api_types::{UploadBody, UploadKind, UploadView};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::document::Problem;
use fresco_pipeline::inspection::{assumed_input, describe_input, input_problem, too_large};
use fresco_pipeline::media::Media;
use sha2::{Digest, Sha256};

use super::{Api, ApiError, RunRequest};
use crate::names::on_disk;

/// The files of a request, by the text that names them.
#[derive(Debug, Default)]
pub struct Inputs(BTreeMap<String, (Media, Bytes)>);

impl Inputs {
    /// Returns the number of inputs; the same content under two names is one.
    pub fn len(&self) -> usize {
        self.0.values().map(|(media, _)| &media.key).collect::<BTreeSet<_>>().len()
    }

    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the files that the request's document names, and notes them in the request; a file that cannot be used becomes a problem
/// of the document. URLs are fetched by the stack. Paths are relative to `folder`, that of the document; the path of the run's
/// own image is relative to the working directory.
pub fn gather(request: &mut RunRequest, folder: &Path) -> Inputs {
    let mut inputs = Inputs::default();
    for reference in request.media_references() {
        if reference.text.contains("://") {
            request.inputs.media.insert(reference.text, Ok(assumed_input(reference.kind)));
            continue;
        }
        let is_own_image = request.inputs.image.as_ref() == Some(&reference.text);
        let path = if is_own_image { PathBuf::from(&reference.text) } else { folder.join(&reference.text) };
        let described =
            read(reference.kind, &path).and_then(|bytes| Ok((describe_input(reference.kind, &bytes)?, bytes)));
        let noted = described.map(|(media, bytes)| {
            inputs.0.insert(reference.text.clone(), (media.clone(), bytes));
            media
        });
        request.inputs.media.insert(reference.text, noted);
    }
    inputs
}

/// Reads a file that is at most as long as its kind may be.
fn read(kind: MediaKind, path: &Path) -> Result<Bytes, Problem> {
    let path = &on_disk(path);
    let unread = |why: String| {
        let message = format!("{} cannot be read: {why}", path.display());
        input_problem("input_unread", message, "Check the path; it is relative to the document's folder.")
    };
    // Checked before it is opened: opening a pipe would block.
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
    /// Uploads the inputs, the same content once. Returns the uploads by the text that names them.
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
