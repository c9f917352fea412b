//! What a row of a batch costs with its share of its chunk and of the batch: all that a batch of a hundred rows asks for, in
//! chunks of ten, once with nothing in the cache and once with everything. As with steps, the providers' webhooks are held until
//! every row of a chunk waits, so that every miss goes the same way.

use fresco_api_types::BatchBody;
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::Runs;
use fresco_pipeline::ids::RunId;
use serde::Serialize;

use super::super::counts::Counts;
use super::super::prices::Bill;
use super::super::transitions::{BatchTransitions, Transitions};
use super::super::{Bench, BenchError, until};
use super::{CHUNK, body};

/// Rows of the batches.
const ROWS: usize = 100;

/// What a batch of [`RowCosts::count`] rows asks for, the client's part included.
#[derive(Debug, Clone, Serialize)]
pub struct RowCosts {
    /// Rows.
    pub count: usize,
    /// Rows of a chunk.
    pub chunk: usize,
    /// State transitions of the batch's own machine by what causes them.
    pub transitions: BatchTransitions,
    /// Where all rows are generated.
    pub misses: Counts,
    /// Where all are cached.
    pub hits: Counts,
    /// What the misses cost, in nano-dollars.
    pub misses_bill: Bill,
    /// What the hits cost.
    pub hits_bill: Bill,
}

impl Bench {
    pub(super) async fn row_costs(&self) -> Result<RowCosts, BenchError> {
        self.progress.step("warming up: a chunk of misses, and one of hits");
        self.whole_batch(body("a warm batch", CHUNK)).await?;
        self.whole_batch(body("a warm batch", CHUNK)).await?;
        self.progress.step(format!("counting a batch of {ROWS} misses"));
        let all = || BatchBody { max_workers: u32::try_from(CHUNK).ok(), ..body("a batch", ROWS) };
        let misses = self.held_batch(all()).await?;
        self.progress.step(format!("counting a batch of {ROWS} hits"));
        let hits = self.whole_batch(all()).await?;
        self.progress.step("timing functions: a batch whose rows go one after the other");
        let alone = self.whole_batch(BatchBody { max_workers: Some(1), ..body("a batch alone", ROWS) }).await?;

        let (run, batch) = (self.transitions, self.batch_transitions);
        let of = |transitions| Counts { transitions, ..Counts::default() };
        let misses = misses.plus(1, &of(transitions_of(run, batch, false))).timed(&alone);
        let hits = hits.plus(1, &of(transitions_of(run, batch, true)));
        let (misses_bill, hits_bill) = (Bill::of(&misses), Bill::of(&hits));
        Ok(RowCosts { count: ROWS, chunk: CHUNK, transitions: batch, misses, hits, misses_bill, hits_bill })
    }

    /// What a batch asks for that nothing holds up, the client's part included.
    async fn whole_batch(&self, body: BatchBody) -> Result<Counts, BenchError> {
        let before = self.quiet().await?.stack;
        let (batch, start) = self.counted_start(body).await?;
        self.batch_ended(&batch).await?;
        Ok(self.quiet().await?.stack.minus(&before).without_start_up().plus(1, &start))
    }

    /// The same of one whose rows all wait for their webhooks, chunk by chunk.
    async fn held_batch(&self, body: BatchBody) -> Result<Counts, BenchError> {
        let before = self.quiet().await?.stack;
        self.hold(true)?;
        let (batch, start) = self.counted_start(body).await?;
        for chunk in 0..ROWS / CHUNK {
            let run = RunId::parse(format!("{batch}-{chunk}"));
            let run = run.map_err(|_| BenchError::Unexpected("the run of a chunk has no name"))?;
            until("the run of a chunk", async || Ok(self.ledger.run(&run).await?.map(drop))).await?;
            let steps = self.all_wait(&run, ResultSource::Generated).await?;
            self.release(steps).await?;
        }
        self.batch_ended(&batch).await?;
        self.hold(false)?;
        Ok(self.quiet().await?.stack.minus(&before).without_start_up().plus(1, &start))
    }

    /// A batch that has begun, and what its client asked for to begin it.
    async fn counted_start(&self, body: BatchBody) -> Result<(RunId, Counts), BenchError> {
        let before = self.seen()?.clients;
        let batch = self.begin_batch(body).await?;
        Ok((batch, self.seen()?.clients.minus(&before).without_start_up()))
    }
}

/// Those of both machines. A chunk of these rows has one stage, and each of its rows is one step, alone in its lane.
fn transitions_of(run: Transitions, batch: BatchTransitions, all_there: bool) -> i64 {
    let (rows, chunks) = (ROWS as i64, (ROWS / CHUNK) as i64);
    let runs = match all_there {
        true => chunks * run.cached_run,
        false => chunks * (run.run + run.stage) + rows * run.step,
    };
    batch.batch + chunks * batch.chunk + runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_machines_count() {
        let run = Transitions { cached_run: 3, run: 6, stage: 2, lane: 1, step: 1 };
        let batch = BatchTransitions { batch: 3, chunk: 2 };
        assert_eq!(transitions_of(run, batch, false), 3 + 10 * (2 + 6 + 2) + 100);
        assert_eq!(transitions_of(run, batch, true), 3 + 10 * (2 + 3));
    }
}
