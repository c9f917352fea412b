//! Batches as the API shows them.

use fresco_api_types::{BatchResults, BatchView};
use fresco_ledger::batch::BatchRecord;
use fresco_ledger::traits::{Batches as _, Clock, ListPlace, Objects};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;

use super::Batches;
use super::objects::{batch_manifest_key, results_key};
use crate::platform::Platform;

impl<P: Platform> Batches<P> {
    /// Returns a batch.
    pub async fn view(&self, id: &RunId) -> Result<BatchView, Failure> {
        Ok(self.view_of(self.store.record(id).await?))
    }

    /// Lists batches, newest first, after this place, without the problems of their rows.
    pub async fn list(&self, limit: u32, behind: Option<&ListPlace>) -> Result<Vec<BatchView>, Failure> {
        let now = self.platform.clock().now();
        let rows = self.platform.ledger().list_batches(limit, behind, now).await?;
        let mut views: Vec<BatchView> = rows.into_iter().map(|row| self.view_of(row)).collect();
        // A batch has up to a hundred, and a list many batches.
        views.iter_mut().filter_map(|view| view.plan.as_mut()).for_each(|plan| plan.problems.clear());
        Ok(views)
    }

    /// Returns links to the results of a batch that has ended.
    pub async fn results(&self, id: &RunId) -> Result<BatchResults, Failure> {
        let row = self.store.record(id).await?;
        if !row.status.is_final() {
            return Err(Failure::new(ErrorName::InputInvalid, "the batch goes on; its results are there at its end"));
        }
        let (objects, seconds) = (self.platform.objects(), self.settings.link_life().as_secs());
        Ok(BatchResults {
            results: objects.link(&results_key(id), seconds).await?,
            manifest: objects.link(&batch_manifest_key(id), seconds).await?,
            expires_at: self.platform.clock().now() + i64::try_from(seconds).unwrap_or(0) * 1_000,
        })
    }

    fn view_of(&self, row: BatchRecord) -> BatchView {
        let until = row.ended_at.unwrap_or_else(|| self.platform.clock().now());
        let took = (until - row.began_at).max(1);
        let decided = row.counts.done + row.counts.failed + row.counts.bad;
        let rows = row.plan.as_ref().map_or(0, |plan| plan.rows);
        let left = i64::try_from(rows.saturating_sub(decided)).unwrap_or(i64::MAX);
        // The rows that were decided before a redrive say nothing about the speed of the others.
        let decided = decided.saturating_sub(row.kept);
        let per_row = i64::try_from(decided).ok().filter(|decided| *decided > 0).map(|decided| took / decided);
        BatchView {
            id: row.id.to_string(),
            name: row.name,
            status: row.status,
            stopping: row.stop,
            created_at: row.created_at,
            began_at: row.began_at,
            ended_at: row.ended_at,
            counts: row.counts,
            running_chunks: if row.status.is_final() { 0 } else { u32::try_from(row.open.len()).unwrap_or(u32::MAX) },
            rows_per_second: decided as f64 * 1_000.0 / took as f64,
            expected_end: per_row.filter(|_| row.ended_at.is_none()).map(|each| until + each.saturating_mul(left)),
            plan: row.plan,
            failure: row.failure,
        }
    }
}
