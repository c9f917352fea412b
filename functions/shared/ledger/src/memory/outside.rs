//! What lies outside the table, in memory: objects, task tokens, and collect's queue.

use bytes::{Bytes, BytesMut};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::{Memory, Message, StoredObject};
use crate::traits::{HandOver, ObjectHead, Objects, Put, StoreError, Tokens, Told, Upload};

/// An upload to memory.
#[derive(Debug)]
pub struct MemoryUpload {
    memory: Memory,
    key: String,
    content_type: String,
    bytes: BytesMut,
}

impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self) -> Result<Put, StoreError> {
        let modified_at = self.memory.now();
        let mut state = self.memory.lock();
        if state.objects.contains_key(&self.key) {
            return Ok(Put::Exists);
        }
        let object = StoredObject { bytes: self.bytes.freeze(), content_type: self.content_type, modified_at };
        state.objects.insert(self.key, object);
        Ok(Put::Stored)
    }

    async fn abort(self) {}
}

impl Objects for Memory {
    type Upload = MemoryUpload;

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        let head =
            |object: &StoredObject| ObjectHead { bytes: object.bytes.len() as u64, modified_at: object.modified_at };
        Ok(self.lock().objects.get(key).map(head))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().objects.get(key).map(|object| object.bytes.clone()))
    }

    async fn scan(&self, key: &str, sink: &mut (dyn FnMut(&[u8]) + Send)) -> Result<bool, StoreError> {
        let bytes = self.get(key).await?;
        if let Some(bytes) = &bytes {
            sink(bytes);
        }
        Ok(bytes.is_some())
    }

    async fn link(&self, key: &str, _seconds: u64) -> Result<String, StoreError> {
        Ok(format!("https://bucket.test/{key}"))
    }

    async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), StoreError> {
        self.put_object(key, bytes, content_type);
        Ok(())
    }

    async fn upload(&self, key: &str, content_type: &str) -> Result<MemoryUpload, StoreError> {
        Ok(MemoryUpload {
            memory: self.clone(),
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            bytes: BytesMut::new(),
        })
    }
}

impl Memory {
    fn tell(&self, token: &str, message: Message) -> Told {
        let mut state = self.lock();
        match state.tokens.get_mut(token) {
            Some(open) if *open => *open = false,
            _ => return Told::Gone,
        }
        state.told.push((token.to_owned(), message));
        Told::Heard
    }
}

impl Tokens for Memory {
    async fn succeed(&self, token: &str, output: &str) -> Result<Told, StoreError> {
        Ok(self.tell(token, Ok(output.to_owned())))
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Told, StoreError> {
        Ok(self.tell(token, Err(failure.clone())))
    }
}

impl HandOver for Memory {
    async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), StoreError> {
        self.lock().handed_over.push_back((key.clone(), attempt));
        Ok(())
    }
}
