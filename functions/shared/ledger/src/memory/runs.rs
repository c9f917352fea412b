//! Runs and their steps in memory.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};

use super::Memory;
use crate::month::{Month, RECORD_MONTHS};
use crate::records::{CachedResult, Millis, ResultSource, RunRecord, RunStatus, StepId, StepRecord, StepState};
use crate::traits::{ListPosition, Runs, StoreError};

impl Runs for Memory {
    async fn create_run(&self, run: &RunRecord) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let free = !state.runs.contains_key(&run.id);
        if free {
            state.runs.insert(run.id.clone(), run.clone());
        }
        Ok(free)
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.lock().runs.get(id).cloned())
    }

    async fn list_runs(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let first = Month::of(now).back(RECORD_MONTHS);
        let is_listed = |run: &&RunRecord| {
            let place = ListPosition { created_at: run.created_at, run: run.id.clone() };
            run.chunk.is_none()
                && (first..=Month::of(now)).contains(&Month::of(run.created_at))
                && behind.is_none_or(|behind| place < *behind)
        };
        let state = self.lock();
        let mut runs: Vec<RunRecord> = state.runs.values().filter(is_listed).cloned().collect();
        runs.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        runs.truncate(limit as usize);
        Ok(runs)
    }

    async fn open_runs(&self, _now: Millis) -> Result<Vec<RunRecord>, StoreError> {
        Ok(self.lock().runs.values().filter(|run| !run.status.is_final()).cloned().collect())
    }

    async fn last_planned(&self, pipeline: &str) -> Result<Option<RunId>, StoreError> {
        Ok(self.lock().planned.get(pipeline).cloned())
    }

    async fn plan_run(
        &self,
        id: &RunId,
        pipeline: &str,
        steps: &[StepRecord],
        bound_at: Millis,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        let Some(run) = state.runs.get_mut(id) else {
            return Err(StoreError(Failure::new(ErrorName::RunNotFound, format!("no record of run {id}"))));
        };
        run.steps = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        run.bound_at = Some(bound_at);
        for step in steps {
            let step_id = StepId { run: id.clone(), step: step.plan.name.clone() };
            state.steps.entry(step_id).or_insert_with(|| step.clone());
        }
        state.planned.insert(pipeline.to_owned(), id.clone());
        Ok(())
    }

    async fn step(&self, step_id: &StepId) -> Result<Option<StepRecord>, StoreError> {
        Ok(self.lock().steps.get(step_id).cloned())
    }

    async fn steps(&self, run: &RunId) -> Result<Vec<StepRecord>, StoreError> {
        let state = self.lock();
        let mut steps: Vec<StepRecord> = state.steps.values().filter(|step| step.run == *run).cloned().collect();
        steps.sort_by_key(|step| step.plan.index);
        Ok(steps)
    }

    async fn start_step(&self, step_id: &StepId, now: Millis) -> Result<Option<StepRecord>, StoreError> {
        let mut state = self.lock();
        let Some(step) = state.steps.get_mut(step_id) else { return Ok(None) };
        step.calls += 1;
        step.started_at.get_or_insert(now);
        if step.state == StepState::Waiting {
            step.state = StepState::Running;
        }
        Ok(Some(step.clone()))
    }

    async fn record_key(&self, step_id: &StepId, key: &ContentKey) -> Result<(), StoreError> {
        if let Some(step) = self.lock().steps.get_mut(step_id) {
            step.key = Some(key.clone());
        }
        Ok(())
    }

    async fn record_source(&self, step_id: &StepId, source: ResultSource) -> Result<(), StoreError> {
        if let Some(step) = self.lock().steps.get_mut(step_id)
            && !decided(step)
            && step.source != Some(ResultSource::Generated)
        {
            step.source = Some(source);
        }
        Ok(())
    }

    async fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> Result<Option<StepRecord>, StoreError> {
        let mut state = self.lock();
        let Some(step) = state.steps.get_mut(step_id) else { return Ok(None) };
        if step.pinned.is_none() {
            step.pinned = Some(ready.clone());
            step.source.get_or_insert(source);
            step.state = StepState::Done;
            step.failure = None;
            step.ended_at = Some(now);
        }
        Ok(Some(step.clone()))
    }

    async fn fail_step(&self, step_id: &StepId, failure: &Failure, now: Millis) -> Result<(), StoreError> {
        if let Some(step) = self.lock().steps.get_mut(step_id)
            && !decided(step)
        {
            step.state = StepState::Failed;
            step.failure = Some(failure.clone());
            step.ended_at = Some(now);
        }
        Ok(())
    }

    async fn stop_run(&self, id: &RunId) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let Some(run) = state.runs.get_mut(id).filter(|run| !run.status.is_final()) else { return Ok(false) };
        run.stop = true;
        Ok(true)
    }

    async fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        failure: Option<&Failure>,
        publish_pending: bool,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let Some(run) = state.runs.get_mut(id).filter(|run| !run.status.is_final()) else { return Ok(false) };
        run.status = status;
        run.failure = failure.cloned();
        run.publish_pending = publish_pending;
        run.ended_at = Some(now);
        Ok(true)
    }
}

fn decided(step: &StepRecord) -> bool {
    matches!(step.state, StepState::Done | StepState::Failed)
}
