//! Planning a batch: its rows are read as a stream, each is checked and priced, and they are cut into chunks. Memory is that of
//! a few chunks, whatever the number of rows; of each row a hash of eight bytes is kept, to count duplicates.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use fresco_ledger::batch::{BatchCounts, BatchPlan, BatchRow};
use fresco_ledger::traits::{Batches, Clock, Entries, Objects};
use fresco_pipeline::document::{Export, Given, Mention, Prepared, Problems, prepare};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::media::InputMedia;
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{ChunkSizes, Plan, compile, merge, wall};
use fresco_pipeline::rows::{Row, RowProblem, Rows};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::chunk::counts_of;
use super::wire::{OnBadRow, RowStatus};
use super::{BatchRequest, ChunkFile, MAX_CHUNKS_AT_ONCE, chunk_key, internal, run_of};
use crate::Engine;
use crate::age::{Age, age};
use crate::plan::WorkList;
use crate::platform::Platform;
use crate::transact::failure;

/// How much of the rows is read at a time.
const PIECE: u64 = 1 << 18;
/// How many chunks are written side by side.
const WRITTEN_AT_ONCE: usize = 32;
/// How many bytes of cells a chunk holds, whatever its number of rows.
const MOST_HELD: usize = 1 << 20;
/// How many bytes of cells are in chunks that are being written.
const MOST_WRITTEN: usize = 4 << 20;
/// How many problems of rows are listed.
const LISTED: usize = 100;
const HOUR: u64 = 3_600;

/// What the state machine needs of a planned batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWork {
    /// The bucket of the list.
    pub bucket: String,
    /// The key of the list of chunks: a JSON array of `{run_id, chunk}`.
    pub list: String,
    /// Where the map's own results go.
    pub results: String,
    /// Chunks side by side.
    pub concurrency: u32,
    /// The pause behind each, in seconds.
    pub pause: u32,
}

/// A chunk as the list names it.
#[derive(Serialize)]
struct Listed {
    run_id: RunId,
    chunk: u32,
}

/// A row that can be run.
struct Planned {
    row: Row,
    plan: Plan,
    /// One before it asks for the same.
    duplicate: bool,
}

/// The rows that were there before, by hash. In parts, of which one at a time grows.
struct Seen(Vec<HashSet<u64>>);

impl Seen {
    const PARTS: u64 = 256;

    fn new() -> Self {
        Seen((0..Self::PARTS).map(|_| HashSet::new()).collect())
    }

    /// Whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        let part = usize::try_from(hash % Self::PARTS).unwrap_or(0);
        self.0.get_mut(part).is_some_and(|part| part.insert(hash))
    }
}

/// The plan as it grows.
struct Cutting<'r> {
    request: &'r BatchRequest,
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

impl<P: Platform> Engine<P> {
    /// Plans a batch. Planning again gives the same.
    pub async fn plan_batch(&self, batch: &RunId) -> Result<BatchWork, Failure> {
        let record = self.batch_row(batch).await?;
        if record.stop || record.status.is_final() {
            return Err(Failure::new(ErrorName::RunStopped, "the batch was stopped before it was planned"));
        }
        let request = self.batch_request(batch).await?;
        if let Some(plan) = record.plan.clone().filter(|_| record.generation > 0) {
            return self.replan(&record, plan).await;
        }
        let document = prepare(&request.run.document)
            .map_err(|problems| Failure::new(ErrorName::DocumentInvalid, problems.to_string()))?;
        let mut cutting = Cutting {
            request: &request,
            document,
            size: None,
            export: None,
            webhooks: self.settings.webhooks(),
            rows: Vec::new(),
            held: 0,
            bad: Vec::new(),
            seen: Seen::new(),
            ids: Seen::new(),
            same_id: None,
            seconds: 0,
            plan: BatchPlan::default(),
        };
        self.cut(batch, &mut cutting).await?;
        self.require_export(cutting.export.as_ref())?;
        let (list, plan) = cutting.finished(batch, record.generation)?;
        let key = format!("plans/{batch}/chunks.json");
        self.platform.objects().put(&key, Bytes::from(list), "application/json").await.map_err(failure)?;
        if !self.platform.ledger().plan_batch(batch, &plan).await.map_err(failure)? {
            return Err(Failure::new(ErrorName::RunStopped, "the batch ended while it was planned"));
        }
        Ok(self.work_of(batch, key, &plan))
    }

    /// Of a batch that is driven anew only the chunks with rows that may still come to something.
    async fn replan(&self, record: &BatchRow, plan: BatchPlan) -> Result<BatchWork, Failure> {
        let (batch, generation) = (&record.id, record.generation);
        // Those that the execution before left behind.
        let cause = Failure::new(ErrorName::RunStopped, "the batch is driven anew");
        for earlier in 0..generation {
            self.close_open_chunks(record, earlier, &cause).await?;
        }
        let mut again = Vec::new();
        let mut kept = BatchCounts::default();
        let chunks = futures::stream::iter(
            (0..plan.chunks)
                .map(|chunk| async move { Ok::<_, Failure>((chunk, self.results_of_chunk(batch, chunk).await?)) }),
        );
        let mut chunks = chunks.buffered(WRITTEN_AT_ONCE);
        while let Some((chunk, results)) = chunks.try_next().await? {
            if results.iter().any(|result| matches!(result.status, RowStatus::Failed | RowStatus::NotRun)) {
                again.push(Listed { run_id: run_of(batch, chunk, generation)?, chunk });
                continue;
            }
            let counts = counts_of(&results);
            kept.chunks += 1;
            kept.done += counts.done;
            kept.failed += counts.failed;
            kept.bad += counts.bad;
            kept.hits += counts.hits;
        }
        drop(chunks);
        // What was put together before is not what it will be.
        self.platform.objects().remove(&[super::results_key(batch)]).await.map_err(failure)?;
        self.platform.ledger().recount_batch(batch, &kept).await.map_err(failure)?;
        let key = format!("plans/{batch}/chunks-{generation}.json");
        let list = serde_json::to_vec(&again).map_err(internal)?;
        self.platform.objects().put(&key, Bytes::from(list), "application/json").await.map_err(failure)?;
        if !self.platform.ledger().plan_batch(batch, &plan).await.map_err(failure)? {
            return Err(Failure::new(ErrorName::RunStopped, "the batch ended while it was planned"));
        }
        Ok(self.work_of(batch, key, &plan))
    }

    fn work_of(&self, batch: &RunId, list: String, plan: &BatchPlan) -> BatchWork {
        BatchWork {
            bucket: self.settings.bucket.clone(),
            list,
            results: format!("plans/{batch}/map"),
            concurrency: plan.max_concurrent_chunks,
            pause: plan.pause_seconds,
        }
    }

    /// Reads the rows, and writes the chunks.
    async fn cut(&self, batch: &RunId, cutting: &mut Cutting<'_>) -> Result<(), Failure> {
        let unreadable = |error: fresco_pipeline::rows::RowsError| {
            Failure::new(ErrorName::InputInvalid, format!("{}: {}. {}", error.code, error.message, error.advice))
        };
        let request = cutting.request;
        let mut rows = Rows::new(request.format);
        let mut writing = FuturesUnordered::new();
        let mut under_way = 0;
        let (mut from, mut tag) = (0, request.tag.clone());
        loop {
            let piece = self.platform.objects().piece(&request.rows, tag.as_deref(), from, PIECE).await;
            let Some((bytes, found)) = piece.map_err(failure)? else {
                let message = format!("{} is gone, or became another while it was read", request.rows);
                return Err(Failure::new(ErrorName::InputInvalid, message));
            };
            let mut read = Vec::new();
            if bytes.is_empty() {
                std::mem::replace(&mut rows, Rows::new(request.format))
                    .finish(&mut |row| read.push(row))
                    .map_err(unreadable)?;
            } else {
                rows.feed(&bytes, &mut |row| read.push(row)).map_err(unreadable)?;
            }
            for row in read {
                if let Some(chunk) = cutting.take(row)? {
                    under_way += chunk.held();
                    writing.push(self.write_chunk(batch, chunk));
                }
                while writing.len() >= WRITTEN_AT_ONCE || under_way > MOST_WRITTEN {
                    let Some((held, priced)) = writing.try_next().await? else { break };
                    under_way -= held;
                    cutting.priced(priced);
                }
            }
            if bytes.is_empty() {
                break;
            }
            from += bytes.len() as u64;
            tag = Some(found);
        }
        if let Some(chunk) = cutting.rest()? {
            writing.push(self.write_chunk(batch, chunk));
        }
        while let Some((_, priced)) = writing.try_next().await? {
            cutting.priced(priced);
        }
        Ok(())
    }

    /// Writes the rows of a chunk: how much it held, how many rows begin with what is there, and what the chunk costs at most
    /// besides.
    async fn write_chunk(&self, batch: &RunId, chunk: Chunk) -> Result<(usize, (u64, Money)), Failure> {
        let held = chunk.held();
        let Chunk { number, file, rows } = chunk;
        let json = serde_json::to_vec(&file).map_err(internal)?;
        let key = chunk_key(batch, number);
        self.platform.objects().put(&key, Bytes::from(json), "application/json").await.map_err(failure)?;
        let run = run_of(batch, number, 0)?;
        // The keys of first steps are known; whether those behind them are there is for the chunk's own planning.
        let mut firsts: BTreeMap<ContentKey, Money> = BTreeMap::new();
        let (mut of_rows, mut price) = (Vec::with_capacity(rows.len()), Money::ZERO);
        for Planned { plan, duplicate, .. } in &rows {
            let mut keys = BTreeSet::new();
            for step in &plan.steps {
                price = if *duplicate { price } else { price + step.price };
                if step.reads().is_empty()
                    && step.cache == Default::default()
                    && !step.fleeting
                    && let Ok(Some(ready)) = step.resolve(&run, &BTreeMap::new())
                {
                    firsts.insert(ready.key.clone(), ready.price);
                    keys.insert(ready.key);
                }
            }
            of_rows.push(keys);
        }
        let keys: Vec<ContentKey> = firsts.keys().cloned().collect();
        let looked = self.platform.ledger().entries(&keys).await.map_err(failure)?;
        let (life, now) = (self.settings.object_life(), self.platform.clock().now());
        let lives = |created_at| !matches!(age(life, created_at, now, 0), Age::Over);
        let there = looked
            .entries
            .into_iter()
            .filter(|entry| entry.result.as_ref().is_some_and(|result| lives(result.created_at)));
        let there: BTreeSet<ContentKey> = there.map(|entry| entry.key).collect();
        let mut hits = 0;
        for (keys, row) in of_rows.iter().zip(&rows) {
            hits += u64::from(!keys.is_empty() && keys.is_subset(&there));
            let paid = keys.intersection(&there).filter(|_| !row.duplicate).filter_map(|key| firsts.get(key));
            price = paid.fold(price, |price, paid| price - *paid);
        }
        Ok((held, (hits, price)))
    }
}

/// A chunk that is to be written.
struct Chunk {
    number: u32,
    file: ChunkFile,
    rows: Vec<Planned>,
}

impl Chunk {
    fn held(&self) -> usize {
        self.file.rows.iter().map(size_of_row).sum()
    }
}

impl Cutting<'_> {
    /// Takes a row; a chunk that is full.
    fn take(&mut self, row: Result<Row, RowProblem>) -> Result<Option<Chunk>, Failure> {
        self.plan.rows += 1;
        if let Ok(row) = &row {
            self.look_at(row);
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
                let shared = planned.plan.steps.iter().all(|step| step.cache == Default::default() && !step.fleeting);
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
    fn look_at(&mut self, row: &Row) {
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

    fn rest(&mut self) -> Result<Option<Chunk>, Failure> {
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
            for mention in self.document.mentions(&given) {
                if mention.text.contains("://") || self.request.beside.is_some() {
                    given.media.entry(mention.text.clone()).or_insert_with(|| Ok(presumed(&mention)));
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

    fn priced(&mut self, (hits, price): (u64, Money)) {
        self.plan.hits += hits;
        self.plan.price += price;
    }

    /// The list of chunks, and the plan.
    fn finished(mut self, batch: &RunId, generation: u32) -> Result<(Vec<u8>, BatchPlan), Failure> {
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
fn presumed(mention: &Mention) -> InputMedia {
    InputMedia {
        key: String::new(),
        kind: mention.kind,
        content_type: String::new(),
        bytes: 1,
        sha256: ContentKey::digest(mention.text.as_bytes()).to_string(),
        width: None,
        height: None,
    }
}

/// The first problem that the document has with a row's cells.
pub(super) fn problem_of(row: &Row, problems: Problems) -> RowProblem {
    let first = problems.0.into_iter().next();
    let (code, message, advice, lacks) = first.map_or_else(Default::default, |first| {
        (first.code, format!("{}: {}", first.path, first.message), first.advice, first.lacks)
    });
    RowProblem {
        row: row.number,
        id: row.id.as_deref().map(Into::into),
        column: lacks.map(String::from).unwrap_or_default(),
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
pub(super) fn given(request: &BatchRequest, row: &Row) -> Given {
    let mut given = request.run.given();
    given.input = row.input.clone().or(given.input);
    given.vars.extend(row.vars.clone());
    given
}
