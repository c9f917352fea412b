//! A provider's key: read at first use, kept for the process, and dropped after it was refused, so that one that was put
//! right is read by the next request. It becomes a header whose value no log shows.

use std::sync::Arc;

use fresco_pipeline::error::{ErrorName, Failure};
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use crate::secret::{Secret, SecretSource};

/// One key and where it is kept.
pub(crate) struct Key {
    provider: &'static str,
    name: String,
    secrets: Arc<dyn SecretSource>,
    // Held while it is read, so that a burst of requests reads it once.
    read: Mutex<Option<Secret>>,
}

impl Key {
    pub(crate) fn new(provider: &'static str, name: String, secrets: Arc<dyn SecretSource>) -> Self {
        Key { provider, name, secrets, read: Mutex::new(None) }
    }

    /// The key behind a prefix, as a header's value.
    pub(crate) async fn header(&self, prefix: &str) -> Result<HeaderValue, Failure> {
        let mut read = self.read.lock().await;
        let key = match &*read {
            Some(key) => key,
            None => read.insert(self.secrets.get(&self.name).await?),
        };
        let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose().trim())).map_err(|_| {
            let message = format!("{}'s key has characters that no key has", self.provider);
            Failure::new(ErrorName::ProviderUnauthorized, message)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Drops the key after it was refused.
    pub(crate) async fn forget(&self) {
        *self.read.lock().await = None;
    }
}
