//! Bringing a run's outputs into a folder: files named by step, the manifest, and a contact sheet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fresco_engine::{Manifest, ManifestStep};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::Failure;

use super::{Client, ObjectError};
use crate::view::sheet;

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The folder.
    pub folder: PathBuf,
    /// The files, in the order of the steps.
    pub files: Vec<SavedFile>,
}

/// One saved output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Its step.
    pub step: String,
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub kind: MediaKind,
}

/// Why outputs could not be saved. They are still in the bucket.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// An output could not be fetched.
    #[error("{0}")]
    Fetch(#[from] Failure),
    /// A file could not be written.
    #[error(
        "{path} cannot be written: {error}. The outputs are still in the stack; free some space or choose another folder with --out."
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Saves a run under `out`, in a folder of its own. Step names are plain identifiers, so they are file names as they are.
pub async fn save(client: &Client, manifest: &Manifest, out: &Path) -> Result<Saved, SaveError> {
    let folder = out.join(manifest.run_id.as_str());
    std::fs::create_dir_all(&folder).map_err(|error| SaveError::Write { path: folder.clone(), error })?;
    let mut files: Vec<SavedFile> = Vec::new();
    let mut taken: BTreeSet<String> = ["manifest.json", "index.html"].map(str::to_owned).into();
    for step in &manifest.steps {
        for (index, output) in step.outputs.iter().enumerate() {
            let name = free_name(&mut taken, step, index);
            fetch(client, &output.key, &folder.join(&name)).await?;
            files.push(SavedFile { step: step.name.to_string(), name, kind: output.kind });
        }
    }
    let json = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    write(&folder.join("manifest.json"), &json)?;
    let texts = files.iter().filter(|file| file.kind == MediaKind::Text);
    let texts: BTreeMap<&str, String> = texts
        .map(|file| (file.name.as_str(), std::fs::read_to_string(folder.join(&file.name)).unwrap_or_default()))
        .collect();
    write(&folder.join("index.html"), sheet::render(manifest, &files, &texts).as_bytes())?;
    Ok(Saved { folder, files })
}

/// `image.jpg`, or `image_2.jpg` where a step gave several. Another step may be called `image_2`: then a line is added.
fn free_name(taken: &mut BTreeSet<String>, step: &ManifestStep, index: usize) -> String {
    let extension = step.outputs.get(index).and_then(|output| output.key.rsplit_once('.')).map_or("bin", |(_, e)| e);
    let number = if step.outputs.len() == 1 { String::new() } else { format!("_{}", index + 1) };
    let mut between = String::new();
    loop {
        let name = format!("{}{between}{number}.{extension}", step.name);
        // Some file systems do not tell cases apart.
        if taken.insert(name.to_ascii_lowercase()) {
            return name;
        }
        between.push('_');
    }
}

async fn fetch(client: &Client, key: &str, path: &Path) -> Result<(), SaveError> {
    let failed = |error| SaveError::Write { path: path.to_owned(), error };
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part).map_err(failed)?;
    client.object_to(key, &mut file).await.map_err(|error| match error {
        ObjectError::Fetch(failure) => SaveError::Fetch(failure),
        ObjectError::Write(error) => failed(error),
    })?;
    std::fs::rename(&part, path).map_err(failed)
}

/// A reader never sees half a file.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    let failed = |error| SaveError::Write { path: path.to_owned(), error };
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(failed)?;
    std::fs::rename(&part, path).map_err(failed)
}
