//! Media that a user gives with a run: a file or a URL, kept under the hash of its content, so that the same picture under
//! two names is one input and one content key.

use serde::{Deserialize, Serialize};

use crate::catalogue::MediaKind;

/// A medium in the stack's bucket that a step may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputMedia {
    /// The S3 key, see [`input_key`].
    pub key: String,
    /// What it is.
    pub kind: MediaKind,
    /// Its media type.
    pub content_type: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Pixels across, of what has them.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
}

/// `inputs/<kind>/<sha256>.<ext>`: content-addressed, and no part of it comes from a user.
pub fn input_key(kind: MediaKind, sha256: &str, extension: &str) -> String {
    format!("inputs/{}/{sha256}.{extension}", kind.as_str())
}

/// Why a medium that a document names cannot be used. It becomes a problem of the document, at the place that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaProblem {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}
