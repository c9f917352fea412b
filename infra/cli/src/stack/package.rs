//! Packs the functions as Lambda takes them: one zip, whose one entry is `bootstrap`. The same binary gives the same bytes, so
//! that an unchanged one is not deployed again.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::build::{self, Built};
use super::error::Error;
use super::files;
use super::layout::Layout;
use super::lock::Lock;
use super::progress::Progress;

/// The packed functions, and the simulator of the same build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The zip.
    pub path: PathBuf,
    /// The zip's size.
    pub bytes: u64,
    /// The SHA-256 of the zip, in hex.
    pub sha256: String,
    pub(crate) simulator: PathBuf,
    /// The packed binary's path, size and time of change.
    binary: (PathBuf, u64, u128),
}

/// Builds the functions where their sources changed, and packs them as `target/fresco/functions.zip`.
pub fn package(layout: &Layout, release: bool, progress: &Progress) -> Result<Package, Error> {
    let built = build::build(layout, release, progress)?;
    let folder = layout.packages();
    let _lock =
        Lock::take(&folder.join("lock"), "another fresco command is packing the functions; waiting for it", progress)?;
    // A release is packed once and loaded at every cold start; a dev build is packed at every change.
    let level = if release { 9 } else { 1 };
    Ok(pack(built, &folder, level)?)
}

/// The package of the last build; nothing is built.
pub(crate) fn last(layout: &Layout) -> anyhow::Result<Package> {
    let last = files::read_json::<Package>(&record(&layout.packages()));
    let existing = last.filter(|package| package.path.is_file() && package.simulator.is_file());
    existing.context(
        "the stack is not up, and nothing is built that it could be started with; `cargo fresco up` or `cargo fresco run` \
         builds and starts it",
    )
}

fn record(folder: &Path) -> PathBuf {
    folder.join("functions.json")
}

fn pack(built: Built, folder: &Path, level: i64) -> anyhow::Result<Package> {
    let binary = &built.functions;
    let (path, record) = (folder.join("functions.zip"), record(folder));
    let meta = fs::metadata(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let identity = (binary.clone(), meta.len(), modified.map_or(0, |time| time.as_nanos()));
    let last = files::read_json::<Package>(&record).filter(|last| last.binary == identity && path.is_file());
    if let Some(last) = last.filter(|last| last.simulator == built.simulator) {
        return Ok(last);
    }
    let bytes = stripped(binary).and_then(|program| zip(&program, level));
    let bytes = bytes.with_context(|| format!("cannot pack {}", binary.display()))?;
    // The record vouches for the zip, so it is removed first and written last.
    files::remove(&record)?;
    files::write(&path, &bytes)?;
    let package = Package {
        bytes: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(&bytes)),
        path,
        simulator: built.simulator,
        binary: identity,
    };
    files::write_json(&record, &package)?;
    Ok(package)
}

/// The binary without its symbols; as it is where there is no `strip`, since it runs all the same.
fn stripped(binary: &Path) -> anyhow::Result<Vec<u8>> {
    let aside = tempfile::NamedTempFile::new()?;
    let strip = Command::new("strip").arg("-o").arg(aside.path()).arg(binary).stderr(Stdio::null()).status();
    let stripped = strip.is_ok_and(|status| status.success());
    Ok(fs::read(if stripped { aside.path() } else { binary })?)
}

fn zip(program: &[u8], level: i64) -> anyhow::Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("bootstrap", options)?;
    writer.write_all(program)?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        let program = vec![7_u8; 100_000];
        assert_eq!(zip(&program, 1).unwrap(), zip(&program, 1).unwrap());
    }

    #[test]
    fn the_one_entry_is_an_executable_bootstrap() {
        let bytes = zip(b"program", 1).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut entry = archive.by_index(0).unwrap();
        assert_eq!((entry.name(), entry.unix_mode().unwrap() & 0o777), ("bootstrap", 0o755));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"program");
    }

    fn built(folder: &Path) -> Built {
        Built { functions: folder.join("bootstrap"), simulator: folder.join("simulator") }
    }

    #[test]
    fn an_unchanged_binary_is_not_packed_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("bootstrap"), "one").unwrap();
        let first = pack(built(folder), folder, 1).unwrap();
        let packed_at = || fs::metadata(&first.path).unwrap().modified().unwrap();
        let before = packed_at();
        assert_eq!(pack(built(folder), folder, 1).unwrap(), first);
        assert_eq!(packed_at(), before);
        fs::write(folder.join("bootstrap"), "three").unwrap();
        assert_ne!(pack(built(folder), folder, 1).unwrap().sha256, first.sha256);
    }

    #[test]
    fn without_a_build_the_error_names_the_commands_that_build() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("infra")).unwrap();
        fs::write(root.join("infra/template.yaml"), "").unwrap();
        let layout = Layout::around(&root).unwrap();
        let error = last(&layout).unwrap_err().to_string();
        assert!(error.contains("`cargo fresco up`") && error.contains("`cargo fresco run`"), "{error}");
        let folder = layout.packages();
        fs::create_dir_all(&folder).unwrap();
        for name in ["bootstrap", "simulator"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let packed = pack(built(&folder), &folder, 1).unwrap();
        assert_eq!(last(&layout).unwrap(), packed);
        fs::remove_file(&packed.path).unwrap();
        assert!(last(&layout).is_err());
    }
}
