//! The objects of a batch in the bucket, and the runs of its chunks.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::rows::{Row, RowProblem};
use serde::{Deserialize, Serialize};

/// `batches/<batch>/chunks/<n>.json`: the rows of a chunk, and those that were left out of it. It lives as long as the batch,
/// which may be driven anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ChunkFile {
    pub(super) rows: Vec<Row>,
    pub(super) bad: Vec<RowProblem>,
    /// Of those of `rows` that the chunk's planning left out, as what they name could not be read: it may be there next time.
    #[serde(default)]
    pub(super) unread: Vec<RowProblem>,
}

pub(super) fn request_key(batch: &RunId) -> String {
    format!("batches/{batch}/request.json")
}

pub(super) fn chunk_key(batch: &RunId, chunk: u32) -> String {
    format!("batches/{batch}/chunks/{chunk}.json")
}

/// What a chunk came to, one object for each generation in which it ran: a call that is repeated reads what was before it, and
/// never what it has written itself.
pub(super) fn part_key(batch: &RunId, chunk: u32, generation: u32) -> String {
    format!("batches/{batch}/parts/{chunk}{}.jsonl", suffix(generation))
}

pub(super) fn suffix(generation: u32) -> String {
    if generation == 0 { String::new() } else { format!("-{generation}") }
}

pub(super) fn results_key(batch: &RunId) -> String {
    format!("batches/{batch}/results.jsonl")
}

/// Where a batch's manifest is kept.
pub fn batch_manifest_key(batch: &RunId) -> String {
    format!("batches/{batch}/manifest.json")
}

/// The run of a chunk, anew in each generation.
pub(super) fn run_of(batch: &RunId, chunk: u32, generation: u32) -> Result<RunId, Failure> {
    RunId::parse(format!("{batch}-{chunk}{}", suffix(generation)))
        .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
}

/// The generation that a chunk's run belongs to; 0 for what is no such run.
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
    use crate::intake::start::Once;

    #[test]
    fn a_chunk_of_any_batch_has_a_run() {
        let batch = Once { key: "k".to_owned(), asked: String::new() }.run().unwrap();
        assert!(run_of(&batch, 1_000_000, 99).is_ok());
        for generation in [0, 1, 12] {
            assert_eq!(generation_of(&run_of(&batch, 7, generation).unwrap(), &batch, 7), generation);
        }
        assert_ne!(part_key(&batch, 1, 2), part_key(&batch, 12, 0));
    }
}
