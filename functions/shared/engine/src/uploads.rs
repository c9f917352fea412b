//! Files that come by a link of their own, since an API takes a few megabytes at most: they are looked at when a run names
//! them, and kept under the hash of their content like every input.

use fresco_ledger::traits::{Objects, PresignedPut};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_providers::media::Inspector;

use crate::Engine;
use crate::inputs::{input_problem, kept_as, too_large};
use crate::platform::Platform;
use crate::transact::failure;
use crate::wire::UploadKind;

/// The longest pipeline document.
pub const MAX_DOCUMENT: u64 = fresco_pipeline::document::MAX_BYTES as u64;
/// The longest file of rows.
const MAX_ROWS_FILE: u64 = 1 << 30;
/// How long a link to upload to works, in seconds.
pub(crate) const LINK_SECONDS: u64 = 900;

/// An upload's id: what it will be, how long it is, and 32 hex digits. They begin the hash of its content where that was said,
/// and are such as nobody guesses otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId {
    /// What it will be.
    pub kind: UploadKind,
    /// Its length.
    pub bytes: u64,
    digits: String,
}

impl UploadId {
    /// Reads one that we gave out, or that looks like it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let kind = match parts.next()? {
            "image" => UploadKind::Image,
            "video" => UploadKind::Video,
            "document" => UploadKind::Document,
            "rows" => UploadKind::Rows,
            _ => return None,
        };
        let bytes = parts.next().filter(|bytes| bytes.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let digits =
            parts.next().filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some(UploadId { kind, bytes, digits: digits.to_owned() })
    }

    pub(crate) fn object_key(&self) -> String {
        format!("uploads/{self}")
    }

    /// The media type that it is sent with.
    fn content_type(&self) -> &'static str {
        match self.kind {
            UploadKind::Document => "application/yaml",
            UploadKind::Image | UploadKind::Video | UploadKind::Rows => "application/octet-stream",
        }
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            UploadKind::Image => "image",
            UploadKind::Video => "video",
            UploadKind::Document => "document",
            UploadKind::Rows => "rows",
        };
        write!(f, "{kind}-{}-{}", self.bytes, self.digits)
    }
}

/// A SHA-256 as it is said: 64 hex digits, in lower case, so that one content has one id.
fn read_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(hash)
}

/// The most bytes of an upload of this kind.
fn most(kind: UploadKind) -> u64 {
    match kind {
        UploadKind::Image => MediaKind::Image.max_input_bytes(),
        UploadKind::Video => MediaKind::Video.max_input_bytes(),
        UploadKind::Document => MAX_DOCUMENT,
        UploadKind::Rows => MAX_ROWS_FILE,
    }
}

impl<P: Platform> Engine<P> {
    /// A place to upload to, and how long its link works in seconds. Where the content's SHA-256 is said, in lower-case hex,
    /// the same content has the same id.
    pub async fn new_upload(
        &self,
        kind: UploadKind,
        bytes: u64,
        sha256: Option<&str>,
    ) -> Result<(UploadId, PresignedPut, u64), Failure> {
        let bad = |message: String| Failure::new(ErrorName::InputInvalid, message);
        if bytes == 0 || bytes > most(kind) {
            return Err(bad(format!("it has {bytes} bytes; from 1 to {} are taken", most(kind))));
        }
        let no_hash = || bad("its `sha256` is not 64 lower-case hex digits".to_owned());
        let hash = sha256.map(|text| read_hash(text).ok_or_else(no_hash)).transpose()?;
        // What is asked under an idempotency key names its uploads: who repeats it, uploads and all, has to come to the same.
        let digits = match sha256 {
            Some(text) => text.to_owned(),
            None => self.platform.new_token()?,
        };
        let id = UploadId { kind, bytes, digits: digits.get(..32).unwrap_or_default().to_owned() };
        let (objects, key) = (self.platform.objects(), id.object_key());
        let link = objects.presign_put(&key, bytes, id.content_type(), hash, LINK_SECONDS).await.map_err(failure)?;
        Ok((id, link, LINK_SECONDS))
    }

    /// The text of an uploaded document.
    pub async fn uploaded_document(&self, id: &UploadId) -> Result<String, Failure> {
        let bad = |message: String| Failure::new(ErrorName::InputInvalid, message);
        if id.kind != UploadKind::Document {
            return Err(bad(format!("the upload {id} is not a document")));
        }
        self.require_uploaded(id).await?;
        let bytes = self.platform.objects().get(&id.object_key()).await.map_err(failure)?;
        let bytes = bytes.ok_or_else(|| bad(format!("the upload {id} is not there")))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| bad(format!("the upload {id} is not UTF-8 text")))
    }

    /// Keeps an upload as an input of this kind. The inner error is a problem of the medium.
    pub async fn take_upload(
        &self,
        id: &UploadId,
        kind: MediaKind,
    ) -> Result<Result<InputMedia, MediaProblem>, Failure> {
        let advice = "Upload it again, and name that upload.";
        if let Err(cause) = self.require_uploaded(id).await {
            if cause.name != ErrorName::InputInvalid {
                return Err(cause);
            }
            return Ok(Err(input_problem("input_unread", cause.message, advice)));
        }
        self.take_object(&id.object_key(), id.bytes, kind, advice).await
    }

    /// Keeps an object of the bucket, of this length, as an input of this kind. The inner error is a problem of the medium.
    pub(crate) async fn take_object(
        &self,
        key: &str,
        bytes: u64,
        kind: MediaKind,
        advice: &str,
    ) -> Result<Result<InputMedia, MediaProblem>, Failure> {
        if bytes > kind.max_input_bytes() {
            return Ok(Err(too_large(kind, bytes)));
        }
        let objects = self.platform.objects();
        let gone = || input_problem("input_unread", "the file is gone, or became another", advice);
        let mut inspector = Inspector::new();
        let Some(tag) = objects.scan(key, &mut |piece| inspector.feed(piece)).await.map_err(failure)? else {
            return Ok(Err(gone()));
        };
        let media = match inspector.finish(kind) {
            Ok(info) => kept_as(kind, info),
            Err(why) => return Ok(Err(input_problem("input_kind", why.message, advice))),
        };
        // Over what is there: it is the same, and its age begins anew. It may have been sent with another media type.
        if !objects.copy_matching(key, &tag, &media.key, &media.content_type).await.map_err(failure)? {
            return Ok(Err(gone()));
        }
        self.note_bytes(i64::try_from(media.bytes).unwrap_or(i64::MAX)).await;
        Ok(Ok(media))
    }

    pub(crate) async fn require_uploaded(&self, id: &UploadId) -> Result<(), Failure> {
        let head = self.platform.objects().head(&id.object_key()).await.map_err(failure)?;
        let wrong = match head {
            None => format!("nothing was uploaded as {id}"),
            Some(head) if head.bytes != id.bytes => {
                format!("the upload {id} has {} bytes and not {}", head.bytes, id.bytes)
            }
            Some(_) => return Ok(()),
        };
        Err(Failure::new(ErrorName::InputInvalid, wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_our_form_become_keys() {
        let id = format!("image-12-{}", "ab".repeat(16));
        assert_eq!(UploadId::parse(&id).unwrap().to_string(), id);
        let digits = "ab".repeat(16);
        for bad in [
            String::new(),
            "image".to_owned(),
            format!("audio-12-{digits}"),
            format!("image--{digits}"),
            format!("image-+1-{digits}"),
            format!("image-12-{digits}0"),
            format!("image-12-../{}", "a".repeat(29)),
            format!("image-99999999999999999999-{digits}"),
        ] {
            assert_eq!(UploadId::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hash_is_64_lower_case_hex_digits() {
        assert_eq!(read_hash(&"0f".repeat(32)), Some([0x0f; 32]));
        for bad in [String::new(), "0f".repeat(31), "0f".repeat(33), "0F".repeat(32), "0g".repeat(32)] {
            assert_eq!(read_hash(&bad), None, "{bad}");
        }
    }
}
