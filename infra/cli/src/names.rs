//! Names of files, as they are on the disk. A Mac writes the letters of file names in their decomposed form, and editors and
//! shells write composed ones: a file is found by either, as the inbox finds it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Finds a file by its path as it is written, else by its composed or decomposed form (NFC, NFD), which may differ from folder to
/// folder. Returns the path as it is written where there is none.
pub fn on_disk(path: &Path) -> PathBuf {
    if path.symlink_metadata().is_ok() {
        return path.to_owned();
    }
    let mut found = PathBuf::new();
    for part in path.components() {
        let Some(name) = forms(part.as_os_str()).into_iter().find(|name| found.join(name).symlink_metadata().is_ok())
        else {
            return path.to_owned();
        };
        found.push(name);
    }
    found
}

/// A name in the forms that it may have, as it is written first.
fn forms(name: &OsStr) -> Vec<OsString> {
    let mut forms = vec![name.to_owned()];
    if let Some(text) = name.to_str().filter(|text| !text.is_ascii()) {
        forms.push(text.nfc().collect::<String>().into());
        forms.push(text.nfd().collect::<String>().into());
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_either_unicode_form_of_its_name_and_of_its_folders() {
        let home = tempfile::tempdir().unwrap();
        let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
        std::fs::create_dir(home.path().join(decomposed)).unwrap();
        let file = home.path().join(decomposed).join(format!("{composed}.png"));
        std::fs::write(&file, "x").unwrap();
        for folder in [composed, decomposed] {
            for name in [composed, decomposed] {
                let asked = home.path().join(folder).join(format!("{name}.png"));
                assert_eq!(std::fs::read(on_disk(&asked)).unwrap(), b"x", "{asked:?}");
            }
        }
        let missing = home.path().join(composed).join("other.png");
        assert_eq!(on_disk(&missing), missing);
    }

    #[test]
    fn a_name_as_it_is_written_comes_first() {
        let home = tempfile::tempdir().unwrap();
        for name in ["caf\u{e9}", "cafe\u{301}"] {
            std::fs::write(home.path().join(name), name).unwrap();
        }
        for name in ["caf\u{e9}", "cafe\u{301}"] {
            assert_eq!(std::fs::read_to_string(on_disk(&home.path().join(name))).unwrap(), name);
        }
    }
}
