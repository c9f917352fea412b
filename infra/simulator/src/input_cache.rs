//! Copies of inputs, so that results can be drawn after the addresses of their inputs have expired. Copies are stored by
//! their hash, in memory up to a bound, and with a state file also in a folder beside it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::atomic_file;

/// The bound of the copies in memory; beyond it the oldest are dropped.
const MEMORY_BYTES: usize = 128 << 20;

/// A picture that a request was given: the name of its copy, and the size of the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CachedInput {
    pub(crate) copy: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// All copies.
#[derive(Debug)]
pub(crate) struct InputCache {
    folder: Option<PathBuf>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    copies: HashMap<String, Bytes>,
    order: VecDeque<String>,
    size: usize,
}

impl Memory {
    fn add(&mut self, name: &str, bytes: Bytes, bound: usize) {
        self.size += bytes.len();
        if let Some(old) = self.copies.insert(name.to_owned(), bytes) {
            self.size -= old.len();
            return;
        }
        self.order.push_back(name.to_owned());
        while self.size > bound {
            let Some(oldest) = self.order.pop_front() else { return };
            self.size -= self.copies.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

impl InputCache {
    /// Opens the folder beside the state file, if there is one, and removes the copies that no stored request needs.
    pub(crate) fn open(state: Option<&Path>, needed: &HashSet<String>) -> io::Result<Self> {
        let folder = state.map(|state| state.with_extension("inputs"));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| needed.contains(name)) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(Self { folder, memory: Mutex::default() })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a copy and gives its name. Blocks while it writes a file.
    pub(crate) fn put(&self, copy: Vec<u8>) -> String {
        let name = hex::encode(Sha256::digest(&copy));
        // Locked while the file is written, as two requests may bring the same picture at once.
        let mut memory = self.memory();
        if let Some(folder) = &self.folder {
            let path = folder.join(&name);
            // Without the file the request still succeeds; only a restart would miss it.
            if !path.exists()
                && let Err(error) = atomic_file::write(&path, &copy)
            {
                tracing::warn!(error = %error, "the copy of an input was not written");
            }
        }
        memory.add(&name, copy.into(), MEMORY_BYTES);
        name
    }

    /// The copy, if it still exists. Blocks while it reads a file.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        if let Some(bytes) = self.memory().copies.get(name) {
            return Some(bytes.clone());
        }
        let bytes = Bytes::from(std::fs::read(self.folder.as_ref()?.join(name)).ok()?);
        self.memory().add(name, bytes.clone(), MEMORY_BYTES);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_copies_are_dropped_beyond_the_bound() {
        let mut memory = Memory::default();
        for name in ["a", "b", "a", "c"] {
            memory.add(name, Bytes::from_static(&[0; 40]), 100);
        }
        let mut left: Vec<_> = memory.copies.keys().cloned().collect();
        left.sort();
        assert_eq!((left, memory.size), (vec!["b".to_owned(), "c".to_owned()], 80));
    }

    #[test]
    fn copies_on_disk_survive_the_process_while_a_request_needs_them() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        let first = InputCache::open(Some(&state), &HashSet::new()).unwrap();
        let (wanted, other) = (first.put(b"wanted".to_vec()), first.put(b"other".to_vec()));
        let second = InputCache::open(Some(&state), &HashSet::from([wanted.clone()])).unwrap();
        assert_eq!(second.get(&wanted).as_deref(), Some(b"wanted".as_slice()));
        assert_eq!(second.get(&other), None);
        assert_eq!(InputCache::open(None, &HashSet::new()).unwrap().get(&wanted), None);
    }
}
