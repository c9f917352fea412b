//! Media that steps generate.

use serde::{Deserialize, Serialize};

use crate::catalogue::MediaKind;
use crate::media::InputMedia;

/// A media object in S3 and its description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The S3 key.
    pub key: String,
    /// What it is.
    pub kind: MediaKind,
    /// Its media type.
    pub content_type: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Length in milliseconds, of what has one.
    pub duration_ms: Option<u64>,
}

impl From<&Output> for InputMedia {
    /// What one step made is what another takes.
    fn from(output: &Output) -> Self {
        InputMedia {
            key: output.key.clone(),
            kind: output.kind,
            content_type: output.content_type.clone(),
            bytes: output.bytes,
            sha256: output.sha256.clone(),
            width: output.width,
            height: output.height,
        }
    }
}
