//! The costs of a batch's row, and the speed of batches: with providers that answer at once, and against the best schedule
//! with providers that take their time.

use std::collections::BTreeMap;

use anyhow::Context;
use fresco_api_types::BatchBody;
use fresco_ledger::records::ResultSource;
use fresco_pipeline::ids::RunId;
use serde_json::{Value, json};

use super::counts::Counts;
use super::meter::{Meter, prompt};

/// The rows of a chunk: the default for pictures.
const CHUNK: usize = 10;
/// The rows of a chunk that run at a time: the default.
pub(super) const WORKERS: usize = 4;
/// The rows of the batch whose requests are counted.
pub(super) const COUNTED_ROWS: usize = 100;
/// The rows of the batch whose throughput is measured, and its chunks that run at a time.
const THROUGHPUT_ROWS: usize = 1_000;
const THROUGHPUT_CHUNKS: u32 = 4;
/// The rows of the batch with providers that take their time, and the pause after each of its chunks, in seconds.
const TIMED_ROWS: usize = 60;
const PAUSE: u32 = 1;
const TIMED: &str = "wall time of a batch";

/// The counts of a batch of [`COUNTED_ROWS`] rows, its start through the API included.
#[derive(Debug)]
pub(super) struct RowCosts {
    /// All rows are generated.
    pub(super) misses: Counts,
    /// All rows are cached.
    pub(super) hits: Counts,
}

/// The time of a batch with providers that answer at once.
#[derive(Debug)]
pub(super) struct Throughput {
    pub(super) cached: bool,
    pub(super) rows: usize,
    /// From the batch's record to its end, in milliseconds.
    pub(super) took_ms: i64,
}

/// The time of a batch with providers that take their typical time, one chunk at a time.
#[derive(Debug)]
pub(super) struct WallTime {
    pub(super) rows: usize,
    /// The sum of the chunks' best schedules, in milliseconds: their rows in order on [`WORKERS`] workers, each as long as
    /// the provider worked on it.
    pub(super) best_ms: i64,
    /// The pauses after the chunks, in milliseconds.
    pub(super) pauses_ms: i64,
    /// From the batch's record to its end, in milliseconds.
    pub(super) took_ms: i64,
}

impl Meter {
    pub(super) async fn row_costs(&self) -> anyhow::Result<RowCosts> {
        eprintln!("counting the rows of batches");
        for _ in 0..2 {
            self.batch(&body("warm-up", CHUNK)).await?;
        }
        let body = |set, workers| BatchBody { max_workers: Some(workers), ..body(set, COUNTED_ROWS) };
        let all = body("a batch", CHUNK as u32);
        let (_, misses) = self.counted(async || self.held_batch(&all).await).await?;
        let (_, hits) = self.counted(async || self.batch(&all).await).await?;
        let (_, alone) = self.counted(async || self.batch(&body("a batch alone", 1)).await).await?;
        let transitions = |cached| {
            let (rows, chunks) = (COUNTED_ROWS as i64, (COUNTED_ROWS / CHUNK) as i64);
            Counts::of_transitions(self.transitions.of_batch(rows, chunks, cached))
        };
        Ok(RowCosts {
            misses: misses.plus(1, &transitions(false)).timed(&alone),
            hits: hits.plus(1, &transitions(true)),
        })
    }

    /// Runs a batch, and returns its time in milliseconds.
    async fn batch(&self, body: &BatchBody) -> anyhow::Result<i64> {
        let batch = self.start_batch(body).await?;
        let view = self.batch_succeeded(&batch).await?;
        Ok(view.ended_at.context("the batch has no end")? - view.created_at)
    }

    /// Runs a batch whose webhooks are held until all rows of a chunk wait, so that every miss takes the same path.
    async fn held_batch(&self, body: &BatchBody) -> anyhow::Result<()> {
        self.hold_webhooks(true)?;
        let batch = self.start_batch(body).await?;
        for chunk in 0..COUNTED_ROWS / CHUNK {
            let steps = self.all_wait(&RunId::parse(format!("{batch}-{chunk}"))?, ResultSource::Generated).await?;
            self.release_webhooks(steps).await?;
        }
        self.batch_succeeded(&batch).await?;
        self.hold_webhooks(false)
    }

    pub(super) async fn throughput(&self, cached: bool) -> anyhow::Result<Throughput> {
        eprintln!("timing a batch of {THROUGHPUT_ROWS} rows");
        let body = body("throughput of batches", THROUGHPUT_ROWS);
        let took_ms = self.batch(&BatchBody { max_concurrent_chunks: Some(THROUGHPUT_CHUNKS), ..body }).await?;
        Ok(Throughput { cached, rows: THROUGHPUT_ROWS, took_ms })
    }

    pub(super) async fn wall_time(&self) -> anyhow::Result<WallTime> {
        eprintln!("timing a batch of {TIMED_ROWS} rows at the providers' typical durations");
        self.tools.control("settings", &json!({"scale": 1.0}))?;
        let took = self.batch(&BatchBody { rate_limit_delay: Some(PAUSE), ..body(TIMED, TIMED_ROWS) }).await;
        self.tools.control("settings", &json!({"scale": 0.0}))?;
        let durations = durations(&self.tools.control_state("requests")?);
        let rows: Option<Vec<i64>> = (1..=TIMED_ROWS).map(|row| durations.get(&prompt(TIMED, row)).copied()).collect();
        let rows = rows.context("the simulator does not know a row of the batch")?;
        Ok(WallTime {
            rows: TIMED_ROWS,
            best_ms: rows.chunks(CHUNK).map(best_schedule).sum(),
            pauses_ms: (TIMED_ROWS / CHUNK) as i64 * i64::from(PAUSE) * 1_000,
            took_ms: took?,
        })
    }
}

impl WallTime {
    /// The time divided by the best possible one.
    pub(super) fn ratio(&self) -> f64 {
        self.took_ms as f64 / (self.best_ms + self.pauses_ms).max(1) as f64
    }
}

/// The time of rows that start in their order as soon as one of [`WORKERS`] workers is free.
fn best_schedule(rows: &[i64]) -> i64 {
    let mut free_at = [0; WORKERS];
    for row in rows {
        free_at.sort_unstable();
        free_at[0] += row;
    }
    free_at.into_iter().max().unwrap_or(0)
}

/// The durations of the simulator's jobs in milliseconds, by prompt.
fn durations(requests: &Value) -> BTreeMap<String, i64> {
    let one = |request: &Value| {
        let (started, ended) = (request["started_ms"].as_i64()?, request["ended_ms"].as_i64()?);
        Some((request["prompt"].as_str()?.to_owned(), ended - started))
    };
    requests.as_array().into_iter().flatten().filter_map(one).collect()
}

/// A pipeline of one picture, whose prompt is the row.
pub(super) fn pipeline() -> Value {
    json!({
        "name": "cost of batches",
        "steps": [{
            "name": "picture",
            "type": "text_to_image",
            "model": "flux_schnell",
            "params": {"prompt": "{{input}}", "aspect_ratio": "16:9"},
        }],
    })
}

/// A batch of that many rows, which differ from each other and from those of other sets; without pauses.
fn body(set: &str, count: usize) -> BatchBody {
    BatchBody {
        pipeline: Some(pipeline()),
        rows: Some((1..=count).map(|number| Value::from(prompt(set, number))).collect()),
        chunk_size: u32::try_from(CHUNK).ok(),
        rate_limit_delay: Some(0),
        ..BatchBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_start_when_a_worker_is_free() {
        assert_eq!(best_schedule(&[10, 20, 30, 40]), 40);
        assert_eq!(best_schedule(&[10, 20, 30, 40, 25, 21]), 41);
        assert_eq!(best_schedule(&[]), 0);
    }

    #[test]
    fn ended_jobs_have_durations() {
        let requests = json!([
            {"prompt": "a", "started_ms": 5, "ended_ms": 2_505},
            {"prompt": "b", "started_ms": null, "ended_ms": null},
        ]);
        assert_eq!(durations(&requests), [("a".to_owned(), 2_500)].into());
    }

    #[test]
    fn the_best_time_includes_the_pauses() {
        let wall = WallTime { rows: 60, best_ms: 54_000, pauses_ms: 6_000, took_ms: 66_000 };
        assert_eq!(format!("{:.2}", wall.ratio()), "1.10");
    }
}
