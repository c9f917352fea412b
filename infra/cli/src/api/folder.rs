//! Whether a folder may take a run's outputs: nobody's files are to be mixed with them, and no other run's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fresco_api_types::filenames::MANIFEST;
use fresco_pipeline::ids::RunId;
use serde::Deserialize;

/// Why outputs are not to be brought into a folder.
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

/// Whether a run's outputs may be brought into the folder: it is free, or holds that run's already.
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

/// Whether the folder is not there, or empty. What a bringing leaves that was cut short before its manifest was there is
/// nobody's: it is written over.
pub(super) fn is_free(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    let left = Path::new(MANIFEST).with_extension("part");
    for entry in entries {
        let entry = entry?;
        if Path::new(&entry.file_name()) != left || !entry.file_type()?.is_file() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_empty_or_the_runs_own() {
        let home = tempfile::tempdir().unwrap();
        let run = RunId::parse("run-0001").unwrap();
        let folder = home.path().join("out");
        let check = || check_folder(&folder, &run).map_err(|error| error.to_string());
        assert_eq!(check(), Ok(()));
        fs::create_dir(&folder).unwrap();
        assert_eq!(check(), Ok(()));
        fs::write(folder.join("manifest.part"), "{\"run").unwrap();
        assert_eq!(check(), Ok(()), "a bringing was cut short at once");
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
