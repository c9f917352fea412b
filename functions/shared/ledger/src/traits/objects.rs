//! Objects of the stack's bucket.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;

use super::{Lifecycle, StoreError};
use crate::records::Millis;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub modified_at: Millis,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub modified_at: Millis,
}

/// Whether a conditional write found the key free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is there now.
    Stored,
    /// One was there already; it is left as it is.
    Exists,
}

/// Where and how an object can be written.
#[derive(Clone, PartialEq, Eq)]
pub struct PutLink {
    /// The address.
    pub url: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
}

/// What is there under a key that shall have a certain entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionalGet {
    /// The object, with the metadata that its writer gave it.
    Found {
        /// Its content.
        bytes: Bytes,
        /// Its metadata, by names in lower case.
        metadata: BTreeMap<String, String>,
    },
    /// Another one.
    Changed,
    /// None.
    Missing,
}

/// An upload that becomes visible only when it is finished.
pub trait Upload: Send {
    /// Adds bytes; any length.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Makes the object visible, if the key is free. Its media type is the one that the upload began with: S3 takes it
    /// then or never.
    fn finish(self) -> impl Future<Output = Result<Put, StoreError>> + Send;
    /// Drops what was written.
    fn abort(self) -> impl Future<Output = ()> + Send;
}

/// Objects of the stack's bucket.
pub trait Objects: Send + Sync {
    /// Its kind of upload.
    type Upload: Upload;
    /// Length and age, `None` if there is none.
    fn head(&self, key: &str) -> impl Future<Output = Result<Option<ObjectHead>, StoreError>> + Send;
    /// The whole object, for small ones (documents, manifests).
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;
    /// The whole object, a small one, if its entity tag is this one.
    fn get_matching(&self, key: &str, tag: &str) -> impl Future<Output = Result<ConditionalGet, StoreError>> + Send;
    /// Reads the whole object piece by piece, whatever its size: its entity tag, `None` if there is none.
    fn scan(
        &self,
        key: &str,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
    /// A piece of the object from this byte on, at most so long, with its entity tag, as events write it: without quotation
    /// marks; empty behind its end. `None`: there is none, or it has another entity tag than the one that is wanted.
    fn piece(
        &self,
        key: &str,
        tag: Option<&str>,
        from: u64,
        length: u64,
    ) -> impl Future<Output = Result<Option<(Bytes, String)>, StoreError>> + Send;
    /// A link by which anyone can read the object for so many seconds (at most seven days, and no longer than the
    /// credentials that sign it live). It is a secret: not to be logged or stored.
    fn link(&self, key: &str, seconds: u64) -> impl Future<Output = Result<String, StoreError>> + Send;
    /// Writes a small object, whatever is there.
    fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// The next objects under the prefix behind this key, in the order of keys; at most 1,000, none where there are no more.
    fn list(&self, prefix: &str, after: &str) -> impl Future<Output = Result<Vec<ListedObject>, StoreError>> + Send;
    /// Removes objects, any number. One that is not there is no error.
    fn remove(&self, keys: &[String]) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes an object over itself, so that its age begins anew; whether there is one. Its media type has to be given.
    fn renew(&self, key: &str, content_type: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Copies the object with this entity tag to another key, over what is there, as an object of this media type; whether
    /// there is such an object.
    fn keep(
        &self,
        key: &str,
        tag: &str,
        to: &str,
        content_type: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Copies an object into a bucket that may be another, over what is there; whether there is one.
    fn copy(&self, key: &str, bucket: &str, to: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// A link by which anyone can write the object for so many seconds, with exactly so many bytes and this media type; and the
    /// headers that have to go with it. Without a SHA-256 it writes once; with one, content of that hash only, as often as
    /// anyone likes, and the object's age begins anew. Either way, what was looked at stays what it is. The link is a secret.
    fn put_link(
        &self,
        key: &str,
        bytes: u64,
        content_type: &str,
        sha256: Option<[u8; 32]>,
        seconds: u64,
    ) -> impl Future<Output = Result<PutLink, StoreError>> + Send;
    /// Begins an upload; memory is at most two parts of 8 MiB whatever the size.
    fn upload(&self, key: &str, content_type: &str) -> impl Future<Output = Result<Self::Upload, StoreError>> + Send;
    /// Reads the lifecycle of the bucket. A store without one removes nothing by itself.
    fn lifecycle(&self) -> impl Future<Output = Result<Lifecycle, StoreError>> + Send {
        std::future::ready(Ok(Lifecycle::default()))
    }
}
