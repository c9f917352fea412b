//! Who the simulator is: the Ed25519 key that signs its webhooks and the id of the one account it serves. With a state
//! file both outlive the process, and so do the counters that are kept beside them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::counters::Counters;

/// Why an identity could not be read, made or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state file could not be read or written.
    #[error("state file {path}: {source}")]
    File {
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state file holds something else.
    #[error("state file {path} is not a simulator state: {reason}")]
    Content {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no random key.
    #[error("no random key could be made")]
    Random,
}

/// What the state file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
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
    /// Reads the state file, or makes a new identity (and writes the file) where there is none.
    pub(crate) fn open(path: Option<&Path>) -> Result<(Self, Counters), StateError> {
        if let Some(path) = path {
            match fs::read(path) {
                Ok(bytes) => return Self::parse(path, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(StateError::File { path: path.to_owned(), source });
                }
            }
        }
        let random = SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| StateError::Random)?;
        let pkcs8 = pkcs8.as_ref().to_vec();
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| StateError::Random)?;
        let id: [u8; 8] = ring::rand::generate(&random).map_err(|_| StateError::Random)?.expose();
        let identity =
            Self { user_id: format!("simulated-user-{}", hex::encode(id)), pkcs8, key, path: path.map(Path::to_owned) };
        identity.save(&Counters::default())?;
        Ok((identity, Counters::default()))
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Counters), StateError> {
        let bad = |reason: String| StateError::Content { path: path.to_owned(), reason };
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let pkcs8 = STANDARD.decode(&stored.ed25519_pkcs8_base64).map_err(|error| bad(error.to_string()))?;
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|error| bad(error.to_string()))?;
        Ok((Self { user_id: stored.user_id, pkcs8, key, path: Some(path.to_owned()) }, stored.counters))
    }

    /// Writes the state file, if there is one: a temporary file, then a rename, so that a reader never sees half of it.
    pub(crate) fn save(&self, counters: &Counters) -> Result<(), StateError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let stored = Stored {
            user_id: self.user_id.clone(),
            ed25519_pkcs8_base64: STANDARD.encode(&self.pkcs8),
            counters: counters.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(io::Error::other);
        bytes
            .and_then(|bytes| write_atomically(path, &bytes))
            .map_err(|source| StateError::File { path: path.clone(), source })
    }

    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).as_ref().to_vec()
    }

    /// The public key as a JWK holds it: base64url without padding.
    pub(crate) fn public_key_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref())
    }
}

/// Writes a file so that it appears whole or not at all. It is readable by its owner only, as it may hold a key.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| drop(fs::remove_file(&temporary)))
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
        let (second, kept) = Identity::open(Some(&path)).unwrap();
        assert_eq!(first.user_id(), second.user_id());
        assert_eq!(first.public_key_base64url(), second.public_key_base64url());
        assert_eq!(kept, counters);
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Identity::open(Some(&path)), Err(StateError::Content { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
