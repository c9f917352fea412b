//! Checks folders before outputs are saved: the outputs of a run are not mixed with other files, nor with those of another run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fresco_api_types::filenames::MANIFEST;
use fresco_pipeline::ids::RunId;
use serde::Deserialize;

/// A folder that outputs cannot be saved to.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It holds another run's outputs.
    #[error("{} holds the outputs of run {found}; choose another folder", folder.display())]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// The run.
        found: RunId,
    },
    /// It holds something else.
    #[error("{} is not empty, and holds no manifest.json of this run; choose another folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read: {error}", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Checks that a run's outputs may be saved to the folder: it is free, or holds outputs of that run.
pub fn check_folder(folder: &Path, run: &RunId) -> Result<(), FolderError> {
    #[derive(Deserialize)]
    struct Held {
        run_id: RunId,
    }
    match is_free(folder) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => return Err(FolderError::Unreadable { folder: folder.to_owned(), error }),
    }
    let held = fs::read(folder.join(MANIFEST)).ok();
    match held.and_then(|bytes| serde_json::from_slice::<Held>(&bytes).ok()) {
        Some(held) if held.run_id == *run => Ok(()),
        Some(held) => Err(FolderError::OtherRun { folder: folder.to_owned(), found: held.run_id }),
        None => Err(FolderError::NotEmpty { folder: folder.to_owned() }),
    }
}

/// Whether the folder does not exist or is empty. The partial manifest of an interrupted download does not count: it is
/// overwritten.
pub(super) fn is_free(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    let partial_manifest = Path::new(MANIFEST).with_extension("part");
    for entry in entries {
        let entry = entry?;
        if Path::new(&entry.file_name()) != partial_manifest || !entry.file_type()?.is_file() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_to_be_new_empty_or_the_runs_own() {
        let home = tempfile::tempdir().unwrap();
        let run = RunId::parse("run-0001").unwrap();
        let folder = home.path().join("out");
        let check = || check_folder(&folder, &run).map_err(|error| error.to_string());
        assert_eq!(check(), Ok(()));
        fs::create_dir(&folder).unwrap();
        assert_eq!(check(), Ok(()));
        fs::write(folder.join("manifest.part"), "{\"run").unwrap();
        assert_eq!(check(), Ok(()), "the manifest was interrupted");
        fs::write(folder.join("note.txt"), "x").unwrap();
        assert!(check().unwrap_err().contains("is not empty"));
        for (manifest, word) in [
            ("{\"run_id\":\"run-0002\"}", "outputs of run run-0002"),
            ("{\"run_id\":", "is not empty"),
            ("{\"name\":\"a web app\"}", "is not empty"),
        ] {
            fs::write(folder.join(MANIFEST), manifest).unwrap();
            assert!(check().unwrap_err().contains(word), "{manifest}");
        }
        fs::write(folder.join(MANIFEST), "{\"run_id\":\"run-0001\",\"version\":1}").unwrap();
        assert_eq!(check(), Ok(()));
        let file = folder.join("note.txt");
        assert!(check_folder(&file, &run).unwrap_err().to_string().contains("cannot be read"));
    }
}
