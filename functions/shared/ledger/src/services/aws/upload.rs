//! An upload to S3 that becomes visible only when it is finished, and never over an object that is there. What fits into one
//! part goes as one conditional PutObject; more as a multipart upload with one part filling while the one before is sent.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::objects::failed;
use crate::sdk::{SdkError, code, status};
use crate::traits::{Put, StoreError, Upload};

/// The length of a part. With S3's 10,000 parts an upload can be 80 GB.
pub(crate) const PART: usize = 8 << 20;

/// An upload to S3. Dropped without [`Upload::finish`] or [`Upload::abort`] it leaves invisible parts, which the bucket's
/// lifecycle removes.
#[derive(Debug)]
pub struct S3Upload {
    target: Target,
    content_type: String,
    buffer: BytesMut,
    multipart: Option<Multipart>,
    /// Bytes were lost; what is there must not become an object.
    broken: bool,
}

#[derive(Debug, Clone)]
struct Target {
    client: Client,
    bucket: String,
    key: String,
}

#[derive(Debug)]
struct Multipart {
    id: String,
    sent: Vec<CompletedPart>,
    sending: Option<JoinHandle<Result<CompletedPart, StoreError>>>,
}

impl S3Upload {
    pub(super) fn new(client: Client, bucket: &str, key: &str, content_type: &str) -> Self {
        S3Upload {
            target: Target { client, bucket: bucket.to_owned(), key: key.to_owned() },
            content_type: content_type.to_owned(),
            buffer: BytesMut::new(),
            multipart: None,
            broken: false,
        }
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.buffer.len() == PART {
                self.send_part().await?;
            }
            if self.buffer.capacity() == 0 {
                // At once and once: growing by copies would hold two buffers for a moment. Untouched pages cost nothing.
                self.buffer.reserve(PART);
            }
            let piece = bytes.split_to(bytes.len().min(PART - self.buffer.len()));
            self.buffer.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Sends what is in the buffer as the next part, once the part before has arrived.
    async fn send_part(&mut self) -> Result<(), StoreError> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => {
                let id = self.target.create(&self.content_type).await?;
                self.multipart.insert(Multipart { id, sent: Vec::new(), sending: None })
            }
        };
        multipart.settle().await?;
        let number = i32::try_from(multipart.sent.len()).unwrap_or(i32::MAX).saturating_add(1);
        let bytes = std::mem::take(&mut self.buffer).freeze();
        multipart.sending = Some(tokio::spawn(self.target.clone().send(multipart.id.clone(), number, bytes)));
        Ok(())
    }

    async fn finish_multipart(&mut self) -> Result<Put, StoreError> {
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let Some(multipart) = &mut self.multipart else {
            return Err(StoreError::storage("S3 upload: finished without parts"));
        };
        multipart.settle().await?;
        self.target.complete(&multipart.id, &multipart.sent).await
    }
}

impl Multipart {
    /// Waits for the part that is being sent.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let part = sending.await.map_err(|_| StoreError::storage("S3 UploadPart: the transfer was dropped"))??;
        self.sent.push(part);
        Ok(())
    }

    /// Ends the part that is being sent, so that it cannot arrive after the upload is aborted.
    async fn stop(&mut self) {
        if let Some(sending) = self.sending.take() {
            sending.abort();
            let _ = sending.await;
        }
    }
}

impl Target {
    async fn create(&self, content_type: &str) -> Result<String, StoreError> {
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(&self.key);
        match create.content_type(content_type).send().await {
            Ok(created) => created
                .upload_id
                .ok_or_else(|| StoreError::storage("S3 CreateMultipartUpload: an answer without an id")),
            Err(error) => Err(failed("CreateMultipartUpload", &error)),
        }
    }

    async fn send(self, id: String, number: i32, bytes: Bytes) -> Result<CompletedPart, StoreError> {
        let part = self.client.upload_part().bucket(self.bucket).key(self.key).upload_id(id).part_number(number);
        match part.body(ByteStream::from(bytes)).send().await {
            Ok(sent) => Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build()),
            Err(error) => Err(failed("UploadPart", &error)),
        }
    }

    async fn complete(&self, id: &str, parts: &[CompletedPart]) -> Result<Put, StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let complete = || {
            let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id);
            complete.multipart_upload(parts.clone()).if_none_match("*").send()
        };
        let mut outcome = complete().await;
        if outcome.as_ref().err().is_some_and(in_conflict) {
            outcome = complete().await;
        }
        match outcome {
            Ok(_) => Ok(Put::Stored),
            Err(error) if is_taken(&error) => {
                self.abort(id).await;
                Ok(Put::Exists)
            }
            Err(error) => Err(failed("CompleteMultipartUpload", &error)),
        }
    }

    async fn put(&self, bytes: Bytes, content_type: &str) -> Result<Put, StoreError> {
        let put = || {
            let put = self.client.put_object().bucket(&self.bucket).key(&self.key).content_type(content_type);
            put.if_none_match("*").body(ByteStream::from(bytes.clone())).send()
        };
        let mut outcome = put().await;
        if outcome.as_ref().err().is_some_and(in_conflict) {
            outcome = put().await;
        }
        match outcome {
            Ok(_) => Ok(Put::Stored),
            Err(error) if is_taken(&error) => Ok(Put::Exists),
            Err(error) => Err(failed("PutObject", &error)),
        }
    }

    async fn abort(&self, id: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id);
        if let Err(error) = abort.send().await {
            // Its parts cost little and the lifecycle removes them.
            tracing::warn!(
                error = crate::sdk::describe("S3 AbortMultipartUpload", &error),
                "an upload was left unfinished"
            );
        }
    }
}

/// Another write of the same key was under way: S3 decided neither way.
fn in_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    status(error) == Some(409) && code(error) == Some("ConditionalRequestConflict")
}

/// The key is not free.
fn is_taken<E>(error: &SdkError<E>) -> bool {
    status(error) == Some(412)
}

fn broken() -> StoreError {
    StoreError::storage("S3 upload: a part before was not stored")
}

impl Upload for S3Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.broken {
            return Err(broken());
        }
        // Set first: a write that is dropped half-way has lost bytes, too.
        self.broken = true;
        self.append(bytes).await?;
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self) -> Result<Put, StoreError> {
        let outcome = if self.broken {
            Err(broken())
        } else if self.multipart.is_some() {
            self.finish_multipart().await
        } else {
            let bytes = std::mem::take(&mut self.buffer).freeze();
            self.target.put(bytes, &self.content_type).await
        };
        if outcome.is_err() {
            self.abort().await;
        }
        outcome
    }

    async fn abort(mut self) {
        if let Some(multipart) = &mut self.multipart {
            multipart.stop().await;
            self.target.abort(&multipart.id).await;
        }
    }
}
