//! Objects in S3. Uploads are in `upload`.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::copy_object::builders::CopyObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier, TaggingDirective};
use aws_smithy_types::base64;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use fresco_pipeline::error::{ErrorName, Failure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{S3Upload, lifecycle};
use crate::sdk::{SdkError, code, describe, status};
use crate::traits::{ConditionalGet, Lifecycle, ListedObject, ObjectHead, Objects, PresignedPut, StoreError};

/// The most keys of a DeleteObjects.
const REMOVED_AT_ONCE: usize = 1_000;

/// A bucket.
///
/// A role that may read objects but not list the bucket (`s3:ListBucket`) gets 403 instead of 404 for an object that
/// does not exist, which reads as [`ErrorName::StorageDenied`] here. Functions that check for an object need both.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    bucket: String,
}

impl S3Objects {
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        S3Objects { client, bucket: bucket.into() }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// See [`super::Aws::warm`].
    pub(super) async fn warm(&self) {
        let _ = self.client.head_bucket().bucket(&self.bucket).send().await;
    }
}

/// The failure of an operation on an object.
pub(super) fn failed<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E>) -> StoreError {
    let name = match status(error) {
        Some(401 | 403) => ErrorName::StorageDenied,
        _ => ErrorName::StorageUnavailable,
    };
    StoreError(Failure::new(name, describe(&format!("S3 {operation}"), error)))
}

/// The characters that are not encoded in the name of a copied object.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `bucket/key` as the copied object is named in a header: URL-encoded. Files of an inbox have any name.
fn copy_source(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", utf8_percent_encode(key, PLAIN))
}

/// Copies an object without its tags: S3 demands the rights to read and write tags where the source has any.
async fn copied(copy: CopyObjectFluentBuilder) -> Result<bool, StoreError> {
    match copy.tagging_directive(TaggingDirective::Replace).send().await {
        Ok(_) => Ok(true),
        Err(error) if matches!(code(&error), Some("NoSuchKey" | "PreconditionFailed")) => Ok(false),
        // A retry does not help.
        Err(error) if code(&error) == Some("NoSuchBucket") => {
            Err(StoreError(Failure::new(ErrorName::StorageDenied, "S3 CopyObject: there is no such bucket")))
        }
        Err(error) => Err(failed("CopyObject", &error)),
    }
}

impl Objects for S3Objects {
    type Upload = S3Upload;

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => {
                let bytes = head.content_length().and_then(|length| u64::try_from(length).ok());
                let modified = head.last_modified().and_then(|time| time.to_millis().ok());
                let (Some(bytes), Some(modified_at)) = (bytes, modified) else {
                    return Err(StoreError::storage("S3 HeadObject: an answer without length or date"));
                };
                Ok(Some(ObjectHead { bytes, modified_at }))
            }
            // HEAD has no body and so no code. A missing bucket answers 404, too.
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed("HeadObject", &error)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => match object.body.collect().await {
                Ok(body) => Ok(Some(body.into_bytes())),
                Err(_) => Err(StoreError::storage("S3 GetObject: the object broke off")),
            },
            Err(error) if error.as_service_error().is_some_and(|reason| reason.is_no_such_key()) => Ok(None),
            Err(error) => Err(failed("GetObject", &error)),
        }
    }

    async fn get_matching(&self, key: &str, tag: &str) -> Result<ConditionalGet, StoreError> {
        let get = self.client.get_object().bucket(&self.bucket).key(key).if_match(format!("\"{tag}\""));
        match get.send().await {
            Ok(object) => {
                let metadata = object.metadata.unwrap_or_default().into_iter().collect();
                match object.body.collect().await {
                    Ok(body) => Ok(ConditionalGet::Found { bytes: body.into_bytes(), metadata }),
                    Err(_) => Err(StoreError::storage("S3 GetObject: the object broke off")),
                }
            }
            Err(error) if error.as_service_error().is_some_and(|reason| reason.is_no_such_key()) => {
                Ok(ConditionalGet::Missing)
            }
            Err(error) if status(&error) == Some(412) => Ok(ConditionalGet::Changed),
            Err(error) => Err(failed("GetObject", &error)),
        }
    }

    async fn scan(&self, key: &str, sink: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Option<String>, StoreError> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(mut object) => loop {
                match object.body.next().await {
                    Some(Ok(piece)) => sink(&piece),
                    Some(Err(_)) => return Err(StoreError::storage("S3 GetObject: the object broke off")),
                    None => return Ok(Some(object.e_tag.unwrap_or_default())),
                }
            },
            Err(error) if error.as_service_error().is_some_and(|reason| reason.is_no_such_key()) => Ok(None),
            Err(error) => Err(failed("GetObject", &error)),
        }
    }

    async fn get_range(
        &self,
        key: &str,
        tag: Option<&str>,
        from: u64,
        length: u64,
    ) -> Result<Option<(Bytes, String)>, StoreError> {
        let range = format!("bytes={from}-{}", from.saturating_add(length.max(1)) - 1);
        let get = self.client.get_object().bucket(&self.bucket).key(key).range(range);
        match get.set_if_match(tag.map(|tag| format!("\"{tag}\""))).send().await {
            Ok(object) => {
                let tag = object.e_tag.unwrap_or_default().trim_matches('"').to_owned();
                let body = object.body.collect().await;
                let body = body.map_err(|_| StoreError::storage("S3 GetObject: the object broke off"))?;
                Ok(Some((body.into_bytes(), tag)))
            }
            // Beyond the end.
            Err(error) if status(&error) == Some(416) => Ok(Some((Bytes::new(), tag.unwrap_or_default().to_owned()))),
            Err(error) if matches!(status(&error), Some(404 | 412)) => Ok(None),
            Err(error) => Err(failed("GetObject", &error)),
        }
    }

    async fn presign_get(&self, key: &str, seconds: u64) -> Result<String, StoreError> {
        let expires = PresigningConfig::expires_in(Duration::from_secs(seconds))
            .map_err(|error| StoreError::storage(format!("presign: {error}")))?;
        let request = self.client.get_object().bucket(&self.bucket).key(key).presigned(expires).await;
        match request {
            Ok(request) => Ok(request.uri().to_owned()),
            Err(error) => Err(failed("presign", &error)),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), StoreError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        match put.body(ByteStream::from(bytes)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("PutObject", &error)),
        }
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<ListedObject>, StoreError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let list = if after.is_empty() { list } else { list.start_after(after) };
        let page = list.send().await.map_err(|error| failed("ListObjectsV2", &error))?;
        let listed = page.contents().iter().map(|object| {
            let bytes = object.size().and_then(|size| u64::try_from(size).ok());
            let modified = object.last_modified().and_then(|time| time.to_millis().ok());
            match (object.key(), bytes, modified) {
                (Some(key), Some(bytes), Some(modified_at)) => {
                    Ok(ListedObject { key: key.to_owned(), bytes, modified_at })
                }
                _ => Err(StoreError::storage("S3 ListObjectsV2: an object without key, length or date")),
            }
        });
        listed.collect()
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            let unbuilt = |error: aws_smithy_types::error::operation::BuildError| {
                StoreError::storage(format!("S3 DeleteObjects: {error}"))
            };
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().map_err(unbuilt));
            let objects = objects.collect::<Result<Vec<_>, StoreError>>()?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(unbuilt)?;
            let delete = self.client.delete_objects().bucket(&self.bucket).delete(delete);
            let answer = delete.send().await.map_err(|error| failed("DeleteObjects", &error))?;
            if let Some(error) = answer.errors().first() {
                let code = error.code().unwrap_or("no code");
                let left = answer.errors().len();
                return Err(StoreError::storage(format!("S3 DeleteObjects: {left} objects are still there ({code})")));
            }
        }
        Ok(())
    }

    async fn touch(&self, key: &str, content_type: &str) -> Result<bool, StoreError> {
        // S3 copies an object onto itself only if something about it is replaced.
        let copy = self.client.copy_object().bucket(&self.bucket).key(key).copy_source(copy_source(&self.bucket, key));
        copied(copy.metadata_directive(MetadataDirective::Replace).content_type(content_type)).await
    }

    async fn copy_matching(&self, key: &str, tag: &str, to: &str, content_type: &str) -> Result<bool, StoreError> {
        let copy = self.client.copy_object().bucket(&self.bucket).key(to).copy_source(copy_source(&self.bucket, key));
        let copy = copy.metadata_directive(MetadataDirective::Replace).content_type(content_type);
        copied(copy.copy_source_if_match(tag)).await
    }

    async fn copy(&self, key: &str, bucket: &str, to: &str) -> Result<bool, StoreError> {
        let source = copy_source(&self.bucket, key);
        copied(self.client.copy_object().bucket(bucket).key(to).copy_source(source)).await
    }

    async fn presign_put(
        &self,
        key: &str,
        bytes: u64,
        content_type: &str,
        sha256: Option<[u8; 32]>,
        seconds: u64,
    ) -> Result<PresignedPut, StoreError> {
        let expires = PresigningConfig::expires_in(Duration::from_secs(seconds))
            .map_err(|error| StoreError::storage(format!("presign: {error}")))?;
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        let put = put.content_length(i64::try_from(bytes).unwrap_or(i64::MAX));
        let put = match sha256 {
            // S3 compares it with the received content. The same content may be written again: it keeps its entity tag, which
            // readers rely on (the MD5 of the content, unless the bucket is encrypted with KMS keys), and its age is reset.
            // If it were refused as existing, it could expire before it is used.
            Some(hash) => put.checksum_sha256(base64::encode(hash)),
            None => put.if_none_match("*"),
        };
        let put = put.presigned(expires).await;
        let request = put.map_err(|error| failed("presign", &error))?;
        let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(PresignedPut { url: request.uri().to_owned(), headers })
    }

    async fn upload(&self, key: &str, content_type: &str) -> Result<S3Upload, StoreError> {
        Ok(S3Upload::new(self.client.clone(), &self.bucket, key, content_type))
    }

    async fn lifecycle(&self) -> Result<Lifecycle, StoreError> {
        // The IAM action is `s3:GetLifecycleConfiguration`.
        match self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await {
            Ok(found) => Ok(lifecycle::of_rules(found.rules())),
            Err(error) if code(&error) == Some("NoSuchLifecycleConfiguration") => Ok(Lifecycle::default()),
            Err(error) => Err(failed("GetBucketLifecycleConfiguration", &error)),
        }
    }
}
