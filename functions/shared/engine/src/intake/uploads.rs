//! Uploads by presigned links, since a request takes a few megabytes at most. An upload is inspected when a run names
//! it, and stored under the hash of its content like every input.

use fresco_api_types::UploadKind;
use fresco_ledger::traits::{Objects, PresignedPut};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::document::Problem;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::inspection::{Inspector, input_media, input_problem, too_large};
use fresco_pipeline::media::Media;

use crate::intake::Intake;
use crate::platform::Platform;

/// The limit of a pipeline document in bytes.
pub const MAX_DOCUMENT: u64 = fresco_pipeline::document::MAX_BYTES as u64;
/// The limit of a file of rows in bytes.
const MAX_ROWS_FILE: u64 = 1 << 30;
/// The life of an upload link, in seconds.
pub(crate) const LINK_SECONDS: u64 = 900;

/// The id of an upload: its kind, its length, and 32 hex digits. They are the start of its content's hash where that
/// was given, and random otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId {
    pub kind: UploadKind,
    /// In bytes.
    pub bytes: u64,
    digits: String,
}

impl UploadId {
    /// Parses an id.
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

    /// The media type of the upload.
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

/// Parses a SHA-256: 64 lower-case hex digits, so that one content has one id.
fn read_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(hash)
}

/// The limit of an upload of this kind, in bytes.
fn most(kind: UploadKind) -> u64 {
    match kind {
        UploadKind::Image => MediaKind::Image.max_input_bytes(),
        UploadKind::Video => MediaKind::Video.max_input_bytes(),
        UploadKind::Document => MAX_DOCUMENT,
        UploadKind::Rows => MAX_ROWS_FILE,
    }
}

impl<P: Platform> Intake<P> {
    /// Makes an upload: its id, its link, and the life of the link in seconds. Where the SHA-256 of the content is
    /// given, in lower-case hex, the same content has the same id.
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
        // A request under an idempotency key names its uploads: when it is repeated, uploads and all, it has to give
        // the same ids.
        let digits = match sha256 {
            Some(text) => text.to_owned(),
            None => self.platform.new_token()?,
        };
        let id = UploadId { kind, bytes, digits: digits.get(..32).unwrap_or_default().to_owned() };
        let (objects, key) = (self.platform.objects(), id.object_key());
        let link = objects.presign_put(&key, bytes, id.content_type(), hash, LINK_SECONDS).await?;
        Ok((id, link, LINK_SECONDS))
    }

    /// Returns the text of an uploaded document.
    pub async fn uploaded_document(&self, id: &UploadId) -> Result<String, Failure> {
        let bad = |message: String| Failure::new(ErrorName::InputInvalid, message);
        if id.kind != UploadKind::Document {
            return Err(bad(format!("the upload {id} is not a document")));
        }
        self.require_uploaded(id).await?;
        let bytes = self.platform.objects().get(&id.object_key()).await?;
        let bytes = bytes.ok_or_else(|| bad(format!("the upload {id} is not there")))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| bad(format!("the upload {id} is not UTF-8 text")))
    }

    /// Stores an upload as an input of this kind. The inner error is a problem of the medium.
    pub async fn accept_upload(&self, id: &UploadId, kind: MediaKind) -> Result<Result<Media, Problem>, Failure> {
        let advice = "Upload it again, and name that upload.";
        if let Err(cause) = self.require_uploaded(id).await {
            if cause.name != ErrorName::InputInvalid {
                return Err(cause);
            }
            return Ok(Err(input_problem("input_unread", cause.message, advice)));
        }
        self.accept_object(&id.object_key(), id.bytes, kind, advice).await
    }

    /// Stores an object of the bucket, of this length, as an input of this kind. The inner error is a problem of the
    /// medium.
    pub(crate) async fn accept_object(
        &self,
        key: &str,
        bytes: u64,
        kind: MediaKind,
        advice: &str,
    ) -> Result<Result<Media, Problem>, Failure> {
        if bytes > kind.max_input_bytes() {
            return Ok(Err(too_large(kind, bytes)));
        }
        let objects = self.platform.objects();
        let gone = || input_problem("input_unread", "the file is gone, or became another", advice);
        let mut inspector = Inspector::new();
        let Some(tag) = objects.scan(key, &mut |piece| inspector.feed(piece)).await? else {
            return Ok(Err(gone()));
        };
        let advice = inspector.conversion().filter(|_| kind == MediaKind::Image).unwrap_or(advice);
        let media = match inspector.finish(kind) {
            Ok(info) => input_media(kind, info),
            Err(why) => return Ok(Err(input_problem("input_kind", why.message, advice))),
        };
        // An existing object is replaced: it has the same content, is renewed, and may have had another media type.
        if !objects.copy_matching(key, &tag, &media.key, &media.content_type).await? {
            return Ok(Err(gone()));
        }
        self.quota.record_bytes(i64::try_from(media.bytes).unwrap_or(i64::MAX)).await;
        Ok(Ok(media))
    }

    pub(crate) async fn require_uploaded(&self, id: &UploadId) -> Result<(), Failure> {
        let head = self.platform.objects().head(&id.object_key()).await?;
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
    fn only_ids_of_the_right_form_are_parsed() {
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
