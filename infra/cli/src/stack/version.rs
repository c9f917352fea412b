//! The format of an instance's folder. It changes when an older state would be misread, which includes the emulator's.

use std::fs;
use std::io;

use anyhow::{Context, bail};

use super::files;
use super::layout::Instance;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;

/// Checks the folder's format, and writes it where the folder is new.
pub(crate) fn check(instance: &Instance) -> anyhow::Result<()> {
    let path = instance.version();
    let found = match fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new(instance) => {
            return files::write(&path, format!("{FORMAT}\n").as_bytes());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => "unknown".to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if found.parse() == Ok(FORMAT) {
        return Ok(());
    }
    bail!(
        "the state in {} has format {found}, and this version of Fresco reads format {FORMAT}; `cargo fresco down --purge` \
         removes it (results stored there are generated again)",
        instance.folder().display()
    )
}

/// Without the emulator's state there is nothing to misread.
fn is_new(instance: &Instance) -> bool {
    fs::read_dir(instance.state()).map_or(true, |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> (tempfile::TempDir, Instance) {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(&folder.path().join("local")).unwrap();
        (folder, instance)
    }

    #[test]
    fn a_new_folder_gets_the_format() {
        let (_folder, instance) = instance();
        check(&instance).unwrap();
        fs::write(instance.state().join("s3.json"), "{}").unwrap();
        check(&instance).unwrap();
    }

    #[test]
    fn another_format_is_refused_with_what_to_do() {
        for version in [Some("0\n"), Some("99"), Some("soup"), None] {
            let (_folder, instance) = instance();
            fs::write(instance.state().join("s3.json"), "{}").unwrap();
            if let Some(version) = version {
                fs::write(instance.version(), version).unwrap();
            }
            let error = check(&instance).unwrap_err();
            assert!(error.to_string().contains("cargo fresco down --purge"), "{error}");
        }
    }
}
