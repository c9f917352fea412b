//! Secrets that cannot be printed by accident, and where they come from. A secret is read at first use, so that a function
//! that never submits never asks for the key.

use async_trait::async_trait;
use fresco_pipeline::error::Failure;

/// A secret text. `Debug` prints `Secret(…)`, and there is no `Display` and no serialisation.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A store of secrets (SSM SecureStrings on AWS).
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secret of this name. One that is not set is `Secret.Missing`.
    async fn get(&self, name: &str) -> Result<Secret, Failure>;
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?} {0:#?}", Secret::new("key:secret")), "Secret(…) Secret(…)");
    }
}
