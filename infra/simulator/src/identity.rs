//! The simulated account: its id and the Ed25519 key that signs its webhooks. With a state file both survive the process,
//! and so do the counters, which are stored with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::counters::Counters;

/// The content of the state file.
#[derive(Serialize, Deserialize)]
struct StateFile {
    user_id: String,
    ed25519_pkcs8_base64: String,
    #[serde(default)]
    counters: Counters,
}

/// The account and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    user_id: String,
    pkcs8: Vec<u8>,
    key: Ed25519KeyPair,
    path: Option<PathBuf>,
}

impl Identity {
    /// Reads the state file, or creates an identity (and the file) where there is none.
    pub(crate) fn open(path: Option<&Path>) -> Result<(Self, Counters)> {
        let stored = path.map(fs::read).transpose();
        match (path, stored) {
            (Some(path), Ok(Some(bytes))) => {
                return Self::parse(path, &bytes).with_context(|| format!("no simulator state in {}", path.display()));
            }
            (Some(path), Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("state file {}", path.display()));
            }
            _ => {}
        }
        let random = SystemRandom::new();
        let failed = |_| anyhow!("no random key could be made");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec();
        let id: [u8; 8] = ring::rand::generate(&random).map_err(failed)?.expose();
        let identity = Self::new(format!("simulated-user-{}", hex::encode(id)), pkcs8, path)?;
        identity.save(&Counters::default())?;
        Ok((identity, Counters::default()))
    }

    fn new(user_id: String, pkcs8: Vec<u8>, path: Option<&Path>) -> Result<Self> {
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|error| anyhow!("the key cannot be read: {error}"))?;
        Ok(Self { user_id, pkcs8, key, path: path.map(Path::to_owned) })
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Counters)> {
        let stored: StateFile = serde_json::from_slice(bytes)?;
        let pkcs8 = STANDARD.decode(&stored.ed25519_pkcs8_base64)?;
        Ok((Self::new(stored.user_id, pkcs8, Some(path))?, stored.counters))
    }

    /// Writes the state file, if there is one.
    pub(crate) fn save(&self, counters: &Counters) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let stored = StateFile {
            user_id: self.user_id.clone(),
            ed25519_pkcs8_base64: STANDARD.encode(&self.pkcs8),
            counters: counters.clone(),
        };
        atomic_file::write(path, &serde_json::to_vec_pretty(&stored)?)
            .with_context(|| format!("state file {}", path.display()))
    }

    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).as_ref().to_vec()
    }

    /// The public key in the form of a JWK: base64url without padding.
    pub(crate) fn public_key_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (first, _) = Identity::open(Some(&path)).unwrap();
        let counters = Counters { submits: 3, ..Counters::default() };
        first.save(&counters).unwrap();
        let (second, stored) = Identity::open(Some(&path)).unwrap();
        assert_eq!(first.user_id(), second.user_id());
        assert_eq!(first.public_key_base64url(), second.public_key_base64url());
        assert_eq!(stored, counters);
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "{}").unwrap();
        let error = Identity::open(Some(&path)).unwrap_err();
        assert!(error.to_string().starts_with("no simulator state in"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
