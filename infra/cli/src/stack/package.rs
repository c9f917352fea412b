//! Packing the functions as Lambda wants them: one zip a binary, whose one entry is `bootstrap`. The same binary gives the
//! same bytes, so that what did not change is not deployed again.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::build::{self, Built, FUNCTIONS};
use super::error::Error;
use super::files;
use super::layout::Layout;
use super::lock::Lock;
use super::progress::Progress;

/// A packed function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The binary's name.
    pub name: String,
    /// The zip.
    pub path: PathBuf,
    /// The zip's size.
    pub bytes: u64,
    /// The SHA-256 of the zip, in hex.
    pub sha256: String,
}

/// What is known of a zip, so that it is only made again when its binary changed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    binary: PathBuf,
    modified_ns: u128,
    size: u64,
    sha256: String,
}

/// Builds the functions and packs them under `target/fresco/`, ready for any deployment.
pub fn package(layout: &Layout, release: bool, progress: &Progress) -> Result<Vec<Artifact>, Error> {
    let built = build::build(layout, release, progress)?;
    pack_all(layout, &built, progress)
}

pub(crate) fn pack_all(layout: &Layout, built: &Built, progress: &Progress) -> Result<Vec<Artifact>, Error> {
    let folder = layout.packages();
    let _lock =
        Lock::take(&folder.join("lock"), "another fresco command is packing the functions; waiting for it", progress)?;
    thread::scope(|scope| {
        let mut packing = Vec::new();
        for name in FUNCTIONS {
            let (binary, path) = (built.path(name)?, folder.join(format!("{name}.zip")));
            packing.push((name, scope.spawn(move || pack(binary, &path))));
        }
        packing
            .into_iter()
            .map(|(name, thread)| {
                let lost = |_| Error::Zip { path: folder.join(name), reason: "the packing thread ended".to_owned() };
                let (path, bytes, sha256) = thread.join().map_err(lost)??;
                Ok(Artifact { name: name.to_owned(), path, bytes, sha256 })
            })
            .collect()
    })
}

fn pack(binary: &Path, path: &Path) -> Result<(PathBuf, u64, String), Error> {
    let meta = fs::metadata(binary).map_err(Error::file("cannot read", binary))?;
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let note = path.with_extension("json");
    let (modified_ns, size) = (modified.map_or(0, |time| time.as_nanos()), meta.len());
    if let (Some(before), Ok(zip)) = (files::read_json::<Source>(&note), fs::metadata(path)) {
        let same = Source { binary: binary.to_owned(), modified_ns, size, sha256: before.sha256.clone() };
        if before == same {
            return Ok((path.to_owned(), zip.len(), before.sha256));
        }
    }
    let bytes = zip(&stripped(binary)?).map_err(|reason| Error::Zip { path: path.to_owned(), reason })?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    // The note vouches for the zip, so it goes first and comes last.
    files::remove(&note)?;
    files::write(path, &bytes)?;
    files::write_json(&note, &Source { binary: binary.to_owned(), modified_ns, size, sha256: sha256.clone() })?;
    Ok((path.to_owned(), bytes.len() as u64, sha256))
}

/// The binary without its symbols; as it is where there is no `strip`, since it runs all the same.
fn stripped(binary: &Path) -> Result<Vec<u8>, Error> {
    let read = |path: &Path| fs::read(path).map_err(Error::file("cannot read", path));
    let Ok(aside) = tempfile::NamedTempFile::new() else { return read(binary) };
    let status = Command::new("strip")
        .arg("-o")
        .arg(aside.path())
        .arg(binary)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if status.is_ok_and(|status| status.success()) { read(aside.path()) } else { read(binary) }
}

fn zip(program: &[u8]) -> Result<Vec<u8>, String> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("bootstrap", options).map_err(|error| error.to_string())?;
    writer.write_all(program).map_err(|error| error.to_string())?;
    writer.finish().map(Cursor::into_inner).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        let program = vec![7_u8; 100_000];
        assert_eq!(zip(&program).unwrap(), zip(&program).unwrap());
    }

    #[test]
    fn the_one_entry_is_an_executable_bootstrap() {
        let bytes = zip(b"program").unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut entry = archive.by_index(0).unwrap();
        assert_eq!((entry.name(), entry.unix_mode().unwrap() & 0o777), ("bootstrap", 0o755));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"program");
    }

    #[test]
    fn a_zip_is_made_again_only_for_a_changed_binary() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, path) = (folder.path().join("plan"), folder.path().join("plan.zip"));
        fs::write(&binary, "one").unwrap();
        let first = pack(&binary, &path).unwrap();
        let made = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(pack(&binary, &path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);
        fs::write(&binary, "three").unwrap();
        assert_ne!(pack(&binary, &path).unwrap().2, first.2);
    }
}
