//! How quickly batches go through: with providers that answer at once, and with providers that take their time, against the best
//! schedule of it.

use std::collections::BTreeMap;

use fresco_api_types::BatchBody;
use fresco_pipeline::document::{RunInputs, prepare};
use fresco_pipeline::plan::{Plan, compile, merge, wall};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::seed::prompt;
use super::super::{Bench, BenchError};
use super::{CHUNK, body, pipeline};

/// Rows of the batch whose throughput is measured, and how many of its chunks run side by side.
const MANY: usize = 1_000;
const AT_ONCE: u32 = 4;
/// Rows of the batch that takes its time.
const FEW: usize = 60;
/// The prompts of its rows.
const SET: &str = "wall time of a batch";
/// Factor on the providers' typical durations for it: what the guide says.
const SCALE: f64 = 1.0;
/// The pause behind each of its chunks, in seconds: what batches have where nothing is said.
const PAUSE: u32 = 1;

/// Rows a second.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// Whether all rows were cached.
    pub cached: bool,
    /// Rows.
    pub rows: usize,
    /// Rows of a chunk.
    pub chunk: usize,
    /// Chunks side by side.
    pub at_once: u32,
    /// From the batch's record to its end, in milliseconds.
    pub took_ms: i64,
}

/// A batch with providers that take their time, one chunk after the other.
#[derive(Debug, Clone, Serialize)]
pub struct WallTime {
    /// Rows.
    pub rows: usize,
    /// Rows of a chunk.
    pub chunk: usize,
    /// Rows side by side.
    pub workers: u32,
    /// Factor on the providers' typical durations.
    pub scale: f64,
    /// The chunks' best schedules one behind the other, in milliseconds: their lanes in their order on so many workers, each as
    /// long as the provider worked on it.
    pub best_ms: i64,
    /// The pauses, one behind each chunk.
    pub pauses_ms: i64,
    /// From the batch's record to its end.
    pub took_ms: i64,
}

impl WallTime {
    /// How much longer it took than the best.
    pub fn ratio(&self) -> f64 {
        self.took_ms as f64 / (self.best_ms + self.pauses_ms).max(1) as f64
    }
}

impl Throughput {
    /// Rows a second.
    pub fn per_second(&self) -> f64 {
        self.rows as f64 * 1_000.0 / self.took_ms.max(1) as f64
    }
}

impl Bench {
    pub(super) async fn throughput(&self) -> Result<Vec<Throughput>, BenchError> {
        let mut all = Vec::new();
        for cached in [false, true] {
            let what = if cached { "cached rows" } else { "rows" };
            self.progress.step(format!("timing {MANY} {what}, {AT_ONCE} chunks side by side"));
            let body = BatchBody { max_concurrent_chunks: Some(AT_ONCE), ..body("throughput of batches", MANY) };
            let took_ms = self.took(body).await?;
            all.push(Throughput { cached, rows: MANY, chunk: CHUNK, at_once: AT_ONCE, took_ms });
        }
        Ok(all)
    }

    pub(super) async fn wall_time(&self) -> Result<WallTime, BenchError> {
        self.progress.step(format!("timing {FEW} rows at the providers' typical durations"));
        self.stack.control("POST", "settings", &json!({"scale": SCALE}))?;
        let took = self.took(BatchBody { rate_limit_delay: Some(PAUSE), ..body(SET, FEW) }).await;
        self.stack.control("POST", "settings", &json!({"scale": 0.0}))?;
        let took_ms = took?;
        let durations = durations(&self.stack.control("GET", "requests", &Value::Null)?);
        let (mut best_ms, mut chunks, mut workers) = (0, 0, 1);
        for from in (1..=FEW).step_by(CHUNK) {
            let plan = chunk_plan(from..(from + CHUNK).min(FEW + 1))?;
            let length = |step: usize| durations.get(&prompt(SET, from + step)).copied();
            if (0..plan.steps.len()).any(|step| length(step).is_none()) {
                return Err(BenchError::Unexpected("the simulator does not know a row of the batch"));
            }
            let best = wall(&plan.stages, |step| length(step).unwrap_or(0));
            best_ms += i64::try_from(best).unwrap_or(i64::MAX);
            chunks += 1;
            workers = plan.stages.first().map_or(workers, |stage| stage.workers);
        }
        let pauses_ms = chunks * i64::from(PAUSE) * 1_000;
        Ok(WallTime { rows: FEW, chunk: CHUNK, workers, scale: SCALE, best_ms, pauses_ms, took_ms })
    }

    /// From a batch's record to its end, in milliseconds.
    async fn took(&self, body: BatchBody) -> Result<i64, BenchError> {
        let batch = self.begin_batch(body).await?;
        let view = self.batch_ended(&batch).await?;
        Ok(view.ended_at.unwrap_or(view.created_at) - view.created_at)
    }
}

/// The plan of a chunk of these rows, as its run has it.
fn chunk_plan(rows: std::ops::Range<usize>) -> Result<Plan, BenchError> {
    let wrong = |problems: fresco_pipeline::document::Problems| BenchError::Document(problems.to_string());
    let document = prepare(&pipeline().to_string()).map_err(wrong)?;
    let mut plans = Vec::with_capacity(rows.len());
    for row in rows {
        let given = RunInputs { input: Some(prompt(SET, row)), ..RunInputs::default() };
        plans.push((row as u64, compile(&document.check(&given).map_err(wrong)?)));
    }
    merge(plans, None).ok_or(BenchError::Unexpected("the rows of a chunk have no plan"))
}

/// How long each prompt was worked on, in milliseconds, as the simulator recorded it.
fn durations(requests: &Value) -> BTreeMap<String, u64> {
    let all = requests.as_array().into_iter().flatten();
    let one = |request: &Value| {
        let (started, ended) = (request["started_ms"].as_i64()?, request["ended_ms"].as_i64()?);
        Some((request["prompt"].as_str()?.to_owned(), u64::try_from(ended - started).ok()?))
    };
    all.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_a_lane_for_each_row() {
        let plan = chunk_plan(11..21).unwrap();
        assert_eq!(plan.stages.iter().map(|stage| stage.lanes.len()).collect::<Vec<_>>(), [10]);
        let lanes = plan.stages.iter().flat_map(|stage| &stage.lanes);
        assert_eq!(lanes.flat_map(|lane| lane.steps.clone()).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_worked_on_has_a_duration() {
        let requests = json!([
            {"prompt": "a", "started_ms": 5, "ended_ms": 2_505},
            {"prompt": "b", "started_ms": null, "ended_ms": null},
        ]);
        assert_eq!(durations(&requests), [("a".to_owned(), 2_500)].into());
    }

    #[test]
    fn the_best_holds_the_pauses() {
        let wall = WallTime {
            rows: 60,
            chunk: 10,
            workers: 4,
            scale: 1.0,
            best_ms: 54_000,
            pauses_ms: 6_000,
            took_ms: 66_000,
        };
        assert_eq!(format!("{:.2}", wall.ratio()), "1.10");
    }
}
