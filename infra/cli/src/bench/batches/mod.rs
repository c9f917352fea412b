//! What batches cost: planning them, putting together what they came to, a row of them, how many rows a second go through, and
//! how close a batch comes to the best that its providers' times allow.

mod call;
mod planning;
mod rows;
mod throughput;
mod together;

use fresco_engine::Fetcher;
use fresco_engine::wire::{BatchBody, BatchView};
use fresco_ledger::records::BatchStatus;
use fresco_pipeline::ids::RunId;
use serde::Serialize;
use serde_json::{Value, json};

use super::seed::prompt;
use super::{Bench, BenchError, until};

pub use call::BatchCall;
pub(super) use call::FUNCTION;
pub use rows::RowCosts;
pub use throughput::{Throughput, WallTime};

/// Rows of a chunk: what pictures have where nothing is said.
const CHUNK: usize = 10;

/// What the function of batches does of itself at both ends of a batch, by the number of rows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BatchEnds {
    /// Planning it.
    pub planning: Vec<BatchCall>,
    /// Putting together what it came to.
    pub together: Vec<BatchCall>,
}

/// What was measured of batches.
#[derive(Debug, Clone, Serialize)]
pub struct Batches {
    /// Planning and putting together.
    #[serde(flatten)]
    pub ends: BatchEnds,
    /// Requests of a row.
    pub rows: RowCosts,
    /// Against the best schedule.
    pub wall: WallTime,
    /// Rows a second.
    pub throughput: Vec<Throughput>,
}

impl Bench {
    /// Of batches of so many rows.
    pub(super) async fn batch_ends(&self, of: &[usize]) -> Result<BatchEnds, BenchError> {
        let mut ends = BatchEnds::default();
        for &rows in of {
            let planned = self.plan_rows(rows).await?;
            ends.together.push(self.put_together(&planned).await?);
            ends.planning.push(planned.call);
        }
        Ok(ends)
    }

    pub(super) async fn batches(&self, planned: &[usize]) -> Result<Batches, BenchError> {
        Ok(Batches {
            ends: self.batch_ends(planned).await?,
            rows: self.row_costs().await?,
            wall: self.wall_time().await?,
            throughput: self.throughput().await?,
        })
    }

    /// Starts a batch beside the API.
    async fn begin_batch(&self, body: BatchBody) -> Result<RunId, BenchError> {
        Ok(self.admin.engine().start_batch(None, body, &Fetcher::default()).await?.run)
    }

    /// Waits for the end of a batch, which has to be a success.
    async fn batch_ended(&self, batch: &RunId) -> Result<BatchView, BenchError> {
        let view = until("the end of a batch", async || {
            let view = self.admin.engine().batch(batch).await?;
            Ok(view.status.is_final().then_some(view))
        })
        .await?;
        if view.status == BatchStatus::Succeeded {
            return Ok(view);
        }
        let reason = view.failure.map_or_else(String::new, |failure| failure.to_string());
        Err(BenchError::Batch { batch: batch.clone(), status: view.status, reason })
    }
}

/// A pipeline of one picture, whose prompt is the row.
fn pipeline() -> Value {
    json!({
        "name": "bench of batches",
        "steps": [{
            "name": "picture",
            "type": "text_to_image",
            "model": "flux_schnell",
            "params": {"prompt": "{{input}}", "aspect_ratio": "16:9"},
        }],
    })
}

/// So many rows, all different from each other and from those of any other set; no pause behind a chunk.
fn body(set: &str, count: usize) -> BatchBody {
    BatchBody {
        pipeline: Some(pipeline()),
        rows: Some((1..=count).map(|number| Value::from(prompt(set, number))).collect()),
        chunk_size: u32::try_from(CHUNK).ok(),
        rate_limit_delay: Some(0),
        ..BatchBody::default()
    }
}
