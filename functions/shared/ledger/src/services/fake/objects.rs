//! The bucket in memory.

use bytes::{Bytes, BytesMut};
use fresco_pipeline::ids::ContentKey;

use super::{FakeServices, StoredObject};
use crate::traits::{ConditionalGet, ListedObject, ObjectHead, Objects, PresignedPut, Put, StoreError, Upload};

/// As S3's.
const LISTED_AT_ONCE: usize = 1_000;

/// An entity tag: as S3's it changes with the content.
fn tag_of(bytes: &[u8]) -> String {
    ContentKey::digest(bytes).to_string()
}

/// An upload into the fake bucket.
#[derive(Debug)]
pub struct FakeUpload {
    services: FakeServices,
    key: String,
    content_type: String,
    bytes: BytesMut,
}

impl Upload for FakeUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self) -> Result<Put, StoreError> {
        let modified_at = self.services.now();
        let mut state = self.services.lock();
        if state.objects.contains_key(&self.key) {
            return Ok(Put::Exists);
        }
        let object = StoredObject { bytes: self.bytes.freeze(), content_type: self.content_type, modified_at };
        state.objects.insert(self.key, object);
        Ok(Put::Stored)
    }

    async fn abort(self) {}
}

impl Objects for FakeServices {
    type Upload = FakeUpload;

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        let head =
            |object: &StoredObject| ObjectHead { bytes: object.bytes.len() as u64, modified_at: object.modified_at };
        Ok(self.lock().objects.get(key).map(head))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().objects.get(key).map(|object| object.bytes.clone()))
    }

    async fn get_matching(&self, key: &str, tag: &str) -> Result<ConditionalGet, StoreError> {
        Ok(match self.get(key).await? {
            None => ConditionalGet::Missing,
            Some(bytes) if tag_of(&bytes) != tag => ConditionalGet::Changed,
            Some(bytes) => ConditionalGet::Found { bytes, metadata: Default::default() },
        })
    }

    async fn scan(&self, key: &str, sink: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Option<String>, StoreError> {
        let bytes = self.get(key).await?;
        Ok(bytes.map(|bytes| {
            sink(&bytes);
            tag_of(&bytes)
        }))
    }

    async fn get_range(
        &self,
        key: &str,
        tag: Option<&str>,
        from: u64,
        length: u64,
    ) -> Result<Option<(Bytes, String)>, StoreError> {
        let Some(bytes) = self.get(key).await? else { return Ok(None) };
        let found = tag_of(&bytes);
        if tag.is_some_and(|tag| tag != found) {
            return Ok(None);
        }
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(from).min(bytes.len());
        Ok(Some((bytes.slice(from..to), found)))
    }

    async fn presign_get(&self, key: &str, _seconds: u64) -> Result<String, StoreError> {
        Ok(format!("https://bucket.test/{key}"))
    }

    async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), StoreError> {
        self.put_object(key, bytes, content_type);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<ListedObject>, StoreError> {
        let listed = |(key, object): (&String, &StoredObject)| ListedObject {
            key: key.clone(),
            bytes: object.bytes.len() as u64,
            modified_at: object.modified_at,
        };
        let state = self.lock();
        let wanted = state.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        Ok(wanted.take(LISTED_AT_ONCE).map(listed).collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let mut state = self.lock();
        for key in keys {
            state.objects.remove(key);
        }
        Ok(())
    }

    async fn touch(&self, key: &str, content_type: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let Some(object) = state.objects.get_mut(key) else { return Ok(false) };
        object.modified_at = now;
        content_type.clone_into(&mut object.content_type);
        Ok(true)
    }

    async fn copy_matching(&self, key: &str, tag: &str, to: &str, content_type: &str) -> Result<bool, StoreError> {
        let modified_at = self.now();
        let mut state = self.lock();
        let object = state.objects.get(key).filter(|object| tag_of(&object.bytes) == tag);
        let Some(bytes) = object.map(|object| object.bytes.clone()) else { return Ok(false) };
        let object = StoredObject { bytes, content_type: content_type.to_owned(), modified_at };
        state.objects.insert(to.to_owned(), object);
        Ok(true)
    }

    async fn copy(&self, key: &str, bucket: &str, to: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let Some(object) = state.objects.get(key).cloned() else { return Ok(false) };
        state.exported.insert(format!("{bucket}/{to}"), StoredObject { modified_at: now, ..object });
        Ok(true)
    }

    async fn presign_put(
        &self,
        key: &str,
        _: u64,
        _: &str,
        _: Option<[u8; 32]>,
        _: u64,
    ) -> Result<PresignedPut, StoreError> {
        Ok(PresignedPut { url: format!("https://bucket.test/{key}"), headers: Default::default() })
    }

    async fn upload(&self, key: &str, content_type: &str) -> Result<FakeUpload, StoreError> {
        Ok(FakeUpload {
            services: self.clone(),
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            bytes: BytesMut::new(),
        })
    }
}
