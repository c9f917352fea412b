//! Planning a batch: one call of the function for a batch that nobody executes.

use bytes::Bytes;
use fresco_engine::platform::Platform;
use fresco_engine::wire::BatchBody;
use fresco_engine::{Fetcher, Once, ROWS, StartError};
use fresco_ledger::records::BatchPlan;
use fresco_ledger::traits::{Objects, Upload};
use fresco_pipeline::ids::RunId;
use serde_json::json;

use super::super::seed::prompt;
use super::super::{Bench, BenchError};
use super::call::BatchCall;
use super::pipeline;
use crate::storage::{Parts, StackAdmin};

/// So many rows are written to the bucket at a time.
const PIECE: usize = 10_000;

/// A batch that was planned, and is as one whose chunks are still to come.
pub(super) struct Planned {
    pub(super) batch: RunId,
    pub(super) plan: BatchPlan,
    pub(super) call: BatchCall,
}

impl Bench {
    pub(super) async fn plan_rows(&self, rows: usize) -> Result<Planned, BenchError> {
        self.progress.step(format!("writing {rows} rows"));
        let key = format!("{ROWS}bench-{rows}.jsonl");
        let bytes = self.write_rows(&key, rows).await?;
        let batch = self.record_batch(key).await?;
        self.progress.step(format!("planning a batch of {rows} rows"));
        let measured = self.call(&json!({"phase": "plan", "batch_id": batch})).await?;
        let plan = self.admin.engine().batch(&batch).await?.plan;
        let plan = plan.ok_or(BenchError::Unexpected("a batch was planned, and has no plan"))?;
        if measured.answer["list"].is_null() || (plan.rows, plan.bad_rows, plan.duplicates) != (rows as u64, 0, 0) {
            return Err(BenchError::Unexpected("the rows of the bench are not all good and different"));
        }
        let call = measured.of(rows, bytes, plan.chunks);
        Ok(Planned { batch, plan, call })
    }

    /// Puts so many rows into the bucket: how many bytes they are.
    async fn write_rows(&self, key: &str, rows: usize) -> Result<usize, BenchError> {
        let objects = self.admin.engine().platform.objects();
        let mut upload = objects.upload(key, "application/jsonl").await?;
        let (mut written, mut from) = (0, 1);
        while from <= rows {
            let until = rows.min(from + PIECE - 1);
            let lines: String = (from..=until).map(|number| line(rows, number)).collect();
            written += lines.len();
            upload.write(Bytes::from(lines)).await?;
            from = until + 1;
        }
        upload.finish().await?;
        Ok(written)
    }

    /// Records a batch, and names a state machine to execute it that there is not: it is called for by hand, and its chunks are
    /// left alone.
    async fn record_batch(&self, rows: String) -> Result<RunId, BenchError> {
        let parts = Parts::of(self.stack.outputs());
        let nobody = format!("{}-of-nobody", parts.batch_machine_arn);
        let admin = StackAdmin::new(&self.aws, &Parts { batch_machine_arn: nobody, ..parts })?;
        // Under a key, since a batch without one that cannot be executed is closed.
        let once = Once { key: rows.clone(), asked: String::new() };
        let body = BatchBody { pipeline: Some(pipeline()), rows_key: Some(rows), ..BatchBody::default() };
        match admin.engine().start_batch(Some(&once), body, &Fetcher::default()).await {
            Ok(_) => return Err(BenchError::Unexpected("a state machine that is not there has begun a batch")),
            Err(StartError::Failed(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let newest = self.admin.engine().batches(1, None).await?.into_iter().next();
        let id = newest.filter(|batch| !batch.status.is_final()).and_then(|batch| RunId::parse(batch.id).ok());
        id.ok_or(BenchError::Unexpected("a batch was not recorded"))
    }
}

/// A row's own name.
pub(super) fn id(number: usize) -> String {
    format!("row-{number}")
}

/// What a row asks for.
pub(super) fn input(set: usize, number: usize) -> String {
    prompt(&format!("planning a batch of {set}"), number)
}

/// A row as a line of JSON.
fn line(set: usize, number: usize) -> String {
    format!("{}\n", json!({"id": id(number), "input": input(set, number)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_lines_and_differ() {
        let (one, two) = (line(10, 1), line(10, 2));
        assert!(one.ends_with("}\n") && one.lines().count() == 1, "{one}");
        assert_ne!(one, two);
    }
}
