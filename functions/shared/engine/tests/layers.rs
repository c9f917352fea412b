//! The arrows between the folders of the engine: each imports only the folders that are named here.

use std::collections::BTreeSet;
use std::path::Path;

/// Every folder with the folders that it may import, lowest first: a folder imports only folders that stand before it.
const LAYERS: &[(&str, &[&str])] = &[
    ("run", &[]),
    ("intake", &["run"]),
    ("planning", &["run"]),
    ("step", &["planning", "run"]),
    ("batch", &["intake", "planning", "run"]),
    ("triggers", &["batch", "intake", "run"]),
    ("upkeep", &["batch", "planning", "step"]),
];

fn imported(source: &str) -> BTreeSet<&str> {
    let paths = source.split("crate::").skip(1);
    let names = paths.map(|path| path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(""));
    names.filter(|name| LAYERS.iter().any(|(folder, _)| folder == name)).collect()
}

#[test]
fn folders_import_only_the_folders_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (place, (folder, below)) in LAYERS.iter().enumerate() {
        assert!(below.iter().all(|name| LAYERS[..place].iter().any(|(lower, _)| lower == name)), "{folder}: a circle");
        for file in std::fs::read_dir(src.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let source = std::fs::read_to_string(&path).unwrap();
            let others: Vec<&str> =
                imported(&source).into_iter().filter(|name| name != folder && !below.contains(name)).collect();
            assert!(others.is_empty(), "{} imports {others:?}", path.display());
        }
    }
}

#[test]
fn every_folder_has_a_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = std::fs::read_dir(src).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folders: BTreeSet<String> =
        folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(folders, LAYERS.iter().map(|(folder, _)| (*folder).to_owned()).collect());
}
