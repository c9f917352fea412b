//! Where everything is: the project's own files, what is shared by all stacks on this machine, and the folder of one stack.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;

/// The project and the folder for what it makes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    home: PathBuf,
}

impl Layout {
    /// The project around the current folder; where there is none, the one that this program was built in.
    pub fn find() -> Result<Self, Error> {
        let start = env::current_dir().map_err(Error::file("cannot find", Path::new(".")))?;
        Self::around(&start).or_else(|error| Self::around(Path::new(env!("CARGO_MANIFEST_DIR"))).map_err(|_| error))
    }

    /// The project that holds this folder.
    pub fn around(start: &Path) -> Result<Self, Error> {
        let no_project = || Error::NoProject { start: start.to_owned() };
        let start = start.canonicalize().map_err(|_| no_project())?;
        let root =
            start.ancestors().find(|folder| folder.join("infra/template.yaml").is_file()).ok_or_else(no_project)?;
        Ok(Self { root: root.to_owned(), home: root.join(".fresco") })
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

    /// Where the zips are put; the template names them relative to itself.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("target/fresco")
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.home.join("venv")
    }
}

/// The folder of one stack: its state, its logs, and what is known of its processes.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    folder: PathBuf,
}

impl Instance {
    /// Makes the folder where it is missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        for sub in ["", "state", "s3", "emulator"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).map_err(Error::file("cannot make", &path))?;
        }
        let folder = folder.canonicalize().map_err(Error::file("cannot find", folder))?;
        Ok(Self { folder })
    }

    /// An instance that may not be there.
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

    pub(crate) fn emulator_lock(&self) -> PathBuf {
        self.folder.join("emulator.lock")
    }

    pub(crate) fn emulator_log(&self) -> PathBuf {
        self.folder.join("emulator.log")
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
