//! Files that lie beside a document, a text or rows, found by the names that these give them. A Mac writes the letters of
//! file names in their decomposed form, and editors write composed ones: a name is found in either.

use fresco_ledger::traits::{ObjectHead, Objects, StoreError};
use unicode_normalization::UnicodeNormalization;

use crate::intake::Intake;
use crate::intake::object_keys::is_plain;
use crate::platform::Platform;

/// The name in its composed form (NFC).
pub(crate) fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// The name of a file relative to the folder; `None` for a URL and for what leads out of the folder.
pub(crate) fn name_beside(text: &str) -> Option<&str> {
    let name = text.strip_prefix("./").unwrap_or(text);
    (!text.contains("://") && !name.starts_with('/') && is_plain(name)).then_some(name)
}

impl<P: Platform> Intake<P> {
    /// Finds an object under the folder by its name as it is written, else in its composed or decomposed form (NFC, NFD).
    /// One without content counts as missing: some tools create a file before they write it.
    pub(crate) async fn find_beside(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Option<(String, ObjectHead)>, StoreError> {
        let mut names = vec![name.to_owned()];
        for form in [composed(name), name.nfd().collect()] {
            if !names.contains(&form) {
                names.push(form);
            }
        }
        for name in names {
            let key = format!("{folder}{name}");
            if let Some(head) = self.platform.objects().head(&key).await?
                && head.bytes > 0
            {
                return Ok(Some((key, head)));
            }
        }
        Ok(None)
    }
}
