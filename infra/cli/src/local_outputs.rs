//! Removes old folders of runs and batches under an `out/` folder. A folder is removed only if `run`, `fetch` or `batch` has
//! certainly created it and it holds nothing else.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fresco_api_types::filenames::{self, MANIFEST, SHEET};
use fresco_api_types::{BatchManifest, Manifest};
use fresco_pipeline::ids::RunId;
use serde::{Deserialize, Serialize};

use crate::api::RESULTS;

/// The longest manifest, in bytes. A longer file is not one.
const MAX_MANIFEST: u64 = 64 << 20;
/// Files that file managers create in the folders that they show.
const FILE_MANAGER_FILES: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];

/// An `out/` folder that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {error}", folder.display())]
pub struct OutError {
    folder: PathBuf,
    error: io::Error,
}

/// The folders of runs and batches under a folder, by what was done with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OldFolders {
    /// Folders that were removed, or that a dry run would remove.
    pub removed: u64,
    /// The bytes that this freed, or would free.
    pub bytes: u64,
    /// Younger folders.
    pub young: u64,
    /// Old folders that hold other files, too. They stay.
    pub mixed: u64,
    /// Other files and folders. They stay.
    pub others: u64,
    /// Folders that could not be removed, or only in part.
    pub failed: Vec<FolderLeft>,
}

/// A folder that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderLeft {
    /// The folder.
    pub folder: PathBuf,
    /// The reason.
    pub reason: String,
}

/// The entries directly under a folder.
#[derive(Debug)]
pub struct OutFolder(Vec<PathBuf>);

/// The class of an entry of an `out/` folder.
enum EntryClass {
    /// An old folder of a run or a batch: its files apart from the manifest, and the length of all.
    Old {
        files: Vec<PathBuf>,
        bytes: u64,
    },
    Young,
    Mixed,
    Other,
}

impl OutFolder {
    /// Lists the folder, and removes nothing.
    pub fn list(folder: &Path) -> Result<Self, OutError> {
        let entries = fs::read_dir(folder).and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<io::Result<Vec<PathBuf>>>()
        });
        let mut paths = entries.map_err(|error| OutError { folder: folder.to_owned(), error })?;
        paths.sort();
        Ok(Self(paths))
    }

    /// Removes folders whose manifest was written before this time; with `dry_run` it only counts them.
    pub fn remove_old(&self, before: SystemTime, dry_run: bool) -> OldFolders {
        let mut old = OldFolders::default();
        for path in &self.0 {
            match classify(path, before) {
                EntryClass::Old { files, bytes } => match if dry_run { Ok(()) } else { remove(path, &files) } {
                    Ok(()) => {
                        old.removed += 1;
                        old.bytes += bytes;
                    }
                    Err(error) => {
                        old.failed.push(FolderLeft { folder: path.clone(), reason: error.to_string() });
                    }
                },
                EntryClass::Young => old.young += 1,
                EntryClass::Mixed => old.mixed += 1,
                EntryClass::Other => old.others += 1,
            }
        }
        old
    }
}

/// Classifies an entry by its age and its files.
fn classify(path: &Path, before: SystemTime) -> EntryClass {
    let Some(manifest) = manifest_of(path) else { return EntryClass::Other };
    match manifest.about.modified() {
        Ok(modified) if modified < before => {}
        Ok(_) => return EntryClass::Young,
        // An entry of unknown age is not old.
        Err(_) => return EntryClass::Other,
    }
    // A manifest of another version does not name the files of the folder.
    let Some(named) = names_of(&manifest) else { return EntryClass::Mixed };
    let Ok(Some(files)) = own_files(path, named) else { return EntryClass::Mixed };
    let bytes = manifest.about.len() + files.iter().map(|(_, bytes)| bytes).sum::<u64>();
    EntryClass::Old { files: files.into_iter().map(|(file, _)| file).collect(), bytes }
}

/// A manifest with its text and its metadata.
struct FoundManifest {
    owner: Owner,
    text: Vec<u8>,
    about: Metadata,
}

/// The run or the batch of a manifest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Owner {
    Run { run_id: RunId },
    Batch { batch_id: RunId },
}

impl Owner {
    fn id(&self) -> &RunId {
        match self {
            Owner::Run { run_id } => run_id,
            Owner::Batch { batch_id } => batch_id,
        }
    }
}

/// Reads the manifest of a folder that is named by its run or its batch.
fn manifest_of(folder: &Path) -> Option<FoundManifest> {
    let id = RunId::parse(folder.file_name()?.to_str()?).ok()?;
    // Neither the folder nor the manifest may be a link: no command creates one.
    let manifest = folder.join(MANIFEST);
    if !fs::symlink_metadata(folder).ok()?.is_dir() {
        return None;
    }
    let about = fs::symlink_metadata(&manifest).ok()?;
    if !about.is_file() || about.len() > MAX_MANIFEST {
        return None;
    }
    let text = fs::read(manifest).ok()?;
    let owner: Owner = serde_json::from_slice(&text).ok()?;
    (*owner.id() == id).then_some(FoundManifest { owner, text, about })
}

/// Returns the file names that belong to a manifest, or `None` where it cannot be read.
fn names_of(manifest: &FoundManifest) -> Option<Vec<String>> {
    match manifest.owner {
        Owner::Run { .. } => {
            let read: Manifest = serde_json::from_slice(&manifest.text).ok()?;
            let outputs = filenames::of_run(&read).into_iter().map(|named| named.name);
            Some(outputs.chain([SHEET.to_owned()]).collect())
        }
        Owner::Batch { .. } => {
            serde_json::from_slice::<BatchManifest>(&manifest.text).ok()?;
            Some(vec![RESULTS.to_owned()])
        }
    }
}

/// Returns the files of a folder apart from its manifest, with their lengths, or `None` where it holds another file.
fn own_files(folder: &Path, named: Vec<String>) -> io::Result<Option<Vec<(PathBuf, u64)>>> {
    let mut own: BTreeSet<PathBuf> = named.into_iter().chain([MANIFEST.to_owned()]).map(PathBuf::from).collect();
    // The rest of an interrupted download.
    let parts: Vec<PathBuf> = own.iter().map(|name| name.with_extension("part")).collect();
    own.extend(parts);
    own.extend(FILE_MANAGER_FILES.map(PathBuf::from));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Of the entry itself, not of the target of a link.
        let about = entry.metadata()?;
        if !about.is_file() || !own.contains(Path::new(&entry.file_name())) {
            return Ok(None);
        }
        if entry.file_name() != MANIFEST {
            files.push((entry.path(), about.len()));
        }
    }
    Ok(Some(files))
}

/// Removes a folder. The manifest goes last, so that an interrupted removal can be repeated. A folder in which a new file appears
/// meanwhile is not empty, and stays.
fn remove(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        allow_missing(fs::remove_file(file))?;
    }
    allow_missing(fs::remove_file(folder.join(MANIFEST)))?;
    allow_missing(fs::remove_dir(folder))
}

/// Accepts that the file has been removed by another process.
fn allow_missing(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::now()
    }

    /// A run's folder with a picture and the sheet; its manifest is so old.
    fn run(out: &Path, name: &str, run_id: &str, age: Duration) -> PathBuf {
        let folder = out.join(name);
        fs::create_dir_all(&folder).unwrap();
        let output =
            json!({"key": "outputs/image/k/1/0.jpg", "kind": "image", "content_type": "", "bytes": 3, "sha256": ""});
        let step = json!({"name": "hero", "of": "hero", "type": "text_to_image", "model": "m", "state": "done",
            "source": "generated", "cost": 0, "price": 0, "reads": [], "given": [], "outputs": [output]});
        let manifest = json!({"version": 2, "run_id": run_id, "name": "n", "status": "succeeded", "created_at": 0, "ended_at": 1,
            "took_ms": 1, "sequential_ms": 1, "speed_up": 1.0, "cost": 0, "saved": 0, "function_calls": 1, "failure": null,
            "steps": [step]});
        fs::write(folder.join("hero.jpg"), "abc").unwrap();
        fs::write(folder.join(SHEET), "<html>").unwrap();
        dated(&folder, &manifest.to_string(), age);
        folder
    }

    fn dated(folder: &Path, manifest: &str, age: Duration) {
        fs::write(folder.join(MANIFEST), manifest).unwrap();
        let file = fs::File::options().write(true).open(folder.join(MANIFEST)).unwrap();
        file.set_modified(now() - age).unwrap();
    }

    fn removed(out: &Path, dry_run: bool) -> OldFolders {
        OutFolder::list(out).unwrap().remove_old(now() - 3 * DAY, dry_run)
    }

    #[test]
    fn old_run_folders_go_and_young_ones_stay() {
        let out = tempfile::tempdir().unwrap();
        let old = run(out.path(), "run-00000001", "run-00000001", 3 * DAY + Duration::from_secs(60));
        let young = run(out.path(), "run-00000002", "run-00000002", 3 * DAY - Duration::from_secs(60));
        let manifest = fs::metadata(old.join(MANIFEST)).unwrap().len();
        let said = OldFolders { removed: 1, bytes: manifest + 3 + 6, young: 1, ..OldFolders::default() };
        assert_eq!(removed(out.path(), true), said);
        assert!(old.join("hero.jpg").exists(), "a dry run changes nothing");
        assert_eq!(removed(out.path(), false), said);
        assert!(!old.exists() && young.join("hero.jpg").exists());
        assert_eq!(removed(out.path(), false), OldFolders { young: 1, ..OldFolders::default() });
    }

    /// A batch's folder with its results; its manifest is so old.
    fn batch(out: &Path, name: &str, batch_id: &str, age: Duration) -> PathBuf {
        let folder = out.join(name);
        fs::create_dir_all(&folder).unwrap();
        let manifest = json!({"version": 1, "batch_id": batch_id, "name": "n", "status": "succeeded", "created_at": 0,
            "ended_at": 1, "rows": 1, "by_status": {"done": 1}, "by_source": {"generated": 1}, "by_failure": {}, "spent": 0,
            "saved": 0, "took_ms": null, "failure": null});
        fs::write(folder.join(RESULTS), "{}\n").unwrap();
        dated(&folder, &manifest.to_string(), age);
        folder
    }

    #[test]
    fn folders_of_batches_are_treated_as_those_of_runs() {
        let out = tempfile::tempdir().unwrap();
        let age = 90 * DAY;
        let old = batch(out.path(), "batch-00000001", "batch-00000001", age);
        fs::write(old.join("results.part"), "{").unwrap();
        let young = batch(out.path(), "batch-00000002", "batch-00000002", DAY);
        let mine = batch(out.path(), "batch-00000003", "batch-00000003", age);
        fs::write(mine.join("results.xlsx"), "work").unwrap();
        let later = batch(out.path(), "batch-00000004", "batch-00000004", age);
        dated(&later, "{\"version\":99,\"batch_id\":\"batch-00000004\"}", age);
        let other = batch(out.path(), "batch-00000005", "batch-00000006", age);
        let bytes = fs::metadata(old.join(MANIFEST)).unwrap().len() + 3 + 1;
        let said = OldFolders { removed: 1, bytes, young: 1, mixed: 2, others: 1, failed: vec![] };
        assert_eq!(removed(out.path(), true), said);
        assert_eq!(removed(out.path(), false), said);
        assert!(!old.exists());
        for kept in [young, mine, later, other] {
            assert!(kept.join(RESULTS).exists(), "{}", kept.display());
        }
    }

    #[test]
    fn what_is_no_runs_folder_is_left_alone() {
        let out = tempfile::tempdir().unwrap();
        let age = 90 * DAY;
        // Named by another run, not named by a run, without a manifest, with one that is none, a file, and one level down.
        run(out.path(), "run-00000001", "run-00000002", age);
        run(out.path(), "my pictures", "run-00000003", age);
        fs::create_dir(out.path().join("run-00000004")).unwrap();
        dated(&run(out.path(), "run-00000005", "run-00000005", age), "{\"run_id\":", age);
        fs::write(out.path().join("run-00000006"), "a file").unwrap();
        run(&out.path().join("deeper"), "run-00000007", "run-00000007", age);
        assert_eq!(removed(out.path(), false), OldFolders { others: 6, ..OldFolders::default() });
        assert!(out.path().join("run-00000001/hero.jpg").exists());
        assert!(out.path().join("deeper/run-00000007/hero.jpg").exists());
    }

    #[test]
    fn a_run_folder_with_something_of_the_users_stays_whole() {
        let out = tempfile::tempdir().unwrap();
        let age = 90 * DAY;
        let mine = run(out.path(), "run-00000001", "run-00000001", age);
        fs::write(mine.join("hero_edited.psd"), "work").unwrap();
        let deep = run(out.path(), "run-00000002", "run-00000002", age);
        fs::create_dir(deep.join("more")).unwrap();
        let later = run(out.path(), "run-00000003", "run-00000003", age);
        dated(&later, "{\"version\":99,\"run_id\":\"run-00000003\"}", age);
        let swept = run(out.path(), "run-00000004", "run-00000004", age);
        fs::write(swept.join("hero.part"), "ab").unwrap();
        fs::write(swept.join(".DS_Store"), "x").unwrap();
        let outcome = removed(out.path(), false);
        assert_eq!((outcome.removed, outcome.mixed, outcome.others), (1, 3, 0), "{outcome:?}");
        assert!(mine.join("hero.jpg").exists() && deep.join("hero.jpg").exists() && later.join("hero.jpg").exists());
        assert!(!swept.exists(), "leftovers of an interrupted fetch or a file manager are removed");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_never_followed() {
        use std::os::unix::fs::symlink;
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let age = 90 * DAY;
        // A link to a folder that would go, a link for a manifest, and a link beside the outputs.
        let target = run(elsewhere.path(), "run-00000001", "run-00000001", age);
        symlink(&target, out.path().join("run-00000001")).unwrap();
        let second = run(out.path(), "run-00000002", "run-00000002", age);
        fs::rename(second.join(MANIFEST), elsewhere.path().join(MANIFEST)).unwrap();
        symlink(elsewhere.path().join(MANIFEST), second.join(MANIFEST)).unwrap();
        let third = run(out.path(), "run-00000003", "run-00000003", age);
        fs::remove_file(third.join("hero.jpg")).unwrap();
        fs::write(elsewhere.path().join("precious.jpg"), "precious").unwrap();
        symlink(elsewhere.path().join("precious.jpg"), third.join("hero.jpg")).unwrap();
        let outcome = removed(out.path(), false);
        assert_eq!((outcome.removed, outcome.mixed, outcome.others), (0, 1, 2), "{outcome:?}");
        assert!(target.join("hero.jpg").exists() && second.join("hero.jpg").exists());
        assert!(elsewhere.path().join("precious.jpg").exists() && third.join("hero.jpg").exists());
    }

    #[test]
    fn a_folder_that_is_none_is_said() {
        let out = tempfile::tempdir().unwrap();
        let error = OutFolder::list(&out.path().join("nowhere")).unwrap_err();
        assert!(error.to_string().contains("nowhere cannot be read"), "{error}");
    }
}
