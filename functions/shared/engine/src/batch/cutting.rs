//! Cutting rows into chunks: each row is checked against the document, counted and priced, and the rows of a chunk are tried as
//! one plan. Nothing here asks for anything: what it is given is a row, and what it gives is a chunk that is full.

use fresco_ledger::records::BatchPlan;
use fresco_pipeline::document::{Export, MediaReference, Prepared, Problems, RunInputs};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::media::InputMedia;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{ChunkSizes, Plan, compile, merge, wall};
use fresco_pipeline::rows::{Row, RowProblem};
use serde::Serialize;

use super::wire::OnBadRow;
use super::{BatchRequest, ChunkFile, MAX_CHUNKS_AT_ONCE, internal, run_of};
use crate::plan::WorkList;

/// How many bytes of cells a chunk holds, whatever its number of rows.
const MOST_HELD: usize = 1 << 20;
/// How many problems of rows are listed.
const LISTED: usize = 100;
const HOUR: u64 = 3_600;

/// A chunk as the list names it.
#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) run_id: RunId,
    pub(super) chunk: u32,
}

/// A row that can be run.
pub(super) struct Planned {
    row: Row,
    pub(super) plan: Plan,
    /// One before it asks for the same.
    pub(super) duplicate: bool,
}

/// The rows that were there before, by hash. In parts that are sorted: a table would take twice the memory, and its growth as
/// much again.
struct Seen(Vec<Vec<u64>>);

impl Seen {
    const PARTS: u64 = 1024;

    fn new() -> Self {
        Seen((0..Self::PARTS).map(|_| Vec::new()).collect())
    }

    /// Whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        let part = usize::try_from(hash % Self::PARTS).unwrap_or(0);
        let Some(part) = self.0.get_mut(part) else { return false };
        let Err(place) = part.binary_search(&hash) else { return false };
        part.insert(place, hash);
        true
    }
}

/// The plan as it grows.
pub(super) struct Cutting<'r> {
    pub(super) request: &'r BatchRequest,
    document: Prepared,
    /// Known from the first row that can be run.
    size: Option<u32>,
    /// Likewise.
    export: Option<Export>,
    /// Whether providers can tell the stack of results, which decides how often it looks itself.
    webhooks: bool,
    rows: Vec<Planned>,
    /// About how much memory they take, in bytes.
    held: usize,
    bad: Vec<RowProblem>,
    seen: Seen,
    /// The rows' own names so far.
    ids: Seen,
    /// The row whose id another had before it, the first of them; and how many there are.
    same_id: Option<(String, u64, u64)>,
    /// How long a whole chunk takes at the models' slow end, in seconds.
    seconds: u64,
    plan: BatchPlan,
}

/// A chunk that is to be written.
pub(super) struct Chunk {
    pub(super) number: u32,
    pub(super) file: ChunkFile,
    pub(super) rows: Vec<Planned>,
}

impl Chunk {
    pub(super) fn held(&self) -> usize {
        self.file.rows.iter().map(size_of_row).sum()
    }
}

impl<'r> Cutting<'r> {
    pub(super) fn new(request: &'r BatchRequest, document: Prepared, webhooks: bool) -> Self {
        Cutting {
            request,
            document,
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

    /// Where the outputs are copied to, once a row said so.
    pub(super) fn export(&self) -> Option<&Export> {
        self.export.as_ref()
    }

    /// Takes a row; a chunk that is full.
    pub(super) fn take(&mut self, row: Result<Row, RowProblem>) -> Result<Option<Chunk>, Failure> {
        self.plan.rows += 1;
        if let Ok(row) = &row {
            self.next_check_at(row);
        }
        match row.and_then(|row| self.planned(row)) {
            Ok(mut planned) => {
                if self.size.is_none() {
                    refuse(&planned.plan)?;
                    self.export.clone_from(&planned.plan.export);
                    self.size = Some(self.chunk_size(&planned.plan)?);
                }
                let hash = short(&serde_json::to_vec(&planned.plan.steps).map_err(internal)?);
                // Steps that are generated however often they were are no duplicates of anything.
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
        // Bad rows take no room at a provider, but their chunk has to be written some time.
        let full = self.rows.len() >= size || self.held >= MOST_HELD;
        if full || self.bad.len() >= 10 * size.max(LISTED) { self.chunk() } else { Ok(None) }
    }

    /// What of a row should be looked at, though it can be run.
    fn next_check_at(&mut self, row: &Row) {
        if let Some(id) = &row.id
            && !self.ids.insert(short(id.as_bytes()))
        {
            let (_, _, times) = self.same_id.get_or_insert_with(|| (id.clone(), row.number, 0));
            *times += 1;
        }
        if row.number == 1 {
            let mistaken = |name: &&String| ["id", "input"].iter().any(|column| name.eq_ignore_ascii_case(column));
            for name in row.vars.keys().filter(mistaken) {
                let meant = name.to_ascii_lowercase();
                self.plan.warnings.push(format!(
                    "the column `{name}` is a var; `{meant}`, in small letters, would be the row's {meant}"
                ));
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
        // As if nothing were there: it may be gone by the time that the chunk runs.
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
        let file = ChunkFile { rows, bad: std::mem::take(&mut self.bad), unread: Vec::new() };
        Ok(Some(Chunk { number, file, rows: planned }))
    }

    /// The row with its plan; what its cells make of the document may be wrong.
    fn planned(&self, row: Row) -> Result<Planned, RowProblem> {
        let mut given = given(self.request, &row);
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
            Ok(checked) => Ok(Planned { plan: compile(&checked), row, duplicate: false }),
            Err(problems) => Err(problem_of(&row, problems)),
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

    /// The list of chunks, and the plan.
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
        // A million of hashes and the list of chunks need not be there at once.
        (self.seen, self.ids) = (Seen::new(), Seen::new());
        let mut list = vec![b'['];
        for chunk in 0..self.plan.chunks {
            if chunk > 0 {
                list.push(b',');
            }
            let listed = Listed { run_id: run_of(batch, chunk, generation)?, chunk };
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
            plan.warnings.push(format!("{rows} an id that a row before has, the first of them row {row}: `{id}`"));
        }
        if plan.expected_seconds > HOUR {
            // So many rounds fit into an hour; where not even one does, nothing helps.
            let rounds = u32::try_from(HOUR / each.max(1)).unwrap_or(u32::MAX);
            let enough = (rounds > 0).then(|| plan.chunks.div_ceil(rounds));
            plan.concurrency_for_an_hour = enough.filter(|enough| *enough <= MAX_CHUNKS_AT_ONCE);
        }
        Ok((list, self.plan))
    }
}

/// Eight bytes of the content's hash.
fn short(content: &[u8]) -> u64 {
    let digest = ContentKey::digest(content);
    u64::from_str_radix(digest.as_str().get(..16).unwrap_or_default(), 16).unwrap_or(0)
}

/// A medium that a row names is looked at when its chunk is planned, not before: it is taken for one that fits.
fn presumed(reference: &MediaReference) -> InputMedia {
    InputMedia {
        key: String::new(),
        kind: reference.kind,
        content_type: String::new(),
        bytes: 1,
        sha256: ContentKey::digest(reference.text.as_bytes()).to_string(),
        width: None,
        height: None,
    }
}

/// The first problem that the document has with a row's cells.
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

/// What a document may ask for that a batch does not carry out is refused by name, never ignored.
fn refuse(plan: &Plan) -> Result<(), Failure> {
    if plan.max_cost != Money::UNLIMITED {
        let message = "`max_cost` of a document is that of one run; take it out, and give the batch one of its own";
        return Err(Failure::new(ErrorName::InputInvalid, message));
    }
    Ok(())
}

/// About how many bytes a row takes: in what its cells say, and in what is made of them.
fn size_of_row(row: &Row) -> usize {
    let cells = row.vars.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    cells + row.input.as_ref().map_or(0, String::len)
}

/// What a row gives to the document, over what is given with the batch.
pub(super) fn given(request: &BatchRequest, row: &Row) -> RunInputs {
    let mut given = request.run.given();
    given.input = row.input.clone().or(given.input);
    given.vars.extend(row.vars.clone());
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known() {
        let mut seen = Seen::new();
        let hashes: Vec<u64> = (0..10_000u64).map(|n| short(&n.to_le_bytes())).collect();
        assert!(hashes.iter().all(|hash| seen.insert(*hash)));
        assert!(!hashes.iter().any(|hash| seen.insert(*hash)));
    }
}
