//! Saves the outputs of a run to a folder: files named by step, the manifest, and a contact sheet. Files that exist with the right
//! content stay.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fresco_api_types::filenames::{self, MANIFEST, SHEET};
use fresco_api_types::{Manifest, RunView};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::media::Media;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Api, ApiError};
use crate::view::contact_sheet;

/// A saved run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The folder.
    pub folder: PathBuf,
    /// The files, in the order of the steps.
    pub files: Vec<SavedFile>,
    /// The outputs that could not be fetched, in the order of the steps.
    pub missing: Vec<MissingFile>,
}

/// One saved output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Its step.
    pub step: String,
    /// Its name in the folder.
    pub name: String,
    /// Its kind.
    pub kind: MediaKind,
    /// Whether it was fetched now; an existing file was not.
    pub fetched: bool,
}

/// An output that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingFile {
    /// Its step.
    pub step: String,
    /// Its file name.
    pub name: String,
    /// The reason.
    pub reason: MissingReason,
}

/// The reason why an output could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// It is no longer in the bucket.
    Gone,
    /// The object in the bucket has another hash than the manifest states.
    Damaged,
}

impl fmt::Display for MissingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, name, reason } = self;
        f.write_str(name)?;
        match reason {
            MissingReason::Gone => {
                write!(f, " is gone from the stack; run the pipeline again: step {step} then generates it again")
            }
            MissingReason::Damaged => write!(
                f,
                " has another hash than the manifest states; fetch it again, and if that does not help, run step {step} again \
                 with `cache: refresh`"
            ),
        }
    }
}

/// Outputs that could not be saved. They are still in the bucket.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// An output could not be fetched.
    #[error("{0}")]
    Fetch(#[from] ApiError),
    /// A file could not be written.
    #[error(
        "{path} cannot be written: {error}. The outputs are still in the stack; free some space or choose another folder."
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// An object that was not written to a file.
#[derive(Debug, thiserror::Error)]
enum ObjectError {
    /// It does not exist, or no longer exists.
    #[error("it is no longer in the stack")]
    Gone,
    /// It could not be fetched.
    #[error("{0}")]
    Fetch(ApiError),
    /// It could not be written.
    #[error("{0}")]
    Write(#[from] io::Error),
}

impl From<ApiError> for ObjectError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Gone => ObjectError::Gone,
            other => ObjectError::Fetch(other),
        }
    }
}

impl Api {
    /// Streams the object behind a link to a file.
    async fn object_to(&self, link: &str, to: &mut HashingFile) -> Result<(), ObjectError> {
        let mut answer = self.fetch(link).await?;
        loop {
            match answer.chunk().await.map_err(|error| ApiError::unreachable("the storage", &error))? {
                Some(piece) => to.write_all(&piece)?,
                None => return Ok(()),
            }
        }
    }
}

/// Saves a run under `out`, in a folder of its own.
pub async fn save(api: &Api, view: &RunView, manifest: &Manifest, out: &Path) -> Result<Saved, SaveError> {
    save_in(api, view, manifest, &out.join(manifest.run_id.as_str())).await
}

/// Saves a run to this folder. Files that exist with the right content stay.
pub async fn save_in(api: &Api, view: &RunView, manifest: &Manifest, folder: &Path) -> Result<Saved, SaveError> {
    // The view and the manifest name the files in the same way.
    let outputs = view.steps.iter().flat_map(|step| &step.outputs);
    let links: BTreeMap<&str, &str> = outputs.map(|output| (output.file.as_str(), output.url.as_str())).collect();
    let named = filenames::of_run(manifest);
    let links: BTreeMap<&str, &str> =
        named.iter().filter_map(|named| Some((named.key.as_str(), *links.get(named.name.as_str())?))).collect();
    save_outputs(manifest, folder, async |key, file| match links.get(key) {
        Some(link) => api.object_to(link, file).await,
        None => Err(ObjectError::Gone),
    })
    .await
}

/// Saves the objects that `object_to` fetches, under the file names of an export.
async fn save_outputs(
    manifest: &Manifest,
    folder: &Path,
    object_to: impl AsyncFn(&str, &mut HashingFile) -> Result<(), ObjectError>,
) -> Result<Saved, SaveError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    // First, so that an incomplete folder is known as this run's and can be completed.
    let json = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    write(&folder.join(MANIFEST), &json)?;
    let mut saved = Saved { folder: folder.to_owned(), files: Vec::new(), missing: Vec::new() };
    for named in filenames::of_run(manifest) {
        let Some(step) = manifest.steps.get(named.step) else { continue };
        let Some(output) = step.outputs.get(named.output) else { continue };
        let (step, name) = (step.name.to_string(), named.name);
        match save_output(output, &folder.join(&name), &object_to).await? {
            Ok(fetched) => saved.files.push(SavedFile { step, name, kind: output.kind, fetched }),
            Err(reason) => saved.missing.push(MissingFile { step, name, reason }),
        }
    }
    let texts = saved.files.iter().filter(|file| file.kind == MediaKind::Text);
    let texts: BTreeMap<&str, String> = texts
        .map(|file| (file.name.as_str(), fs::read_to_string(folder.join(&file.name)).unwrap_or_default()))
        .collect();
    write(&folder.join(SHEET), contact_sheet::render(manifest, &saved, &texts).as_bytes())?;
    Ok(saved)
}

/// Saves one output. Returns whether it was fetched, or why it could not be.
async fn save_output(
    output: &Media,
    path: &Path,
    object_to: &impl AsyncFn(&str, &mut HashingFile) -> Result<(), ObjectError>,
) -> Result<Result<bool, MissingReason>, SaveError> {
    if holds(path, output) {
        return Ok(Ok(false));
    }
    let part = part_of(path);
    let mut incoming = HashingFile { file: File::create(&part).map_err(failed(path))?, hash: Sha256::new() };
    let outcome = object_to(&output.key, &mut incoming).await;
    let reason = match outcome {
        Ok(()) if hex::encode(incoming.hash.finalize()) == output.sha256 => {
            fs::rename(&part, path).map_err(failed(path))?;
            return Ok(Ok(true));
        }
        Ok(()) => MissingReason::Damaged,
        Err(ObjectError::Gone) => MissingReason::Gone,
        Err(ObjectError::Fetch(failure)) => return Err(SaveError::Fetch(failure)),
        Err(ObjectError::Write(error)) => return Err(failed(path)(error)),
    };
    fs::remove_file(&part).map_err(failed(&part))?;
    Ok(Err(reason))
}

/// Whether the file exists with the output's content.
fn holds(path: &Path, output: &Media) -> bool {
    let hash = || -> io::Result<String> {
        let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hex::encode(hash.finalize())),
                read => hash.update(&piece[..read]),
            }
        }
    };
    // Most different files differ in length, which is cheap to compare. An unreadable file is fetched.
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() == output.bytes)
        && hash().is_ok_and(|hash| hash == output.sha256)
}

/// A file whose content is hashed while it is written.
struct HashingFile {
    file: File,
    hash: Sha256,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file so that a reader never sees half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    let part = part_of(path);
    fs::write(&part, bytes).map_err(failed(path))?;
    fs::rename(&part, path).map_err(failed(path))
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SaveError {
    let path = path.to_owned();
    move |error| SaveError::Write { path, error }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use fresco_pipeline::ids::StepName;
    use serde_json::json;

    use super::*;

    /// A run with a picture, two more of one step, and a text; what the bucket holds under their keys.
    fn run() -> (Manifest, BTreeMap<String, &'static str>) {
        let held = [("a.jpg", "one"), ("b/0.jpg", "two"), ("b/1.jpg", "three"), ("words.txt", "<four>")];
        let output = |(key, content): (&str, &str)| {
            json!({"key": key, "kind": if key.ends_with("txt") { "text" } else { "image" }, "content_type": "", "bytes": content.len(),
                   "sha256": hex::encode(Sha256::digest(content))})
        };
        let step = |name: &str, outputs: &[(&str, &str)]| {
            json!({"name": name, "of": name, "type": "text_to_image", "model": "flux_dev", "state": "done", "source": "generated",
                   "cost": 0, "price": 0, "reads": [], "given": [],
                   "outputs": outputs.iter().map(|&one| output(one)).collect::<Vec<_>>()})
        };
        let manifest = json!({"version": 2, "run_id": "run-0001", "name": "n", "status": "succeeded", "created_at": 0, "ended_at": 1,
            "took_ms": 1, "sequential_ms": 1, "speed_up": 1.0, "cost": 0, "saved": 0, "function_calls": 1, "failure": null,
            "steps": [step("a", &held[..1]), step("b", &held[1..3]), step("words", &held[3..])]});
        let objects = held.iter().map(|&(key, content)| (key.to_owned(), content)).collect();
        (serde_json::from_value(manifest).unwrap(), objects)
    }

    /// Brings the run from such a bucket; the keys that were asked for.
    async fn save_from(objects: &BTreeMap<String, &str>, folder: &Path) -> (Saved, Vec<String>) {
        let (manifest, asked) = (run().0, RefCell::new(Vec::new()));
        let saved = save_outputs(&manifest, folder, async |key, file| {
            asked.borrow_mut().push(key.to_owned());
            let content = objects.get(key).ok_or(ObjectError::Gone)?;
            Ok(file.write_all(content.as_bytes())?)
        });
        let saved = saved.await.unwrap();
        (saved, asked.into_inner())
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_saved_file_is_not_fetched_again() {
        let (home, (_, objects)) = (tempfile::tempdir().unwrap(), run());
        let folder = home.path().join("deep/er");
        let (saved, asked) = save_from(&objects, &folder).await;
        let all = ["a.jpg", "b_1.jpg", "b_2.jpg", "words.txt"];
        assert_eq!(saved.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), all);
        assert_eq!((asked.len(), saved.missing.len()), (4, 0));
        assert!(saved.files.iter().all(|file| file.fetched));
        assert_eq!(
            names(&folder),
            BTreeSet::from_iter(all.iter().copied().chain([MANIFEST, SHEET]).map(str::to_owned))
        );
        assert!(fs::read_to_string(folder.join(SHEET)).unwrap().contains("&lt;four&gt;"));

        // One is cut short, one is another of the same length, one is away.
        fs::write(folder.join("a.jpg"), "on").unwrap();
        fs::write(folder.join("b_1.jpg"), "TWO").unwrap();
        fs::remove_file(folder.join("words.txt")).unwrap();
        fs::write(folder.join("note.txt"), "mine").unwrap();
        let (saved, asked) = save_from(&objects, &folder).await;
        assert_eq!(asked, ["a.jpg", "b/0.jpg", "words.txt"]);
        assert_eq!(saved.files.iter().map(|file| file.fetched).collect::<Vec<_>>(), [true, true, false, true]);
        assert_eq!(fs::read_to_string(folder.join("b_1.jpg")).unwrap(), "two");
        assert_eq!(fs::read_to_string(folder.join("note.txt")).unwrap(), "mine", "what is the user's stays");
    }

    /// An export gives the same names, and a folder holds one file of a name, whatever the steps are called.
    #[tokio::test]
    async fn steps_whose_files_would_have_one_name_have_two() {
        let (folder, (mut manifest, objects)) = (tempfile::tempdir().unwrap(), run());
        let mut like_another = manifest.steps[0].clone();
        like_another.name = StepName::parse("B_1").unwrap();
        like_another.outputs[0].key = "a.jpg".to_owned();
        manifest.steps.push(like_another);
        let saved =
            save_outputs(&manifest, folder.path(), async |key, file| Ok(file.write_all(objects[key].as_bytes())?));
        let saved: Vec<String> = saved.await.unwrap().files.into_iter().map(|file| file.name).collect();
        assert_eq!(saved, ["a.jpg", "b_1.jpg", "b_2.jpg", "words.txt", "B_1_.jpg"]);
        let named: Vec<String> = filenames::of_run(&manifest).into_iter().map(|named| named.name).collect();
        assert_eq!(saved, named);
        assert_eq!(fs::read_to_string(folder.path().join("b_1.jpg")).unwrap(), "two");
        assert_eq!(fs::read_to_string(folder.path().join("B_1_.jpg")).unwrap(), "one");
    }

    #[tokio::test]
    async fn missing_and_damaged_outputs_are_listed_and_the_rest_is_saved() {
        let (folder, (_, mut objects)) = (tempfile::tempdir().unwrap(), run());
        objects.remove("a.jpg");
        objects.insert("b/1.jpg".to_owned(), "THREE");
        let (saved, _) = save_from(&objects, folder.path()).await;
        assert_eq!(saved.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["b_1.jpg", "words.txt"]);
        let missing: Vec<_> = saved.missing.iter().map(|missing| (missing.name.as_str(), missing.reason)).collect();
        assert_eq!(missing, [("a.jpg", MissingReason::Gone), ("b_2.jpg", MissingReason::Damaged)]);
        assert!(saved.missing[0].to_string().starts_with("a.jpg is gone from the stack; run the pipeline again"));
        let expected = ["b_1.jpg", "words.txt", MANIFEST, SHEET].map(str::to_owned);
        assert_eq!(names(folder.path()), expected.into(), "nothing half, nothing wrong");
        let sheet = fs::read_to_string(folder.path().join(SHEET)).unwrap();
        assert!(
            sheet.contains("a.jpg is gone from the stack") && sheet.contains("b_2.jpg has another hash"),
            "{sheet}"
        );

        // Here already, it need not be in the bucket.
        fs::write(folder.path().join("a.jpg"), "one").unwrap();
        let (saved, asked) = save_from(&objects, folder.path()).await;
        assert_eq!((saved.missing.len(), asked), (1, vec!["b/1.jpg".to_owned()]));
    }

    #[tokio::test]
    async fn an_incomplete_folder_is_the_runs_own() {
        let (folder, (manifest, _)) = (tempfile::tempdir().unwrap(), run());
        let interrupted = save_outputs(&manifest, folder.path(), async |_, file| {
            file.write_all(b"o")?;
            Err(io::Error::other("no space").into())
        });
        assert!(matches!(interrupted.await, Err(SaveError::Write { path, .. }) if path.ends_with("a.jpg")));
        assert!(!folder.path().join("a.jpg").exists());
        super::super::check_folder(folder.path(), &manifest.run_id).unwrap();
        let (saved, _) = save_from(&run().1, folder.path()).await;
        assert_eq!((saved.files.len(), names(folder.path()).len()), (4, 6));
    }
}
