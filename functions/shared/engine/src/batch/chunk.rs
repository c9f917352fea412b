//! A chunk of a batch: the plan of its run, and what its rows came to at its end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use fresco_ledger::records::{
    BatchCounts, ChunkRef, Millis, ResultSource, RunRecord, RunStatus, StepRecord, StepState,
};
use fresco_ledger::traits::{Batches, ChunkEnd, Clock, Objects};
use fresco_pipeline::document::{Export, Prepared, prepare};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{Plan, compile, merge, row_and_name};
use fresco_pipeline::rows::{Row, RowProblem};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::cutting::{given, problem_of};
use super::wire::{RowFailure, RowOutput, RowResult, RowStatus};
use super::{BatchRequest, ChunkFile, chunk_key, generation_of, internal, part_key};
use crate::Engine;
use crate::export::Exported;
use crate::names;
use crate::order::{FETCHES, Fetcher};
use crate::platform::Platform;
use crate::report::Manifest;
use crate::transact::failure;

/// How many rows of a chunk fetch what they name side by side: each may hold a large picture twice.
const FETCHED_AT_ONCE: usize = 4;

impl<P: Platform> Engine<P> {
    /// The plan of a chunk's run: its rows side by side.
    pub(crate) async fn chunk_plan(&self, chunk: &ChunkRef) -> Result<Plan, Failure> {
        let request = self.batch_request(&chunk.batch).await?;
        let mut file = self.chunk_file(&chunk.batch, chunk.number).await?;
        let invalid = |problems: fresco_pipeline::document::Problems| {
            Failure::new(ErrorName::DocumentInvalid, problems.to_string())
        };
        let document = prepare(&request.run.document).map_err(invalid)?;
        let fetcher = Fetcher::default();
        let until = Instant::now() + FETCHES;
        let rows = std::mem::take(&mut file.rows);
        let planned: Vec<_> = rows.iter().map(|row| self.row_plan(&request, &document, row, &fetcher, until)).collect();
        let planned: Vec<_> = futures::stream::iter(planned).buffered(FETCHED_AT_ONCE).try_collect().await?;
        let (mut plans, mut unread) = (Vec::with_capacity(rows.len()), Vec::new());
        for (row, plan) in rows.iter().zip(planned) {
            match plan {
                Ok(plan) => plans.push((row.number, plan)),
                Err(problem) => unread.push(problem),
            }
        }
        file.rows = rows;
        // What a row names may be no picture, or not be there: it is left out this time, and the chunk's end has to know.
        if file.unread != unread {
            file.unread = unread;
            let json = serde_json::to_vec(&file).map_err(internal)?;
            let key = chunk_key(&chunk.batch, chunk.number);
            self.platform.objects().put(&key, Bytes::from(json), "application/json").await.map_err(failure)?;
        }
        let too_long =
            || Failure::new(ErrorName::Internal, "a step's name became too long since the batch was planned");
        merge(plans, request.workers).ok_or_else(too_long)
    }

    /// The plan of a row, with what it names looked at and kept. The inner error is a problem of the row.
    async fn row_plan(
        &self,
        request: &BatchRequest,
        document: &Prepared,
        row: &Row,
        fetcher: &Fetcher,
        until: Instant,
    ) -> Result<Result<Plan, RowProblem>, Failure> {
        let mut given = given(request, row);
        for reference in document.media_references(&given) {
            if let Entry::Vacant(free) = given.media.entry(reference.text.clone()) {
                free.insert(self.find_medium(&reference, request.beside.as_deref(), fetcher, until).await?);
            }
        }
        let checked = document.check(&given);
        Ok(checked.map(|checked| compile(&checked)).map_err(|problems| problem_of(row, problems)))
    }

    /// The record of a chunk's run, with what it may spend; written where it is not there.
    pub(crate) async fn open_chunk(
        &self,
        run: &RunId,
        chunk: &ChunkRef,
        plan: &Plan,
        created_at: Millis,
        wanted: Money,
    ) -> Result<RunRecord, Failure> {
        let row = chunk_row(run, chunk, plan.name.clone(), created_at, plan.export.clone());
        let opened = self.platform.ledger().open_chunk(&chunk.batch, chunk.number, &row, wanted).await;
        opened
            .map_err(failure)?
            .ok_or_else(|| Failure::new(ErrorName::RunStopped, "the batch was stopped, or has ended"))
    }

    /// Records the run of a chunk that could not be planned, to be closed at once; whether the batch goes on.
    pub(crate) async fn open_unplanned(&self, run: &RunId, chunk: &ChunkRef) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        let row = chunk_row(run, chunk, self.batch_row(&chunk.batch).await?.name, now, None);
        let opened = self.platform.ledger().open_chunk(&chunk.batch, chunk.number, &row, Money::ZERO).await;
        Ok(opened.map_err(failure)?.is_some())
    }

    /// Copies what the rows have made to where the document says, named by row and step: `000017-storm-image.jpg`.
    pub(crate) async fn export_rows(
        &self,
        export: &Export,
        chunk: &ChunkRef,
        manifest: &Manifest,
    ) -> Result<Exported, Failure> {
        let file = self.chunk_file(&chunk.batch, chunk.number).await?;
        let ids: BTreeMap<u64, String> = file.rows.iter().map(|row| (row.number, label(row))).collect();
        let names: Vec<(String, Vec<&str>)> = manifest
            .steps
            .iter()
            .map(|step| {
                let name = row_and_name(&step.name).map_or_else(
                    || step.name.to_string(),
                    |(row, name)| format!("{}-{name}", ids.get(&row).map_or("", String::as_str)),
                );
                (name, step.outputs.iter().map(|output| output.key.as_str()).collect())
            })
            .collect();
        let files = names::of_steps(names.iter().map(|(name, keys)| (name.as_str(), keys.clone())));
        Ok(self.export_named(export, &chunk.batch, files).await)
    }

    /// Writes what the rows of a chunk came to, and closes its run.
    pub(crate) async fn end_chunk(
        &self,
        chunk: &ChunkRef,
        record: &RunRecord,
        (status, why): (RunStatus, Option<Failure>),
        steps: &[StepRecord],
    ) -> Result<(), Failure> {
        let file = self.chunk_file(&chunk.batch, chunk.number).await?;
        let mut results = results_of(&file.rows, steps, why.as_ref());
        for problem in &file.unread {
            if let Some(result) = results.iter_mut().find(|result| result.row == problem.row) {
                *result = RowResult { status: RowStatus::Failed, ..left_out(problem) };
            }
        }
        results.extend(file.bad.iter().map(left_out));
        results.sort_by_key(|result| result.row);
        let mut saved = saved_of(steps);
        let done = |row| results.iter().any(|result| result.row == row && result.status == RowStatus::Done);
        saved.retain(|row, _| done(*row));
        let generation = generation_of(&record.id, &chunk.batch, chunk.number);
        if let Some(last) = generation.checked_sub(1) {
            let before = self.results_of_chunk(&chunk.batch, chunk.number, last).await?;
            let tried = |row| steps.iter().any(|step| row_and_name(&step.plan.name).is_some_and(|(of, _)| of == row));
            carry_over(before, &mut results, &mut saved, tried);
        }
        let lines = lines_of(&results)?;
        let key = part_key(&chunk.batch, chunk.number, generation);
        self.platform.objects().put(&key, Bytes::from(lines), "application/jsonl").await.map_err(failure)?;
        let counts =
            BatchCounts { chunks: 1, spent: record.settled, saved: saved.into_values().sum(), ..counts_of(&results) };
        // What is held still may be spent: it is not given back.
        let unspent = record.granted.map(|_| record.remaining);
        let end = ChunkEnd {
            batch: chunk.batch.clone(),
            chunk: chunk.number,
            run: record.id.clone(),
            status,
            failure: why,
            counts,
            unspent,
        };
        let now = self.platform.clock().now();
        self.platform.ledger().close_chunk(&end, now).await.map_err(failure).map(drop)
    }

    /// Stops a batch of which more rows have failed than it tolerates; ends one that is stopped behind its last chunk.
    pub(crate) async fn bear(&self, batch: &RunId) -> Result<(), Failure> {
        let record = match self.batch_row(batch).await {
            // It is gone, as its chunks' runs soon will be.
            Err(cause) if cause.name == ErrorName::RunNotFound => return Ok(()),
            record => record?,
        };
        let tolerated = record.plan.and_then(|plan| plan.tolerated);
        let stop = tolerated.is_some_and(|tolerated| record.counts.failed > tolerated);
        if stop && !record.stop {
            tracing::warn!(batch.id = %batch, failed = record.counts.failed, "more rows failed than the batch tolerates");
            // No chunk is begun any more; those that run end by themselves.
            self.platform.ledger().stop_batch(batch).await.map_err(failure)?;
        }
        if stop || record.stop { self.end_stopped(batch).await } else { Ok(()) }
    }

    pub(super) async fn chunk_file(&self, batch: &RunId, chunk: u32) -> Result<ChunkFile, Failure> {
        let bytes = self.platform.objects().get(&chunk_key(batch, chunk)).await.map_err(failure)?;
        let gone = || Failure::new(ErrorName::RunNotFound, format!("the rows of chunk {chunk} are gone"));
        serde_json::from_slice(&bytes.ok_or_else(gone)?).map_err(internal)
    }
}

/// What the results that a row did not pay for cost when they were made, by the row's number. It counts once the row is done,
/// so that driving it anew does not count it anew.
fn saved_of(steps: &[StepRecord]) -> BTreeMap<u64, Money> {
    let mut saved = BTreeMap::new();
    for step in steps.iter().filter(|step| matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined))) {
        if let (Some((row, _)), Some(ready)) = (row_and_name(&step.plan.name), &step.pinned) {
            *saved.entry(row).or_insert(Money::ZERO) += ready.cost;
        }
    }
    saved
}

/// A batch that is driven anew finds in the cache what it has paid for itself: that was paid, and is nothing that was saved.
/// What was done before, and was not even tried now, is still done.
fn carry_over(
    before: Vec<RowResult>,
    results: &mut [RowResult],
    saved: &mut BTreeMap<u64, Money>,
    tried: impl Fn(u64) -> bool,
) {
    let mut before: BTreeMap<u64, RowResult> = before.into_iter().map(|result| (result.row, result)).collect();
    for result in results {
        let Some(before) = before.remove(&result.row) else { continue };
        if before.status == RowStatus::Done && !tried(result.row) {
            *result = before;
            continue;
        }
        if before.status == RowStatus::Done && result.source == Some(ResultSource::Hit) {
            result.source = before.source;
            result.took_ms = before.took_ms;
        }
        result.cost += before.cost;
        if before.status == RowStatus::Done {
            saved.remove(&result.row);
        } else if let Some(saved) = saved.get_mut(&result.row) {
            *saved = (*saved - Money::micros(before.cost)).max(Money::ZERO);
        }
    }
}

/// The run of a chunk as it begins.
fn chunk_row(run: &RunId, chunk: &ChunkRef, name: String, created_at: Millis, export: Option<Export>) -> RunRecord {
    RunRecord {
        id: run.clone(),
        name,
        status: RunStatus::Running,
        stop: false,
        fail_fast: false,
        remaining: Money::ZERO,
        held: Money::ZERO,
        settled: Money::ZERO,
        created_at,
        ended_at: None,
        bound_at: None,
        steps: 0,
        failure: None,
        export,
        chunk: Some(chunk.clone()),
        granted: None,
        publish_pending: false,
    }
}

/// How many rows there are of each kind.
pub(super) fn counts_of(results: &[RowResult]) -> BatchCounts {
    let count = |is: fn(&RowResult) -> bool| results.iter().filter(|result| is(result)).count() as u64;
    let done = count(|result| result.status == RowStatus::Done);
    let bad = count(|result| result.status == RowStatus::Bad);
    let hits = count(|result| result.status == RowStatus::Done && result.source != Some(ResultSource::Generated));
    BatchCounts { done, failed: results.len() as u64 - done - bad, bad, hits, ..BatchCounts::default() }
}

/// A line of JSON for each.
pub(super) fn lines_of(results: &[RowResult]) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for result in results {
        serde_json::to_writer(&mut lines, result).map_err(internal)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// A row that was left out.
pub(super) fn left_out(problem: &RowProblem) -> RowResult {
    let failure = RowFailure { name: problem.code.clone(), message: problem.message.clone() };
    RowResult { failure: Some(failure), ..of_row(problem.row, problem.id.clone().map(String::from), RowStatus::Bad) }
}

pub(super) fn of_row(row: u64, id: Option<String>, status: RowStatus) -> RowResult {
    RowResult { row, id, status, source: None, took_ms: None, cost: 0, outputs: Vec::new(), failure: None }
}

/// A row's number, by which files of a batch are in its order and never replace each other, and its id as a file name may
/// have it.
fn label(row: &Row) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    match &row.id {
        Some(id) => format!("{:06}-{}", row.number, id.chars().map(plain).collect::<String>()),
        None => format!("{:06}", row.number),
    }
}

/// `why` is the reason of a chunk whose steps were not begun.
fn results_of(rows: &[Row], steps: &[StepRecord], why: Option<&Failure>) -> Vec<RowResult> {
    let mut of_rows: BTreeMap<u64, Vec<(&str, &StepRecord)>> = BTreeMap::new();
    for step in steps {
        if let Some((row, name)) = row_and_name(&step.plan.name) {
            of_rows.entry(row).or_default().push((name, step));
        }
    }
    rows.iter().map(|row| result_of(row, of_rows.get(&row.number).map_or(&[][..], Vec::as_slice), why)).collect()
}

fn result_of(row: &Row, steps: &[(&str, &StepRecord)], why: Option<&Failure>) -> RowResult {
    // A chunk that was never planned has no steps.
    if steps.is_empty() {
        let failure = why.map(|why| RowFailure { name: why.name.as_str().to_owned(), message: why.message.clone() });
        return RowResult { failure, ..of_row(row.number, row.id.clone(), RowStatus::NotRun) };
    }
    let done = steps.iter().all(|(_, step)| step.state == StepState::Done);
    // What only followed from another step's failure is not the reason.
    let failed = steps.iter().filter_map(|(_, step)| step.failure.as_ref().filter(|_| step.state == StepState::Failed));
    let reason = failed.min_by_key(|failure| failure.name == ErrorName::StepSkipped);
    let reason = reason.map(|reason| why.filter(|_| reason.name == ErrorName::StepSkipped).unwrap_or(reason));
    let source = |wanted: ResultSource| steps.iter().any(|(_, step)| step.source == Some(wanted)).then_some(wanted);
    let times = |time: fn(&StepRecord) -> Option<i64>| steps.iter().filter_map(move |(_, step)| time(step));
    let took = times(|step| step.started_at).min().zip(times(|step| step.ended_at).max());
    let own = steps.iter().filter(|(_, step)| step.source == Some(ResultSource::Generated));
    RowResult {
        source: source(ResultSource::Generated)
            .or_else(|| source(ResultSource::Joined))
            .or_else(|| source(ResultSource::Hit)),
        took_ms: took.map(|(from, to)| (to - from).max(0)),
        cost: own.filter_map(|(_, step)| step.pinned.as_ref()).map(|ready| ready.cost.as_micros()).sum(),
        outputs: steps.iter().flat_map(|(name, step)| outputs_of(name, step)).collect(),
        failure: reason
            .filter(|_| !done)
            .map(|failure| RowFailure { name: failure.name.as_str().to_owned(), message: failure.message.clone() }),
        ..of_row(row.number, row.id.clone(), if done { RowStatus::Done } else { RowStatus::Failed })
    }
}

fn outputs_of(name: &str, step: &StepRecord) -> Vec<RowOutput> {
    let outputs = step.pinned.iter().flat_map(|ready| &ready.outputs);
    let shown = outputs.map(|output| RowOutput {
        step: name.to_owned(),
        key: output.key.clone(),
        content_type: output.content_type.clone(),
        bytes: output.bytes,
        sha256: output.sha256.clone(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_paid_for_itself_was_not_saved() {
        let row =
            |row, status, source, cost| RowResult { source, cost, took_ms: Some(cost), ..of_row(row, None, status) };
        let before = [
            row(1, RowStatus::Done, Some(ResultSource::Generated), 30),
            row(2, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(3, RowStatus::Failed, Some(ResultSource::Generated), 30),
            row(5, RowStatus::Done, Some(ResultSource::Generated), 30),
        ];
        let mut results = [
            row(1, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(2, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(3, RowStatus::Done, Some(ResultSource::Generated), 7),
            row(4, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(5, RowStatus::NotRun, None, 0),
        ];
        let mut saved = [(1, 30), (2, 30), (3, 30), (4, 30)].map(|(row, cost)| (row, Money::micros(cost))).into();
        carry_over(before.into(), &mut results, &mut saved, |row| row != 5);
        assert_eq!(results[4].status, RowStatus::Done, "it was not tried");
        let costs = results.iter().map(|result| (result.source, result.cost)).collect::<Vec<_>>();
        let (paid, hit) = (Some(ResultSource::Generated), Some(ResultSource::Hit));
        assert_eq!(costs, [(paid, 30), (hit, 0), (paid, 37), (hit, 0), (paid, 30)]);
        assert_eq!(saved, [(3, Money::ZERO), (4, Money::micros(30))].into());
    }

    #[test]
    fn files_are_in_the_order_of_rows_and_have_plain_names() {
        let row = |id: Option<&str>| Row { number: 17, id: id.map(str::to_owned), ..Row::default() };
        assert_eq!(label(&row(None)), "000017");
        assert_eq!(label(&row(Some("größe 1/2: a.b"))), "000017-größe_1_2__a.b");
    }
}
