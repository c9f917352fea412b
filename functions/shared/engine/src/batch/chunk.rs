//! Plans and closes the run of a chunk, with the results of its rows.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fresco_api_types::{Exported, RowResult, RowStatus, filenames};
use fresco_ledger::records::{BatchCounts, BatchRecord};
use fresco_ledger::records::{ChunkRef, Millis, RunRecord, RunStatus, StepRecord};
use fresco_ledger::traits::{Batches as _, ChunkEnd, Clock, Objects, Runs as _, StoreError};
use fresco_pipeline::document::{CachePolicy, Export, Prepared, Problems, prepare};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepRef};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{Plan, compile, merge};
use fresco_pipeline::rows::{Row, RowProblem};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::Batches;
use super::chunker::{inputs_of, problem_of};
use super::objects::{chunk_key, generation_of, internal, part_key, run_of};
use super::request::BatchRequest;
use super::row_results::{carry_over, counts_of, is_left, lines_of, omitted, results_of, saved_of};
use super::store::BatchStore;
use crate::failpoint::{Failpoint, failpoint};
use crate::intake::Intake;
use crate::intake::request::{Fetcher, NOT_FETCHED};
use crate::planning::Planner;
use crate::planning::cache_lookup::EarlierSteps;
use crate::planning::plan::require_running;
use crate::planning::work_list::WorkList;
use crate::platform::Platform;
use crate::run::Runs;
use crate::run::close::{ClosedRun, RunEnd, closed};
use crate::run::export::Exporter;

/// Rows of a chunk whose media are fetched concurrently: each may hold a large picture twice.
const FETCHED_AT_ONCE: usize = 4;

/// The time for fetching the URLs of a chunk in one call; it leaves the plan function the time for the rest.
const FETCH_TIMEOUT: Duration = Duration::from_secs(35);

/// A row with its plan, or its problem.
struct CompiledRow {
    plan: Result<Plan, RowProblem>,
    /// The media that this call fetched, by URL.
    fetched: Vec<(String, Media)>,
    /// Whether there was no time to fetch them all.
    is_late: bool,
}

/// Plans and closes the runs of chunks.
pub struct Chunks<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) store: Arc<BatchStore<P>>,
    pub(crate) intake: Arc<Intake<P>>,
    pub(crate) planner: Arc<Planner<P>>,
    pub(crate) runs: Arc<Runs<P>>,
    pub(crate) exporter: Arc<Exporter<P>>,
    pub(crate) batches: Arc<Batches<P>>,
}

impl<P: Platform> Chunks<P> {
    /// Plans the run of a chunk: its rows side by side; in a redrive those that are not done. A repeated call gives the
    /// same list, less what was done meanwhile.
    pub async fn plan(&self, run: &RunId, chunk: &ChunkRef) -> Result<WorkList, Failure> {
        let record = self.platform.ledger().run(run).await?;
        if let Some(record) = &record {
            require_running(record)?;
        }
        let generation = generation_of(run, &chunk.batch, chunk.number);
        let plan = self.compile_rows(chunk, generation).await?;
        let earlier = self.earlier_steps(chunk, generation, &plan).await?;
        let created_at = record.as_ref().map_or_else(|| self.platform.clock().now(), |record| record.created_at);
        let lookup = self.planner.look_up_run(run, &plan, created_at, &earlier).await?;
        if record.is_none() {
            self.open(run, chunk, &plan, created_at, lookup.price_of_misses(&plan)).await?;
        }
        // A name of its own: no other run of the pipeline is compared with a chunk.
        let work = self.planner.record_plan(run, &format!("batch {}", plan.name), &plan, &lookup).await?;
        if work.done {
            self.close(run, chunk, None).await?;
        }
        Ok(work)
    }

    /// Closes the run of a chunk and enforces the failure tolerance of its batch. `cause` is the reason for which its
    /// execution ended early; such a run may not be recorded yet, and is recorded then.
    pub async fn close(&self, run: &RunId, chunk: &ChunkRef, cause: Option<Failure>) -> Result<ClosedRun, Failure> {
        if cause.is_some()
            && self.platform.ledger().run(run).await?.is_none()
            && !self.open_unplanned(run, chunk).await?
        {
            return Ok(closed(RunStatus::Stopped, cause));
        }
        let closed = self.finish(run, chunk, cause).await?;
        self.batches.enforce_failure_tolerance(&chunk.batch).await?;
        Ok(closed)
    }

    /// Closes a run that may be the run of a chunk.
    pub async fn close_any(&self, run: &RunId, cause: Option<Failure>) -> Result<ClosedRun, Failure> {
        match self.runs.record(run).await?.chunk {
            Some(chunk) => self.close(run, &chunk, cause).await,
            None => self.runs.close(run, cause).await,
        }
    }

    /// Closes the runs of chunks that an execution left open when it ended. Paid results are kept, and the rest of
    /// their budgets is returned.
    pub(super) async fn close_open(&self, row: &BatchRecord, generation: u32, cause: &Failure) -> Result<(), Failure> {
        for chunk in &row.open {
            let run = run_of(&row.id, *chunk, generation)?;
            // Its own execution may still be running, and must not submit anything more.
            self.platform.ledger().stop_run(&run).await?;
            match self.finish(&run, &ChunkRef { batch: row.id.clone(), number: *chunk }, Some(cause.clone())).await {
                Ok(_) => {}
                Err(cause) if cause.name == ErrorName::RunNotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Compiles the rows of a chunk to one plan, side by side. A redrive leaves out the rows that are done: their results
    /// stay as they are, whatever became of the objects.
    async fn compile_rows(&self, chunk: &ChunkRef, generation: u32) -> Result<Plan, Failure> {
        let request = self.store.request(&chunk.batch).await?;
        let mut file = self.store.chunk_file(&chunk.batch, chunk.number).await?;
        let invalid = |problems: Problems| Failure::new(ErrorName::DocumentInvalid, problems.to_string());
        let document = prepare(&request.run.document).map_err(invalid)?;
        let before = file.clone();
        file.fetched.begin(generation);
        let fetcher = Fetcher::default();
        let until = Instant::now() + FETCH_TIMEOUT;
        let mut rows = file.rows.clone();
        if let Some(last) = generation.checked_sub(1) {
            let results = self.store.results_of_chunk(&chunk.batch, chunk.number, last).await?;
            let ended: BTreeSet<u64> =
                results.iter().filter(|result| !is_left(result)).map(|result| result.row).collect();
            rows.retain(|row| !ended.contains(&row.number));
        }
        let known = &file.fetched.media;
        let planned: Vec<_> =
            rows.iter().map(|row| self.row_plan(&request, &document, row, known, &fetcher, until)).collect();
        let planned: Vec<_> = futures::stream::iter(planned).buffered(FETCHED_AT_ONCE).try_collect().await?;
        let (mut plans, mut unread) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut late = 0;
        for (row, compiled) in rows.iter().zip(planned) {
            file.fetched.media.extend(compiled.fetched);
            late += usize::from(compiled.is_late);
            match compiled.plan {
                Ok(plan) => plans.push((row.number, plan)),
                Err(problem) => unread.push(problem),
            }
        }
        let again = late > 0 && file.fetched.may_continue();
        // A medium of a row may be invalid or missing: the row is left out this time, and the end of the chunk has to
        // know.
        if !again {
            file.unread = unread;
        }
        if file.unread != before.unread || file.fetched != before.fetched {
            let json = serde_json::to_vec(&file).map_err(internal)?;
            let key = chunk_key(&chunk.batch, chunk.number);
            self.platform.objects().put(&key, Bytes::from(json), "application/json").await?;
        }
        if again {
            let message = format!("the media of {late} rows were not fetched in time; the next call continues");
            return Err(StoreError::storage(message).0);
        }
        let too_long =
            || Failure::new(ErrorName::Internal, "a step's name became too long since the batch was planned");
        merge(plans, request.workers).ok_or_else(too_long)
    }

    /// Reads the steps that earlier runs of a chunk have finished, the latest of each, where the plan does not leave them
    /// to the cache: a row that failed in its last step has paid for the others.
    async fn earlier_steps(&self, chunk: &ChunkRef, generation: u32, plan: &Plan) -> Result<EarlierSteps, Failure> {
        let mut earlier = EarlierSteps::new();
        if plan.steps.iter().all(|step| step.cache == CachePolicy::Use && !step.uncacheable) {
            return Ok(earlier);
        }
        for generation in (0..generation).rev() {
            let run = run_of(&chunk.batch, chunk.number, generation)?;
            let steps = self.platform.ledger().steps(&run).await?;
            for step in steps.into_iter().filter(|step| step.pinned.is_some()) {
                earlier.entry(step.plan.id()).or_insert(step);
            }
        }
        Ok(earlier)
    }

    /// Checks and compiles a row, and stores its media, apart from those that are known.
    async fn row_plan(
        &self,
        request: &BatchRequest,
        document: &Prepared,
        row: &Row,
        known: &BTreeMap<String, Media>,
        fetcher: &Fetcher,
        until: Instant,
    ) -> Result<CompiledRow, Failure> {
        let mut given = inputs_of(request, row);
        let (mut fetched, mut is_late) = (Vec::new(), false);
        for reference in document.media_references(&given) {
            let Entry::Vacant(free) = given.media.entry(reference.text.clone()) else { continue };
            if let Some(media) = known.get(&reference.text) {
                free.insert(Ok(media.clone()));
                continue;
            }
            let found = self.intake.find_medium(&reference, request.beside.as_deref(), fetcher, until).await?;
            match &found {
                Ok(media) if reference.text.contains("://") => fetched.push((reference.text, media.clone())),
                Ok(_) => {}
                Err(problem) => is_late |= problem.code == NOT_FETCHED && Instant::now() >= until,
            }
            free.insert(found);
        }
        let checked = document.check(&given);
        let plan = checked.map(|checked| compile(&checked)).map_err(|problems| problem_of(row, problems));
        Ok(CompiledRow { plan, fetched, is_late })
    }

    async fn open(
        &self,
        run: &RunId,
        chunk: &ChunkRef,
        plan: &Plan,
        created_at: Millis,
        wanted: Money,
    ) -> Result<RunRecord, Failure> {
        let row = run_record(run, chunk, plan.name.clone(), created_at, plan.export.clone());
        let generation = generation_of(run, &chunk.batch, chunk.number);
        let ledger = self.platform.ledger();
        let opened = ledger.open_chunk(&chunk.batch, chunk.number, generation, &row, wanted).await;
        opened?.ok_or_else(|| Failure::new(ErrorName::RunStopped, "the batch was stopped, or has ended"))
    }

    /// Records the run of a chunk that could not be planned, to be closed at once. Returns whether the batch is
    /// running.
    async fn open_unplanned(&self, run: &RunId, chunk: &ChunkRef) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        let row = run_record(run, chunk, self.store.record(&chunk.batch).await?.name, now, None);
        let generation = generation_of(run, &chunk.batch, chunk.number);
        let ledger = self.platform.ledger();
        let opened = ledger.open_chunk(&chunk.batch, chunk.number, generation, &row, Money::ZERO).await;
        Ok(opened?.is_some())
    }

    /// Closes the run of a chunk; its batch is not checked.
    async fn finish(&self, run: &RunId, chunk: &ChunkRef, cause: Option<Failure>) -> Result<ClosedRun, Failure> {
        let record = self.runs.record(run).await?;
        if record.status.is_final() {
            return Ok(closed(record.status, record.failure));
        }
        let mut end = self.runs.decide_end(record, cause, self.platform.clock().now()).await?;
        if let Some(export) = self.runs.export_of(&end) {
            end.manifest.exported = Some(self.export_rows(&export, chunk, &end.steps).await?);
            failpoint(Failpoint::CloseExported);
        }
        self.runs.write_manifest(&end).await?;
        failpoint(Failpoint::CloseManifestWritten);
        self.runs.abandon_all(&end.steps).await?;
        failpoint(Failpoint::CloseAbandoned);
        self.record_end(chunk, &end).await?;
        failpoint(Failpoint::CloseRecorded);
        self.runs.cancel_abandoned(&end.steps).await;
        Ok(end.closed())
    }

    /// Exports the outputs of the rows, named by row and step: `000017-storm-image.jpg`.
    async fn export_rows(&self, export: &Export, chunk: &ChunkRef, steps: &[StepRecord]) -> Result<Exported, Failure> {
        let file = self.store.chunk_file(&chunk.batch, chunk.number).await?;
        let ids: BTreeMap<u64, String> = file.rows.iter().map(|row| (row.number, label(row))).collect();
        let names: Vec<(String, Vec<&str>)> = steps
            .iter()
            .map(|step| {
                let StepRef { row, name } = step.plan.id();
                let label = row.and_then(|row| ids.get(&row)).map_or("", String::as_str);
                let outputs = step.pinned.iter().flat_map(|ready| &ready.outputs);
                (format!("{label}-{name}"), outputs.map(|output| output.key.as_str()).collect())
            })
            .collect();
        let files = filenames::of_steps(names.iter().map(|(name, keys)| (name.as_str(), keys.clone())));
        Ok(self.exporter.export_named(export, &chunk.batch, files).await)
    }

    /// Writes the results of the rows, and closes the record of the run.
    async fn record_end(
        &self,
        chunk: &ChunkRef,
        RunEnd { record, steps, failure, manifest }: &RunEnd,
    ) -> Result<(), Failure> {
        let file = self.store.chunk_file(&chunk.batch, chunk.number).await?;
        let mut results = results_of(&file.rows, steps, failure.as_ref());
        for problem in &file.unread {
            if let Some(result) = results.iter_mut().find(|result| result.row == problem.row) {
                *result = RowResult { status: RowStatus::Failed, ..omitted(problem) };
            }
        }
        results.extend(file.bad.iter().map(omitted));
        results.sort_by_key(|result| result.row);
        let mut saved = saved_of(steps);
        let done = |row| results.iter().any(|result| result.row == row && result.status == RowStatus::Done);
        saved.retain(|row, _| done(*row));
        let generation = generation_of(&record.id, &chunk.batch, chunk.number);
        if let Some(last) = generation.checked_sub(1) {
            let before = self.store.results_of_chunk(&chunk.batch, chunk.number, last).await?;
            let tried = |row| steps.iter().any(|step| step.plan.row == Some(row));
            let late = self.store.paid_late(chunk, generation, steps).await?;
            carry_over(before, &late, &mut results, &mut saved, tried);
        }
        let lines = lines_of(&results)?;
        let key = part_key(&chunk.batch, chunk.number, generation);
        self.platform.objects().put(&key, Bytes::from(lines), "application/jsonl").await?;
        let counts =
            BatchCounts { chunks: 1, spent: record.settled, saved: saved.into_values().sum(), ..counts_of(&results) };
        // A hold may still be spent, and is not returned.
        let unspent = record.granted.map(|_| record.remaining);
        let end = ChunkEnd {
            batch: chunk.batch.clone(),
            chunk: chunk.number,
            run: record.id.clone(),
            status: manifest.status,
            failure: failure.clone(),
            counts,
            unspent,
        };
        let now = self.platform.clock().now();
        self.platform.ledger().close_chunk(&end, now).await?;
        Ok(())
    }
}

/// The record of the run of a chunk.
fn run_record(run: &RunId, chunk: &ChunkRef, name: String, created_at: Millis, export: Option<Export>) -> RunRecord {
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
        counted: false,
        publish_pending: false,
    }
}

/// The label of a row in file names: its number, which orders them and keeps them apart, and its id.
fn label(row: &Row) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    match &row.id {
        Some(id) => format!("{:06}-{}", row.number, id.chars().map(plain).collect::<String>()),
        None => format!("{:06}", row.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_the_order_of_rows_and_have_plain_names() {
        let row = |id: Option<&str>| Row { number: 17, id: id.map(str::to_owned), ..Row::default() };
        assert_eq!(label(&row(None)), "000017");
        assert_eq!(label(&row(Some("größe 1/2: a.b"))), "000017-größe_1_2__a.b");
    }
}
