//! Work on images: off the async threads, a few at a time. No output is stored; the last encoded ones are cached, as
//! downloads come in bursts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

/// The bound of the cache in bytes.
const CACHE_BYTES: usize = 32 << 20;
/// An image takes up to 50 MB and a processor while it is drawn.
const DRAWN_AT_ONCE: usize = 2;

/// The turns to draw, and the cache of encoded outputs.
#[derive(Debug)]
pub(crate) struct Renderer {
    turns: Semaphore,
    cache: Mutex<VecDeque<(String, Bytes)>>,
}

impl Renderer {
    pub(crate) fn new() -> Self {
        Self { turns: Semaphore::new(DRAWN_AT_ONCE), cache: Mutex::default() }
    }

    /// Runs blocking work when a turn is free. `None` if the work gives none or panics.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
        let _turn = self.turns.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()?
    }

    /// The cached bytes of an output.
    pub(crate) fn cached(&self, key: &str) -> Option<Bytes> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|(name, _)| name == key).map(|(_, bytes)| bytes.clone())
    }

    /// Caches the bytes of an output.
    pub(crate) fn cache(&self, key: String, bytes: Bytes) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_back((key, bytes));
        while cache.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > CACHE_BYTES {
            cache.pop_front();
        }
    }
}
