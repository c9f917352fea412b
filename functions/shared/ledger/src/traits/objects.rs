//! Objects of the stack's bucket.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;

use super::{Lifecycle, StoreError};
use crate::records::Millis;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    pub key: String,
    pub bytes: u64,
    pub modified_at: Millis,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    pub bytes: u64,
    pub modified_at: Millis,
}

/// Whether a conditional write found the key free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Stored,
    /// An object exists under the key; it stays as it is.
    Exists,
}

/// A presigned request that writes an object.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedPut {
    pub url: String,
    /// The headers that have to go with it.
    pub headers: BTreeMap<String, String>,
}

/// The result of a read under an expected entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionalGet {
    /// The object, with the metadata that its writer gave it.
    Found {
        bytes: Bytes,
        /// By names in lower case.
        metadata: BTreeMap<String, String>,
    },
    /// The object has another entity tag.
    Changed,
    Missing,
}

/// An upload that becomes visible only when it is finished.
pub trait Upload: Send {
    /// Appends bytes of any length.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Makes the object visible, if the key is free.
    fn finish(self) -> impl Future<Output = Result<Put, StoreError>> + Send;
    /// Drops the written bytes.
    fn abort(self) -> impl Future<Output = ()> + Send;
}

/// Objects of the stack's bucket.
pub trait Objects: Send + Sync {
    type Upload: Upload;
    /// Reads the metadata of an object.
    fn head(&self, key: &str) -> impl Future<Output = Result<Option<ObjectHead>, StoreError>> + Send;
    /// Reads a small object (a document, a manifest).
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;
    /// Reads a small object, if it has this entity tag.
    fn get_matching(&self, key: &str, tag: &str) -> impl Future<Output = Result<ConditionalGet, StoreError>> + Send;
    /// Streams an object of any size into `sink`; its entity tag.
    fn scan(
        &self,
        key: &str,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
    /// Reads at most `length` bytes from this byte on, none beyond the end, and the entity tag, without quotation marks as in
    /// events. `None` if the object does not exist or has another tag than `tag`.
    fn get_range(
        &self,
        key: &str,
        tag: Option<&str>,
        from: u64,
        length: u64,
    ) -> impl Future<Output = Result<Option<(Bytes, String)>, StoreError>> + Send;
    /// Presigns a link that reads the object, valid for at most seven days and no longer than the credentials that sign it.
    /// It is a secret: not to be logged or stored.
    fn presign_get(&self, key: &str, seconds: u64) -> impl Future<Output = Result<String, StoreError>> + Send;
    /// Writes a small object, replacing any other.
    fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Lists the next objects under the prefix after this key, in the order of keys; at most 1,000, none at the end.
    fn list(&self, prefix: &str, after: &str) -> impl Future<Output = Result<Vec<ListedObject>, StoreError>> + Send;
    /// Deletes any number of objects; idempotent.
    fn delete(&self, keys: &[String]) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Copies an object onto itself, which resets its age, with this media type; true if it exists.
    fn touch(&self, key: &str, content_type: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Copies the object with this entity tag to another key, replacing any other, with this media type; true if it exists.
    fn copy_matching(
        &self,
        key: &str,
        tag: &str,
        to: &str,
        content_type: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Copies an object into a bucket, replacing any other; true if it exists.
    fn copy(&self, key: &str, bucket: &str, to: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Presigns a request that writes exactly so many bytes of this media type. Without a SHA-256 it writes once; with one it
    /// writes only content of that hash, any number of times, and each resets the object's age. Either way, content that was
    /// checked does not change. The link is a secret.
    fn presign_put(
        &self,
        key: &str,
        bytes: u64,
        content_type: &str,
        sha256: Option<[u8; 32]>,
        seconds: u64,
    ) -> impl Future<Output = Result<PresignedPut, StoreError>> + Send;
    /// Starts an upload, which holds at most two parts of 8 MiB in memory.
    fn upload(&self, key: &str, content_type: &str) -> impl Future<Output = Result<Self::Upload, StoreError>> + Send;
    /// Reads the lifecycle of the bucket. A store without one removes nothing by itself.
    fn lifecycle(&self) -> impl Future<Output = Result<Lifecycle, StoreError>> + Send {
        std::future::ready(Ok(Lifecycle::default()))
    }
}
