//! The pinned Python environment that the emulator runs in. StepOutputs on first use, shared by all instances. It cannot be made
//! aside and moved, so it is made in place, and a marker with the hash of its requirements is written last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::command;
use super::error::{Error, tail};
use super::files;
use super::layout::Layout;
use super::lock::Lock;
use super::progress::Progress;

const MARKER: &str = "fresco-ready";
const NEEDED: (u32, u32) = (3, 10);
const NETWORK: &str = "it downloads about 30 MB from the Python package index, so it needs the network (or a mirror named in \
                       PIP_INDEX_URL); once that is there, run the same command again";

/// The environment's interpreter; the environment is made first where it is missing, half or of other requirements.
pub(crate) fn ensure(layout: &Layout, progress: &Progress) -> Result<PathBuf, Error> {
    let (requirements, pinned) = requirements(layout)?;
    let folder = layout.venv();
    let _lock = Lock::take(
        &layout.home().join("venv.lock"),
        "another fresco command is making the Python environment; waiting for it",
        progress,
    )?;
    let python = folder.join("bin/python");
    if is_ready(&folder, &pinned) {
        return Ok(python);
    }
    let system = find_python()?;
    progress.step("making the Python environment for the emulator (first time only)");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::file("cannot remove", &folder))?;
    }
    command::run(
        Command::new(&system).args(["-m", "venv"]).arg(&folder),
        "it needs Python's venv module (Debian, Ubuntu: `apt-get install python3-venv`) and about 110 MB of disk",
        |_| {},
    )?;
    let install =
        ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps", "--retries", "2", "--quiet"];
    command::run(Command::new(&python).args(install).arg("--requirement").arg(&requirements), NETWORK, |line| {
        progress.detail(line);
    })?;
    let mark = mark(&pinned, &python)
        .ok_or_else(|| Error::file("cannot find", &python)(io::Error::from(io::ErrorKind::NotFound)))?;
    files::write(&folder.join(MARKER), mark.as_bytes())?;
    Ok(python)
}

/// Whether the environment is there or could be made, as far as that can be told at once.
pub(crate) fn check(layout: &Layout) -> Result<(), Error> {
    let (_, pinned) = requirements(layout)?;
    if is_ready(&layout.venv(), &pinned) { Ok(()) } else { find_python().map(drop) }
}

fn requirements(layout: &Layout) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = layout.emulator().join("requirements.txt");
    let pinned = fs::read(&path).map_err(Error::file("cannot read", &path))?;
    Ok((path, pinned))
}

fn is_ready(folder: &Path, pinned: &[u8]) -> bool {
    fs::read_to_string(folder.join(MARKER)).is_ok_and(|found| Some(found) == mark(pinned, &folder.join("bin/python")))
}

/// What the marker holds. The interpreter behind the link belongs to it: an upgraded Python does not see the packages of
/// the one before.
fn mark(requirements: &[u8], python: &Path) -> Option<String> {
    let real = fs::canonicalize(python).ok()?;
    Some(format!("{}\n{}\n", hex::encode(Sha256::digest(requirements)), real.display()))
}

fn find_python() -> Result<String, Error> {
    let named = std::env::var("FRESCO_PYTHON").ok().filter(|name| !name.is_empty());
    let candidates = named.map_or_else(|| vec!["python3".to_owned(), "python".to_owned()], |name| vec![name]);
    let mut too_old = None;
    for python in &candidates {
        match version(python) {
            Some(found) if found >= NEEDED => return can_make_environments(python).map(|()| python.clone()),
            Some((major, minor)) => {
                too_old.get_or_insert(Error::OldPython { python: python.clone(), found: format!("{major}.{minor}") });
            }
            None => {}
        }
    }
    Err(too_old.unwrap_or(Error::NoPython { tried: candidates.join(", ") }))
}

fn version(python: &str) -> Option<(u32, u32)> {
    let output =
        Command::new(python).args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = said.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Debian ships Python without these two modules.
fn can_make_environments(python: &str) -> Result<(), Error> {
    let output = Command::new(python).args(["-c", "import venv, ensurepip"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(Error::NoVenv { python: python.to_owned(), tail: tail(&String::from_utf8_lossy(&output.stderr), 3) })
        }
        Err(error) => Err(Error::NoVenv { python: python.to_owned(), tail: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_knows_requirements_and_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python");
        assert_eq!(mark(b"a==1", &python), None, "a broken link is no environment");
        fs::write(&python, "").unwrap();
        assert_ne!(mark(b"a==1", &python), mark(b"a==2", &python));
    }

    #[test]
    fn requirements_are_pinned_every_one() {
        let text = include_str!("../../../emulator/requirements.txt");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.contains(&"ministack==1.5.33") && lines.contains(&"aws-sam-translator==1.115.0"));
        assert!(lines.iter().all(|line| line.split_once("==").is_some_and(|(_, version)| !version.contains('*'))));
    }
}
