//! The objects of a batch in the bucket, and the runs of its chunks.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::rows::{Row, RowProblem};
use serde::{Deserialize, Serialize};

/// `batches/<batch>/chunks/<n>.json`: the rows of a chunk, and those that were left out of it. It lives as long as the
/// batch, which may be redriven.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ChunkFile {
    pub(super) rows: Vec<Row>,
    pub(super) bad: Vec<RowProblem>,
    /// Rows that the planning of the chunk left out, since their media could not be read. They are tried again in a
    /// redrive.
    #[serde(default)]
    pub(super) unread: Vec<RowProblem>,
}

pub(super) fn request_key(batch: &RunId) -> String {
    format!("batches/{batch}/request.json")
}

pub(super) fn chunk_key(batch: &RunId, chunk: u32) -> String {
    format!("batches/{batch}/chunks/{chunk}.json")
}

/// The key of the results of a chunk, one object a generation: a repeated call reads the results before it, and never
/// its own.
pub(super) fn part_key(batch: &RunId, chunk: u32, generation: u32) -> String {
    format!("batches/{batch}/parts/{chunk}{}.jsonl", suffix(generation))
}

pub(super) fn suffix(generation: u32) -> String {
    if generation == 0 { String::new() } else { format!("-{generation}") }
}

pub(super) fn results_key(batch: &RunId) -> String {
    format!("batches/{batch}/results.jsonl")
}

/// The key of the manifest of a batch.
pub fn batch_manifest_key(batch: &RunId) -> String {
    format!("batches/{batch}/manifest.json")
}

/// The run of a chunk; each generation has its own.
pub(super) fn run_of(batch: &RunId, chunk: u32, generation: u32) -> Result<RunId, Failure> {
    RunId::parse(format!("{batch}-{chunk}{}", suffix(generation)))
        .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
}

/// The generation of the run of a chunk; 0 for any other run.
pub(super) fn generation_of(run: &RunId, batch: &RunId, chunk: u32) -> u32 {
    let behind = run.as_str().strip_prefix(&format!("{batch}-{chunk}-"));
    behind.and_then(|generation| generation.parse().ok()).unwrap_or(0)
}

pub(super) fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ErrorName::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::start::IdempotencyKey;

    #[test]
    fn every_chunk_and_generation_has_a_run_of_its_own() {
        let batch = IdempotencyKey { key: "k".to_owned(), request_hash: String::new() }.run().unwrap();
        assert!(run_of(&batch, 1_000_000, 99).is_ok());
        for generation in [0, 1, 12] {
            assert_eq!(generation_of(&run_of(&batch, 7, generation).unwrap(), &batch, 7), generation);
        }
        assert_ne!(part_key(&batch, 1, 2), part_key(&batch, 12, 0));
    }
}
