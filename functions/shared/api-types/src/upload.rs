//! Uploads, which a run or a batch names by their ids.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The content of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    /// A picture: PNG, JPEG or WebP, at most 14 MiB.
    Image,
    /// A video: MP4, at most 200 MiB.
    Video,
    /// A pipeline document, at most 4 MiB.
    Document,
    /// The rows of a batch, at most 1 GiB.
    Rows,
}

/// A request for an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadBody {
    /// The content.
    pub kind: UploadKind,
    /// Its length; the link accepts exactly this many bytes.
    pub bytes: u64,
    /// SHA-256 of the content, in lower-case hex. The link then accepts nothing else, and the same content has the same id, so
    /// that a request that names it can be repeated under its `Idempotency-Key`. Without it, every upload has an id of its own.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// An upload that is ready to receive its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadView {
    /// The id by which a run names it. It expires after a day.
    pub id: String,
    /// The HTTP method.
    pub method: String,
    /// The signed URL.
    pub url: String,
    /// The headers that have to be sent.
    pub headers: BTreeMap<String, String>,
    /// When the link expires.
    pub url_expires_at: i64,
}
