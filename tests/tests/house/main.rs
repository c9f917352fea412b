//! The structure of the workspace: imports without circles, the direction of dependencies between crates, links in the
//! documentation, and the size of the engine's types. It reads sources and starts no stack.

#![expect(clippy::unwrap_used, reason = "a test suite: a file that cannot be read fails the test")]

mod crates;
mod imports;
mod links;
mod methods;
mod reader;

use std::fs;
use std::path::{Path, PathBuf};

use imports::{Imports, circles, folders};

/// The most methods of a type of the engine.
const MAX_METHODS: usize = 30;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files under a folder with this extension, in order; build results and hidden folders are skipped.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "out" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    found
}

/// The folders with a `Cargo.toml`, without the workspace itself.
fn crate_folders() -> Vec<PathBuf> {
    let manifests = files(&root(), "toml").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    manifests.map(|path| path.parent().unwrap().to_owned()).filter(|folder| *folder != root()).collect()
}

fn read_crate(folder: &Path) -> Imports {
    let src = folder.join("src");
    let sources = files(&src, "rs").into_iter().map(|path| {
        let relative = path.strip_prefix(&src).unwrap().with_extension("");
        let parts = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        (parts, fs::read_to_string(&path).unwrap())
    });
    Imports::read(sources)
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let found: Vec<String> = crate_folders()
        .iter()
        .flat_map(|folder| {
            let name = folder.strip_prefix(root()).unwrap().display().to_string();
            circles(read_crate(folder).arrows()).into_iter().map(move |circle| format!("{name}: {circle}"))
        })
        .collect();
    assert!(found.is_empty(), "circles of imports:\n{}", found.join("\n"));
}

#[test]
fn the_engines_folders_do_not_import_each_other_in_circles() {
    let imports = read_crate(&root().join("functions/shared/engine"));
    let found = circles(&folders(imports.arrows()));
    assert!(found.is_empty(), "circles between folders of the engine:\n{}", found.join("\n"));
}

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    let forbidden: Vec<String> = crate_folders()
        .iter()
        .flat_map(|folder| {
            let name = folder.strip_prefix(root()).unwrap().display().to_string();
            crates::forbidden(&name, &fs::read_to_string(folder.join("Cargo.toml")).unwrap())
        })
        .collect();
    assert!(forbidden.is_empty(), "dependencies that are not allowed:\n{}", forbidden.join("\n"));
}

#[test]
fn relative_links_of_the_documentation_work() {
    let broken: Vec<String> = files(&root(), "md").iter().flat_map(|file| links::broken(file, &root())).collect();
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn no_type_of_the_engine_has_too_many_methods() {
    let sources = files(&root().join("functions/shared/engine/src"), "rs");
    let counts = methods::count(sources.iter().map(|path| fs::read_to_string(path).unwrap()));
    let large: Vec<_> = counts.into_iter().filter(|(_, methods)| *methods > MAX_METHODS).collect();
    assert!(large.is_empty(), "types with more than {MAX_METHODS} methods: {large:?}");
}
