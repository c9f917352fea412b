//! Batches in memory.

use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;

use super::Memory;
use crate::month::{Month, RECORD_MONTHS};
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, Millis, RunRecord};
use crate::traits::{Batches, ChunkEnd, ListPosition, StoreError};

impl Batches for Memory {
    async fn create_batch(&self, batch: &BatchRecord) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let free = !state.batches.contains_key(&batch.id);
        if free {
            state.batches.insert(batch.id.clone(), batch.clone());
        }
        Ok(free)
    }

    async fn batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        Ok(self.lock().batches.get(id).cloned())
    }

    async fn list_batches(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        let first = Month::of(now).back(RECORD_MONTHS);
        let is_listed = |batch: &&BatchRecord| {
            let place = ListPosition { created_at: batch.created_at, run: batch.id.clone() };
            Month::of(batch.created_at) >= first && behind.is_none_or(|behind| place < *behind)
        };
        let state = self.lock();
        let mut batches: Vec<BatchRecord> = state.batches.values().filter(is_listed).cloned().collect();
        batches.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        batches.truncate(limit as usize);
        Ok(batches)
    }

    async fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let goes_on = |batch: &&mut BatchRecord| !batch.status.is_final() && !batch.stop;
        let Some(batch) = state.batches.get_mut(id).filter(goes_on) else { return Ok(false) };
        batch.plan = Some(plan.clone());
        batch.status = BatchStatus::Running;
        Ok(true)
    }

    async fn stop_batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        let mut state = self.lock();
        let Some(batch) = state.batches.get_mut(id).filter(|batch| !batch.status.is_final()) else { return Ok(None) };
        batch.stop = true;
        Ok(Some(batch.clone()))
    }

    async fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> Result<Option<RunRecord>, StoreError> {
        let mut state = self.lock();
        if let Some(there) = state.runs.get(&run.id) {
            return Ok(Some(there.clone()));
        }
        let Some(record) = state.batches.get_mut(batch).filter(|batch| !batch.status.is_final() && !batch.stop) else {
            return Ok(None);
        };
        record.open.insert(chunk);
        let granted = (record.remaining != Money::UNLIMITED).then(|| wanted.min(record.remaining));
        record.remaining = record.remaining - granted.unwrap_or(Money::ZERO);
        let run = RunRecord { remaining: granted.unwrap_or(Money::UNLIMITED), granted, ..run.clone() };
        state.runs.insert(run.id.clone(), run.clone());
        Ok(Some(run))
    }

    async fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let Some(run) = state.runs.get_mut(&end.run).filter(|run| !run.status.is_final()) else { return Ok(false) };
        if let Some(unspent) = end.unspent {
            if run.remaining != unspent {
                return Err(StoreError::ledger(format!("the run {} changed while it was closed", end.run)));
            }
            run.remaining = Money::ZERO;
        }
        run.status = end.status;
        run.failure.clone_from(&end.failure);
        run.ended_at = Some(now);
        if let Some(batch) = state.batches.get_mut(&end.batch) {
            let counts = &mut batch.counts;
            counts.chunks += end.counts.chunks;
            counts.done += end.counts.done;
            counts.failed += end.counts.failed;
            counts.bad += end.counts.bad;
            counts.hits += end.counts.hits;
            counts.spent += end.counts.spent;
            counts.saved += end.counts.saved;
            batch.remaining += end.unspent.unwrap_or(Money::ZERO);
            batch.open.remove(&end.chunk);
        }
        Ok(true)
    }

    async fn reopen_batch(&self, id: &RunId, now: Millis, due: Millis) -> Result<Option<BatchRecord>, StoreError> {
        let mut state = self.lock();
        let Some(batch) = state.batches.get_mut(id).filter(|batch| batch.status.is_final()) else { return Ok(None) };
        batch.status = BatchStatus::Planning;
        batch.stop = false;
        batch.generation += 1;
        batch.ended_at = None;
        batch.failure = None;
        batch.began_at = now;
        batch.next_check_at = Some(due);
        Ok(Some(batch.clone()))
    }

    async fn batches_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let state = self.lock();
        let due = state
            .batches
            .values()
            .filter_map(|batch| Some((batch.next_check_at.filter(|due| *due <= now)?, &batch.id)));
        let mut due: Vec<(Millis, &RunId)> = due.collect();
        due.sort();
        Ok(due.into_iter().take(limit as usize).map(|(_, id)| id.clone()).collect())
    }

    async fn schedule_batch_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let Some(batch) = state.batches.get_mut(id).filter(|batch| !batch.status.is_final()) else { return Ok(false) };
        batch.next_check_at = Some(due);
        Ok(true)
    }

    async fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let planning = |batch: &&mut BatchRecord| batch.status == BatchStatus::Planning;
        let Some(batch) = state.batches.get_mut(id).filter(planning) else { return Ok(false) };
        batch.kept = counts.done + counts.failed + counts.bad;
        batch.counts = BatchCounts { spent: batch.counts.spent, saved: batch.counts.saved, ..*counts };
        Ok(true)
    }

    async fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        failure: Option<&Failure>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let goes_on = |batch: &&mut BatchRecord| !batch.status.is_final() && batch.generation == generation;
        let Some(batch) = state.batches.get_mut(id).filter(goes_on) else { return Ok(false) };
        batch.status = status;
        batch.failure = failure.cloned();
        batch.ended_at = Some(now);
        batch.next_check_at = None;
        Ok(true)
    }
}
