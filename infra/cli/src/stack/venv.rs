//! The pinned Python environment that the emulator runs in. Created on first use, shared by all instances. It cannot
//! be created aside and moved, so a marker with the hash of its requirements is written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::command;
use super::error::tail;
use super::files;
use super::layout::Layout;
use super::lock::Lock;
use super::progress::Progress;

const MARKER: &str = "fresco-ready";
const NEEDED: (u32, u32) = (3, 10);
const NETWORK: &str = "it downloads about 30 MB from the Python package index, so it needs the network (or a mirror named in \
                       PIP_INDEX_URL); run the same command again with it";

/// The environment's interpreter. The environment is created first if it is missing, half, or of other requirements.
pub(crate) fn ensure(layout: &Layout, progress: &Progress) -> anyhow::Result<PathBuf> {
    let (requirements, pinned) = requirements(layout)?;
    let folder = layout.venv();
    let _lock = Lock::take(
        &layout.home().join("venv.lock"),
        "another fresco command is creating the Python environment; waiting for it",
        progress,
    )?;
    let python = folder.join("bin/python");
    if is_ready(&folder, &pinned) {
        return Ok(python);
    }
    let system = find_python()?;
    progress.step("creating the Python environment for the emulator (first time only)");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
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
    let mark = mark(&pinned, &python).with_context(|| format!("cannot find {}", python.display()))?;
    files::write(&folder.join(MARKER), mark.as_bytes())?;
    Ok(python)
}

/// Refuses a machine on which the environment neither exists nor can be created, before anything slow.
pub(crate) fn check(layout: &Layout) -> anyhow::Result<()> {
    let (_, pinned) = requirements(layout)?;
    if is_ready(&layout.venv(), &pinned) { Ok(()) } else { find_python().map(drop) }
}

fn requirements(layout: &Layout) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = layout.emulator().join("requirements.txt");
    let pinned = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path, pinned))
}

fn is_ready(folder: &Path, pinned: &[u8]) -> bool {
    fs::read_to_string(folder.join(MARKER)).is_ok_and(|found| Some(found) == mark(pinned, &folder.join("bin/python")))
}

/// The content of the marker. The interpreter behind the link belongs to it: an upgraded Python does not see the packages of
/// the earlier one.
fn mark(requirements: &[u8], python: &Path) -> Option<String> {
    let real = fs::canonicalize(python).ok()?;
    Some(format!("{}\n{}\n", hex::encode(Sha256::digest(requirements)), real.display()))
}

fn find_python() -> anyhow::Result<String> {
    let named = std::env::var("FRESCO_PYTHON").ok().filter(|name| !name.is_empty());
    let candidates = named.map_or_else(|| vec!["python3".to_owned(), "python".to_owned()], |name| vec![name]);
    let mut old = None;
    for python in &candidates {
        match version(python) {
            Some(found) if found >= NEEDED => return can_make_environments(python).map(|()| python.clone()),
            Some((major, minor)) => old = old.or(Some(format!("{python} is Python {major}.{minor}"))),
            None => {}
        }
    }
    let found = old.unwrap_or_else(|| format!("none was found (tried {})", candidates.join(", ")));
    bail!(
        "the local stack needs Python 3.10 or later, and {found}; install it (Debian, Ubuntu: `apt-get install python3 \
         python3-venv`; macOS: `brew install python`), or name one in FRESCO_PYTHON"
    )
}

fn version(python: &str) -> Option<(u32, u32)> {
    let output =
        Command::new(python).args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = said.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Debian ships Python without these two modules.
fn can_make_environments(python: &str) -> anyhow::Result<()> {
    let output = Command::new(python).args(["-c", "import venv, ensurepip"]).output();
    let output = output.with_context(|| format!("{python} cannot be started"))?;
    ensure!(
        output.status.success(),
        "{python} has no `venv` module, which the local stack needs; install it (Debian, Ubuntu: `apt-get install \
         python3-venv`). It ended with:\n{}",
        tail(&String::from_utf8_lossy(&output.stderr), 3)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_depends_on_requirements_and_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python");
        assert_eq!(mark(b"a==1", &python), None, "a broken link is no environment");
        fs::write(&python, "").unwrap();
        assert_ne!(mark(b"a==1", &python), mark(b"a==2", &python));
    }

    #[test]
    fn every_requirement_is_pinned() {
        let text = include_str!("../../../emulator/requirements.txt");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.contains(&"ministack==1.5.33") && lines.contains(&"aws-sam-translator==1.115.0"));
        assert!(lines.iter().all(|line| line.split_once("==").is_some_and(|(_, version)| !version.contains('*'))));
    }
}
