//! Small files that appear whole or not at all, since a command may be killed at any line.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::error::Error;

/// Writes beside the file, then renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::file("cannot make", folder))?;
    let mut file = NamedTempFile::new_in(folder).map_err(Error::file("cannot write", path))?;
    std::io::Write::write_all(&mut file, bytes).map_err(Error::file("cannot write", path))?;
    file.persist(path).map_err(|error| Error::file("cannot write", path)(error.error))?;
    Ok(())
}

/// As [`write`], as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| Error::file("cannot write", path)(error.into()))?;
    write(path, &bytes)
}

/// What the file holds; `None` where it is missing, half or of another shape, since all that is kept so can be made again.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Removes the file; it is no error that it is not there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("cannot remove", path)(error)),
        _ => Ok(()),
    }
}
