//! Cuts rows into chunks: each row is checked against the document, counted and priced, and the rows of a chunk are tried as
//! one plan. It does no I/O.

use std::collections::BTreeSet;

use fresco_api_types::{MAX_CONCURRENT_CHUNKS, OnBadRow};
use fresco_ledger::records::BatchPlan;
use fresco_pipeline::document::{Export, MediaReference, Prepared, Problems, RunInputs};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{ChunkSizes, Plan, compile, merge, wall};
use fresco_pipeline::rows::{Row, RowProblem, Skipped, missing_column};
use fresco_pipeline::text::shown;
use serde::Serialize;

use super::objects::{ChunkFile, internal, run_of};
use super::request::BatchRequest;
use crate::planning::work_list::WorkList;

/// The most bytes of cells in a chunk, whatever its number of rows.
const MOST_HELD: usize = 1 << 20;
/// Problems of rows that are listed.
const LISTED: usize = 100;
const HOUR: u64 = 3_600;

/// A chunk in the list of chunks.
#[derive(Serialize)]
pub(super) struct ListedChunk {
    pub(super) run_id: RunId,
    pub(super) chunk: u32,
}

/// A row with its plan.
pub(super) struct PlannedRow {
    row: Row,
    pub(super) plan: Plan,
    /// An earlier row has the same request.
    pub(super) duplicate: bool,
}

/// The hashes of earlier rows, in sorted parts: a hash table would take twice the memory, and twice that while it
/// grows.
struct Seen(Vec<Vec<u64>>);

impl Seen {
    const PARTS: u64 = 1024;

    fn new() -> Self {
        Seen((0..Self::PARTS).map(|_| Vec::new()).collect())
    }

    /// Adds a hash, and returns whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        let part = usize::try_from(hash % Self::PARTS).unwrap_or(0);
        let Some(part) = self.0.get_mut(part) else { return false };
        let Err(place) = part.binary_search(&hash) else { return false };
        part.insert(place, hash);
        true
    }
}

/// Cuts the rows of a batch into chunks, and makes the plan of the batch.
pub(super) struct Chunker<'r> {
    pub(super) request: &'r BatchRequest,
    document: Prepared,
    /// The names of the document's vars.
    vars: BTreeSet<String>,
    /// The columns of the file, where it has any.
    columns: Option<Vec<String>>,
    /// Known after the first valid row.
    size: Option<u32>,
    /// Known after the first valid row.
    export: Option<Export>,
    /// Whether webhooks are used, which decides the check intervals.
    webhooks: bool,
    rows: Vec<PlannedRow>,
    /// Approximate bytes of `rows`.
    held: usize,
    bad: Vec<RowProblem>,
    seen: Seen,
    /// The ids of rows.
    ids: Seen,
    /// The first repeated id with its row, and the number of repetitions.
    same_id: Option<(String, u64, u64)>,
    /// The longest time of a chunk at the slow end of its models, in seconds.
    seconds: u64,
    plan: BatchPlan,
}

/// A chunk to be written.
pub(super) struct Chunk {
    pub(super) number: u32,
    pub(super) file: ChunkFile,
    pub(super) rows: Vec<PlannedRow>,
}

impl Chunk {
    pub(super) fn held(&self) -> usize {
        self.file.rows.iter().map(size_of_row).sum()
    }
}

impl<'r> Chunker<'r> {
    pub(super) fn new(request: &'r BatchRequest, document: Prepared, webhooks: bool) -> Self {
        Chunker {
            request,
            vars: document.var_names(),
            document,
            columns: None,
            size: None,
            export: None,
            webhooks,
            rows: Vec::new(),
            held: 0,
            bad: Vec::new(),
            seen: Seen::new(),
            ids: Seen::new(),
            same_id: None,
            seconds: 0,
            plan: BatchPlan::default(),
        }
    }

    /// The export, once a row has given it.
    pub(super) fn export(&self) -> Option<&Export> {
        self.export.as_ref()
    }

    /// Adds a row. Returns a chunk that is full.
    pub(super) fn accept(&mut self, row: Result<Row, RowProblem>) -> Result<Option<Chunk>, Failure> {
        self.plan.rows += 1;
        if let Ok(row) = &row {
            self.note_warnings(row);
        }
        match row.and_then(|row| self.planned(row)) {
            Ok(mut planned) => {
                if self.size.is_none() {
                    refuse(&planned.plan)?;
                    self.export.clone_from(&planned.plan.export);
                    self.size = Some(self.chunk_size(&planned.plan)?);
                }
                let hash = short(&serde_json::to_vec(&planned.plan.steps).map_err(internal)?);
                // Steps that are generated again each time are no duplicates.
                let shared =
                    planned.plan.steps.iter().all(|step| step.cache == Default::default() && !step.uncacheable);
                planned.duplicate = shared && !self.seen.insert(hash);
                self.plan.duplicates += u64::from(planned.duplicate);
                self.held += size_of_row(&planned.row);
                self.rows.push(planned);
            }
            Err(problem) => {
                if self.request.on_bad_row == OnBadRow::Stop {
                    let RowProblem { row, column, code, message, .. } = problem;
                    let place = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
                    let message = format!("row {row}{place}: {code}: {message}; `on_bad_row` is stop");
                    return Err(Failure::new(ErrorName::InputInvalid, message));
                }
                self.plan.bad_rows += 1;
                if self.plan.problems.len() < LISTED {
                    self.plan.problems.push(problem.clone());
                }
                self.bad.push(problem);
            }
        }
        let size = self.size.unwrap_or(1) as usize;
        // Invalid rows take no room at a provider, but their chunk has to be written some time.
        let full = self.rows.len() >= size || self.held >= MOST_HELD;
        if full || self.bad.len() >= 10 * size.max(LISTED) { self.chunk() } else { Ok(None) }
    }

    /// Collects warnings about a valid row.
    fn note_warnings(&mut self, row: &Row) {
        if let Some(id) = &row.id
            && !self.ids.insert(short(id.as_bytes()))
        {
            let (_, _, times) = self.same_id.get_or_insert_with(|| (id.clone(), row.number, 0));
            *times += 1;
        }
    }

    /// Notes the columns of the file, for messages.
    pub(super) fn note_columns(&mut self, columns: Option<Vec<String>>) {
        self.columns = columns;
    }

    /// Warns about what was skipped.
    pub(super) fn note_skipped(&mut self, skipped: Skipped) {
        let Skipped { rows, columns } = skipped;
        for (count, one, many) in [
            (rows, "1 blank row was skipped", "blank rows were skipped"),
            (columns as u64, "1 empty column without a name was skipped", "empty columns without a name were skipped"),
        ] {
            match count {
                0 => {}
                1 => self.plan.warnings.push(one.to_owned()),
                count => self.plan.warnings.push(format!("{count} {many}")),
            }
        }
    }

    pub(super) fn rest(&mut self) -> Result<Option<Chunk>, Failure> {
        if self.rows.is_empty() && self.bad.is_empty() { Ok(None) } else { self.chunk() }
    }

    fn chunk(&mut self) -> Result<Option<Chunk>, Failure> {
        let number = self.plan.chunks;
        self.plan.chunks += 1;
        let planned = std::mem::take(&mut self.rows);
        self.held = 0;
        let numbered = planned.iter().map(|planned| (planned.row.number, planned.plan.clone())).collect();
        let Some(merged) = merge(numbered, self.request.workers) else {
            let message = "a step's name is too long: in a batch it carries the number of its row, so at most 50 characters are taken";
            return Err(Failure::new(ErrorName::InputInvalid, message));
        };
        let most = fresco_pipeline::document::MAX_STEPS;
        if merged.steps.len() > most {
            let steps = merged.steps.len();
            let message = format!("a chunk has {steps} steps, and {most} are possible; make `chunk_size` smaller");
            return Err(Failure::new(ErrorName::RunTooLarge, message));
        }
        // As if nothing were cached: a result may be gone when the chunk runs.
        WorkList::of(&merged, self.webhooks, |_| true).require_size(&merged).map_err(|cause| {
            let advice = "; in a batch: make `chunk_size` smaller";
            Failure::new(
                cause.name,
                format!("a chunk of {} rows is too large: {}{advice}", planned.len(), cause.message),
            )
        })?;
        let seconds = wall(&merged.stages, |step| merged.steps.get(step).map_or(0, |step| u64::from(step.typical)));
        self.seconds = self.seconds.max(seconds);
        let rows = planned.iter().map(|planned| planned.row.clone()).collect();
        let file = ChunkFile { rows, bad: std::mem::take(&mut self.bad), ..ChunkFile::default() };
        Ok(Some(Chunk { number, file, rows: planned }))
    }

    /// Checks and compiles a row.
    fn planned(&self, row: Row) -> Result<PlannedRow, RowProblem> {
        let row = row.with_names_of(&self.vars);
        let mut given = inputs_of(self.request, &row);
        let mut checked = self.document.check(&given);
        if checked.as_ref().is_err_and(|problems| problems.0.iter().any(|problem| problem.code == "input_unread")) {
            for reference in self.document.media_references(&given) {
                if reference.text.contains("://") || self.request.beside.is_some() {
                    given.media.entry(reference.text.clone()).or_insert_with(|| Ok(presumed(&reference)));
                }
            }
            checked = self.document.check(&given);
        }
        match checked {
            Ok(checked) => Ok(PlannedRow { plan: compile(&checked), row, duplicate: false }),
            Err(problems) => {
                let mut problem = problem_of(&row, problems);
                let columns = self.columns.as_ref().filter(|_| !problem.column.is_empty());
                if let Some(message) = columns.and_then(|columns| missing_column(&problem.column, columns)) {
                    problem.message = message;
                }
                Err(problem)
            }
        }
    }

    fn chunk_size(&mut self, plan: &Plan) -> Result<u32, Failure> {
        let sizes = ChunkSizes::of(&plan.steps);
        let size = self.request.chunk_size.unwrap_or(sizes.default);
        if size > sizes.most {
            let message =
                format!("`chunk_size` is {size}; at most {} rows are possible with steps of these types", sizes.most);
            return Err(Failure::new(ErrorName::InputInvalid, message));
        }
        if size > sizes.recommended {
            let most = sizes.recommended;
            self.plan
                .warnings
                .push(format!("`chunk_size` is {size}; at most {most} are recommended with steps of these types"));
        }
        self.plan.chunk_size = size;
        Ok(size)
    }

    pub(super) fn priced(&mut self, (hits, price): (u64, Money)) {
        self.plan.hits += hits;
        self.plan.price += price;
    }

    /// Returns the list of chunks as JSON, and the plan of the batch.
    pub(super) fn finished(mut self, batch: &RunId, generation: u32) -> Result<(Vec<u8>, BatchPlan), Failure> {
        if self.plan.bad_rows == self.plan.rows {
            let first = self
                .plan
                .problems
                .first()
                .map_or_else(String::new, |first| format!("{}: {}", first.code, first.message));
            let message = format!("none of the {} rows can be run; row 1: {first}", self.plan.rows);
            return Err(Failure::new(ErrorName::InputInvalid, message));
        }
        // A million hashes and the list of chunks must not be in memory together.
        (self.seen, self.ids) = (Seen::new(), Seen::new());
        let mut list = vec![b'['];
        for chunk in 0..self.plan.chunks {
            if chunk > 0 {
                list.push(b',');
            }
            let listed = ListedChunk { run_id: run_of(batch, chunk, generation)?, chunk };
            serde_json::to_writer(&mut list, &listed).map_err(internal)?;
        }
        list.push(b']');
        let plan = &mut self.plan;
        plan.export = self.export.as_ref().map(ToString::to_string);
        plan.max_concurrent_chunks = self.request.at_once;
        plan.pause_seconds = self.request.pause;
        plan.tolerated = self.request.tolerate.map(|tolerate| tolerate.of(plan.rows));
        let each = self.seconds + u64::from(self.request.pause);
        plan.expected_seconds = u64::from(plan.chunks.div_ceil(self.request.at_once.max(1))) * each;
        if let Some(period) = self.request.period.filter(|period| *period < plan.expected_seconds) {
            let (takes, period) = (plan.expected_seconds / 60, period / 60);
            plan.warnings.push(format!("it takes about {takes} minutes, and the next one is due in {period}"));
        }
        if let Some((id, row, times)) = &self.same_id {
            let rows = if *times == 1 { "1 row has".to_owned() } else { format!("{times} rows have") };
            plan.warnings
                .push(format!("{rows} an id that a row before has, the first of them row {row}: `{}`", shown(id)));
        }
        if plan.expected_seconds > HOUR {
            // The rounds that fit into an hour; where not even one does, no concurrency helps.
            let rounds = u32::try_from(HOUR / each.max(1)).unwrap_or(u32::MAX);
            let enough = (rounds > 0).then(|| plan.chunks.div_ceil(rounds));
            plan.concurrency_for_an_hour = enough.filter(|enough| *enough <= MAX_CONCURRENT_CHUNKS);
        }
        Ok((list, self.plan))
    }
}

/// The first eight bytes of the hash of the content.
fn short(content: &[u8]) -> u64 {
    let digest = ContentKey::digest(content);
    u64::from_str_radix(digest.as_str().get(..16).unwrap_or_default(), 16).unwrap_or(0)
}

/// A placeholder for a medium of a row, taken for a valid one: the medium is read when the chunk is planned.
fn presumed(reference: &MediaReference) -> Media {
    Media {
        key: String::new(),
        kind: reference.kind,
        content_type: String::new(),
        bytes: 1,
        sha256: ContentKey::digest(reference.text.as_bytes()).to_string(),
        width: None,
        height: None,
        duration_ms: None,
    }
}

/// The first problem that the document has with the cells of a row.
pub(super) fn problem_of(row: &Row, problems: Problems) -> RowProblem {
    let first = problems.0.into_iter().next();
    let (code, message, advice, missing_input) = first.map_or_else(Default::default, |first| {
        (first.code, format!("{}: {}", first.path, first.message), first.advice, first.missing_input)
    });
    RowProblem {
        row: row.number,
        id: row.id.as_deref().map(Into::into),
        column: missing_input.map(String::from).unwrap_or_default(),
        code,
        message,
        advice,
    }
}

/// Refuses settings of a document that a batch does not support.
fn refuse(plan: &Plan) -> Result<(), Failure> {
    if plan.max_cost != Money::UNLIMITED {
        let message = "`max_cost` of a document is that of one run; take it out, and give the batch one of its own";
        return Err(Failure::new(ErrorName::InputInvalid, message));
    }
    Ok(())
}

/// The approximate bytes of a row.
fn size_of_row(row: &Row) -> usize {
    let cells = row.vars.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    cells + row.input.as_ref().map_or(0, String::len)
}

/// The inputs of a row: its own, and those of the batch.
pub(super) fn inputs_of(request: &BatchRequest, row: &Row) -> RunInputs {
    let mut given = request.run.inputs();
    given.input = row.input.clone().or(given.input);
    given.row = row.vars.clone();
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inserted_hash_is_not_new() {
        let mut seen = Seen::new();
        let hashes: Vec<u64> = (0..10_000u64).map(|n| short(&n.to_le_bytes())).collect();
        assert!(hashes.iter().all(|hash| seen.insert(*hash)));
        assert!(!hashes.iter().any(|hash| seen.insert(*hash)));
    }
}
