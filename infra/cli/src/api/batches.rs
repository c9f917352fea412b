//! Batches: starts, stops and redrives them, uploads their rows, and saves their results.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fresco_api_types::filenames::MANIFEST;
use fresco_api_types::{
    BatchAccepted, BatchBody, BatchManifest, BatchPage, BatchResults, BatchView, UploadBody, UploadKind, UploadView,
};
use fresco_pipeline::ids::RunId;
use reqwest::Method;
use serde::Deserialize;
use tokio::io::AsyncSeekExt;

use super::folder::is_free;
use super::transfer::hashed;
use super::{Api, ApiError, Inputs, RunRequest};

/// The file name of the results in their folder.
pub const RESULTS: &str = "results.jsonl";

/// An upload of rows that failed.
#[derive(Debug, thiserror::Error)]
pub enum RowsUploadError {
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// They could not be uploaded.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// Results that were not saved. They are still in the stack.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// They could not be fetched.
    #[error("{0}")]
    Fetch(#[from] ApiError),
    /// The folder holds something else.
    #[error("{} {why}; choose another folder", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
    /// A file could not be written.
    #[error(
        "{} cannot be written: {error}. The results are still in the stack; free some space or choose another folder",
        path.display()
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Api {
    /// Creates the body of a batch: the pipeline and the inputs of every row, whose files are uploaded. The caller adds the rows.
    pub async fn batch_body(&self, request: &RunRequest, inputs: &Inputs) -> Result<BatchBody, ApiError> {
        let run = self.body_of(request, inputs).await?;
        Ok(BatchBody {
            pipeline: run.pipeline,
            pipeline_upload: run.pipeline_upload,
            input: run.input,
            vars: run.vars,
            env: run.env,
            parallel: run.parallel,
            media: run.media,
            ..BatchBody::default()
        })
    }

    /// Uploads a file of rows, which is read twice: for its hash, and to send it. Returns the upload's id, which its content determines.
    pub async fn upload_rows(&self, path: &Path) -> Result<String, RowsUploadError> {
        let unreadable = |error| RowsUploadError::Unreadable { path: path.to_owned(), error };
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let (bytes, sha256) = hashed(&mut file).await.map_err(unreadable)?;
        file.rewind().await.map_err(unreadable)?;
        let body = UploadBody { kind: UploadKind::Rows, bytes, sha256: Some(sha256) };
        let upload: UploadView = self.post("/uploads", &body, None).await.map_err(RowsUploadError::Api)?;
        self.put(&upload, bytes, file).await?;
        Ok(upload.id)
    }

    /// Starts a batch. The same idempotency key returns the same batch.
    pub async fn start_batch(&self, body: &BatchBody, once: Option<&str>) -> Result<BatchAccepted, ApiError> {
        self.post("/batches", body, once).await
    }

    /// Returns a batch.
    pub async fn batch(&self, batch: &RunId) -> Result<BatchView, ApiError> {
        self.get(&format!("/batches/{batch}")).await
    }

    /// Returns a page of batches, newest first.
    pub async fn batches(&self, limit: u32, cursor: Option<&str>) -> Result<BatchPage, ApiError> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        self.get(&format!("/batches?limit={limit}{cursor}")).await
    }

    /// Returns links to the results of a batch that has ended.
    pub async fn batch_results(&self, batch: &RunId) -> Result<BatchResults, ApiError> {
        self.get(&format!("/batches/{batch}/results")).await
    }

    /// Redrives a batch that has ended.
    pub async fn redrive_batch(&self, batch: &RunId) -> Result<BatchView, ApiError> {
        self.json(Method::POST, &format!("/batches/{batch}/redrive"), None, None).await
    }

    /// Stops a batch.
    pub async fn stop_batch(&self, batch: &RunId) -> Result<BatchView, ApiError> {
        self.json(Method::DELETE, &format!("/batches/{batch}"), None, None).await
    }

    /// Returns the manifest of a batch that has ended.
    pub async fn batch_manifest(&self, results: &BatchResults) -> Result<BatchManifest, ApiError> {
        let answer = self.fetch(&results.manifest).await?;
        let bytes = answer.bytes().await.map_err(|error| ApiError::unreachable("the storage", &error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::unexpected(format!("the batch's manifest cannot be read: {error}")))
    }

    /// Writes the manifest and the results of a batch to a folder, over older ones.
    pub async fn save_batch(
        &self,
        results: &BatchResults,
        manifest: &BatchManifest,
        folder: &Path,
    ) -> Result<(), ResultsError> {
        check_batch_folder(folder, |found| found == manifest.batch_id)?;
        fs::create_dir_all(folder).map_err(failed(folder))?;
        // First, so that a folder without results is known as this batch's.
        let json = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        let path = folder.join(MANIFEST);
        let part = path.with_extension("part");
        fs::write(&part, json).and_then(|()| fs::rename(&part, &path)).map_err(failed(&path))?;
        let path = folder.join(RESULTS);
        // A reader never sees half a file.
        let part = path.with_extension("part");
        let mut answer = self.fetch(&results.results).await?;
        let mut file = fs::File::create(&part).map_err(failed(&path))?;
        while let Some(piece) = answer.chunk().await.map_err(|error| ApiError::unreachable("the storage", &error))? {
            file.write_all(&piece).map_err(failed(&path))?;
        }
        fs::rename(&part, &path).map_err(failed(&path))
    }
}

/// Checks that a batch's results may be written to the folder: it is free, or holds results of a batch that `is_own`.
pub fn check_batch_folder(folder: &Path, is_own: impl Fn(&str) -> bool) -> Result<(), ResultsError> {
    #[derive(Deserialize)]
    struct Held {
        batch_id: String,
    }
    let refused = |why: String| Err(ResultsError::Folder { folder: folder.to_owned(), why });
    match is_free(folder) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => return refused(format!("cannot be read: {error}")),
    }
    let held = fs::read(folder.join(MANIFEST)).ok();
    match held.and_then(|bytes| serde_json::from_slice::<Held>(&bytes).ok()) {
        Some(held) if is_own(&held.batch_id) => Ok(()),
        Some(held) => refused(format!("holds the results of batch {}", held.batch_id)),
        None => refused("is not empty, and holds no manifest.json of this batch".to_owned()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |error| ResultsError::Write { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_empty_or_the_batchs_own() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("out");
        let check = || check_batch_folder(&folder, |batch| batch == "batch-01").map_err(|error| error.to_string());
        assert_eq!(check(), Ok(()));
        fs::create_dir(&folder).unwrap();
        assert_eq!(check(), Ok(()));
        fs::write(folder.join("manifest.part"), "{\"batch").unwrap();
        assert_eq!(check(), Ok(()), "the first file was interrupted");
        fs::write(folder.join("note.txt"), "x").unwrap();
        assert!(check().unwrap_err().contains("is not empty"));
        fs::write(folder.join(MANIFEST), "{\"run_id\":\"batch-01\"}").unwrap();
        assert!(check().unwrap_err().contains("is not empty"));
        fs::write(folder.join(MANIFEST), "{\"batch_id\":\"batch-02\"}").unwrap();
        assert!(check().unwrap_err().contains("results of batch batch-02"));
        fs::write(folder.join(MANIFEST), "{\"batch_id\":\"batch-01\"}").unwrap();
        assert_eq!(check(), Ok(()));
    }
    #[tokio::test]
    async fn the_body_of_a_batch_has_the_inputs_of_a_run() {
        let api = Api::new(&aws_config::SdkConfig::builder().build(), "http://127.0.0.1:1").unwrap();
        let mut request = RunRequest::new("steps: []").with_input("i");
        request.inputs.vars = [("v".to_owned(), "1".to_owned())].into();
        request.inputs.env = [("E".to_owned(), "2".to_owned())].into();
        request.inputs.parallel = Some(false);
        let body = api.batch_body(&request, &Inputs::default()).await.unwrap();
        assert_eq!((body.input, body.parallel), (request.inputs.input, Some(false)));
        assert_eq!((body.vars, body.env), (request.inputs.vars, request.inputs.env));
        assert_eq!(body.pipeline, Some("steps: []".into()));
    }
}
