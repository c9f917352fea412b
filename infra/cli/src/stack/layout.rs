//! The paths of the project's own files, of files shared by all stacks on this machine, and of the folder of one stack.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::error::Error;

/// The project and the folder of its local stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    home: PathBuf,
}

impl Layout {
    /// The project around the current folder; where there is none, the one that this program was built in.
    pub fn find() -> Result<Self, Error> {
        let start = env::current_dir().context("cannot find the current folder")?;
        Self::around(&start).or_else(|error| Self::around(Path::new(env!("CARGO_MANIFEST_DIR"))).map_err(|_| error))
    }

    /// The project that holds this folder.
    pub fn around(start: &Path) -> Result<Self, Error> {
        let root = start.canonicalize().ok().and_then(|start| {
            start.ancestors().find(|folder| folder.join("infra/template.yaml").is_file()).map(Path::to_owned)
        });
        let root = root.with_context(|| {
            format!(
                "no Fresco project at {}: neither it nor a folder above it holds infra/template.yaml; run the command inside \
                 the project",
                start.display()
            )
        })?;
        Ok(Self { home: root.join(".fresco"), root })
    }

    /// The same project with its state elsewhere than in `.fresco/`.
    pub fn with_home(self, home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), ..self }
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of environments and instances, `.fresco/` unless set otherwise.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of the instance of that name; the command's own is `local`.
    pub fn instance(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.root.join("infra/template.yaml")
    }

    pub(crate) fn emulator(&self) -> PathBuf {
        self.root.join("infra/emulator")
    }

    /// The folder of the functions' package; the template names it relative to itself.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("target/fresco")
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.home.join("venv")
    }
}

/// The folder of one stack: its state, its logs, and the locks of its processes.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    folder: PathBuf,
}

impl Instance {
    /// Creates the folder if it is missing.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        for sub in ["", "state", "s3", "emulator"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// An instance that may not exist.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.folder.join("version")
    }

    pub(crate) fn running(&self) -> PathBuf {
        self.folder.join("running.json")
    }

    /// The fingerprint of the last deployment.
    pub(crate) fn deployed(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("s3")
    }

    /// HOME and TMPDIR of the emulator and its functions.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("emulator")
    }

    /// Held by the emulator and its functions for their lifetime.
    pub(crate) fn emulator_lock(&self) -> PathBuf {
        self.folder.join("emulator.lock")
    }

    pub(crate) fn emulator_log(&self) -> PathBuf {
        self.folder.join("emulator.log")
    }

    /// Held by the simulator for its lifetime.
    pub(crate) fn simulator_lock(&self) -> PathBuf {
        self.folder.join("simulator.lock")
    }

    pub(crate) fn simulator_log(&self) -> PathBuf {
        self.folder.join("simulator.log")
    }

    pub(crate) fn simulator_state(&self) -> PathBuf {
        self.folder.join("simulator.json")
    }

    pub(crate) fn simulator_port(&self) -> PathBuf {
        self.folder.join("simulator.port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_from_any_folder_within() {
        let own = Layout::around(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let deep = Layout::around(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stack")).unwrap();
        assert_eq!(own, deep);
        assert!(own.root().join("Cargo.toml").is_file());
        assert_eq!(own.instance("local"), own.root().join(".fresco/local"));
    }

    #[test]
    fn outside_of_a_project_the_error_says_so() {
        let elsewhere = tempfile::tempdir().unwrap();
        let error = Layout::around(elsewhere.path()).unwrap_err();
        assert!(error.to_string().contains("infra/template.yaml"), "{error}");
    }

    #[test]
    fn the_state_may_be_elsewhere() {
        let layout = Layout::around(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap().with_home("/elsewhere");
        assert_eq!(layout.venv(), Path::new("/elsewhere/venv"));
        assert_eq!(layout.instance("a"), Path::new("/elsewhere/a"));
    }
}
