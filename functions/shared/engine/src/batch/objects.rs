//! The objects of a batch in the bucket, and the runs of its chunks.

use std::collections::BTreeMap;

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::media::Media;
use fresco_pipeline::rows::{Row, RowProblem};
use serde::{Deserialize, Serialize};

pub(super) use crate::run::request::internal;

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
    /// The media of rows that were fetched by URL.
    #[serde(default)]
    pub(super) fetched: FetchedMedia,
}

/// What the calls of a chunk's planning have fetched: where time runs out, the next call continues.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FetchedMedia {
    pub(super) generation: u32,
    /// Calls that ran out of time.
    pub(super) calls: u32,
    /// By URL.
    pub(super) media: BTreeMap<String, Media>,
}

impl FetchedMedia {
    /// Calls that may run out of time: fewer than the state machine makes.
    const MOST_CALLS: u32 = 5;

    /// A redrive fetches again.
    pub(super) fn begin(&mut self, generation: u32) {
        if self.generation != generation {
            *self = FetchedMedia { generation, ..FetchedMedia::default() };
        }
    }

    /// Counts a call that ran out of time, and returns whether there may be another.
    pub(super) fn may_continue(&mut self) -> bool {
        self.calls = self.calls.saturating_add(1);
        self.calls <= Self::MOST_CALLS
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::start::IdempotencyKey;

    #[test]
    fn a_planning_that_runs_out_of_time_is_repeated_as_often_as_the_state_machine_retries() {
        let machine: serde_json::Value =
            serde_json::from_str(include_str!("../../../../../infra/run.asl.json")).unwrap();
        let retries = &machine["States"]["Plan"]["Retry"][0];
        assert_eq!(retries["MaxAttempts"], FetchedMedia::MOST_CALLS);
        let mut fetched = FetchedMedia::default();
        fetched.begin(0);
        let calls = (0..10).take_while(|_| fetched.may_continue()).count();
        assert_eq!(calls, FetchedMedia::MOST_CALLS as usize);
        fetched.begin(1);
        assert_eq!(fetched, FetchedMedia { generation: 1, ..FetchedMedia::default() });
        assert!(fetched.may_continue(), "a redrive tries again");
    }

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
