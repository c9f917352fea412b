//! Runs and their steps. A change of a step is one conditional update that overwrites nothing that must stay.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use futures::{StreamExt, TryStreamExt, stream};

use super::commit::cancelled_unexpectedly;
use super::items::{
    after, expiring, expiry, expiry_from_now, flag, from_item, json, number, text, to_item, version, word,
};
use super::lists::List;
use super::{RUN_DAYS, Store, keys};
use crate::records::{CachedResult, Millis, ResultSource, RunRecord, RunStatus, StepId, StepRecord, StepState};
use crate::table::{
    Condition, DUE, DUE_SHARD, EXPIRES_AT, Item, PK, Query, Reason, Table, TransactError, Update, Write, text_of,
};
use crate::traits::{ListPosition, Runs, StoreError};

/// The attribute of a pipeline's item that names its last run.
const LAST_RUN: &str = "run";
/// The value of [`DUE_SHARD`] in runs that have not ended or whose end is not published.
const SHARD: &str = "run";
/// The time after which a run that is not planned never will be: its execution did not start.
const UNPLANNED: Millis = 30 * 60_000;
/// The time after its bound at which a run that has not ended is closed, or after its end at which that is published again.
const OVERDUE: Millis = 300_000;
/// The most steps that are written at a time.
const CONCURRENT_WRITES: usize = 16;

impl<T: Table> Runs for Store<T> {
    async fn create_run(&self, run: &RunRecord) -> Result<bool, StoreError> {
        self.create(run_item(run)?, listed(run)).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        self.table.get(&keys::run(id)).await?.as_ref().map(read_run).transpose()
    }

    async fn open_runs(&self, now: Millis) -> Result<Vec<RunRecord>, StoreError> {
        let ids = self.all_listed(&[List::Runs, List::Chunks], now).await?;
        let mut runs = self.runs_of(&ids).await?;
        runs.retain(|run| !run.status.is_final());
        Ok(runs)
    }

    async fn last_planned(&self, pipeline: &str) -> Result<Option<RunId>, StoreError> {
        let item = self.table.get(&keys::pipeline(pipeline)).await?;
        // It serves comparison only: a run that cannot be read counts as none.
        Ok(item.and_then(|item| RunId::parse(text_of(&item, LAST_RUN)?).ok()))
    }

    async fn list_runs(
        &self,
        limit: u32,
        after: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let ids = self.newest(List::Runs, limit, after, now).await?;
        let mut runs = self.runs_of(&ids).await?;
        runs.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(runs)
    }

    async fn plan_run(
        &self,
        id: &RunId,
        pipeline: &str,
        steps: &[StepRecord],
        bound_at: Millis,
    ) -> Result<(), StoreError> {
        // The steps first: where the run says how many there are, they exist.
        self.put_steps(id, steps).await?;
        let planned = Update::new()
            .set("steps", number(u32::try_from(steps.len()).unwrap_or(u32::MAX)))
            .set("bound_at", number(bound_at))
            .set(DUE, number(bound_at.saturating_add(OVERDUE)))
            .only_if(running()?);
        let last = Update::new()
            .set("v", version())
            .set(LAST_RUN, text(id.as_str()))
            .set(EXPIRES_AT, expiry_from_now(RUN_DAYS));
        let (run, pipeline) = (keys::run(id), keys::pipeline(pipeline));
        let (planned, _) = futures::try_join!(self.table.update(&run, &planned), self.table.update(&pipeline, &last))?;
        match planned {
            Ok(_) => Ok(()),
            Err(Some(_)) => Err(StoreError(Failure::new(ErrorName::RunStopped, "the run ended before it was planned"))),
            Err(None) => Err(StoreError(Failure::new(ErrorName::RunNotFound, format!("no record of run {id}")))),
        }
    }

    async fn step(&self, step_id: &StepId) -> Result<Option<StepRecord>, StoreError> {
        self.table.get(&keys::step(&step_id.run, &step_id.step)).await?.as_ref().map(read_step).transpose()
    }

    async fn steps(&self, run: &RunId) -> Result<Vec<StepRecord>, StoreError> {
        let items = self.all_of(keys::run_pk(run), keys::STEP_PREFIX).await?;
        let mut steps: Vec<StepRecord> = items.iter().map(read_step).collect::<Result<_, StoreError>>()?;
        steps.sort_by_key(|step| step.plan.index);
        Ok(steps)
    }

    async fn start_step(&self, step_id: &StepId, now: Millis) -> Result<Option<StepRecord>, StoreError> {
        let update = Update::new()
            .add("calls", 1)
            .set_if_missing("started_at", number(now))
            // Waiting is the absence of a state; every other state stays.
            .set_if_missing("state", word(StepState::Running)?)
            .only_if(Condition::exists());
        self.update_step(step_id, &update).await?.ok().as_ref().map(read_step).transpose()
    }

    async fn record_key(&self, step_id: &StepId, key: &ContentKey) -> Result<(), StoreError> {
        let update = Update::new().set("key", text(key.as_str())).only_if(Condition::exists());
        self.update_step(step_id, &update).await.map(drop)
    }

    async fn record_source(&self, step_id: &StepId, source: ResultSource) -> Result<(), StoreError> {
        let generated = Condition::Equals("source", word(ResultSource::Generated)?);
        let update = Update::new().set("source", word(source)?).only_if(undecided()?.and(generated.negated()));
        self.update_step(step_id, &update).await.map(drop)
    }

    async fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> Result<Option<StepRecord>, StoreError> {
        let update = Update::new()
            .set("pinned", json(ready)?)
            .set("state", word(StepState::Done)?)
            .set("ended_at", number(now))
            .set_if_missing("source", word(source)?)
            .remove("failure")
            .only_if(Condition::exists().and(Condition::Missing("pinned")));
        match self.update_step(step_id, &update).await? {
            Ok(item) | Err(Some(item)) => read_step(&item).map(Some),
            Err(None) => Ok(None),
        }
    }

    async fn fail_step(&self, step_id: &StepId, failure: &Failure, now: Millis) -> Result<(), StoreError> {
        let update = Update::new()
            .set("state", word(StepState::Failed)?)
            .set("failure", json(failure)?)
            .set("ended_at", number(now))
            .only_if(undecided()?);
        self.update_step(step_id, &update).await.map(drop)
    }

    async fn runs_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.first_readable(&Query::Due { shard: SHARD, now }, limit, keys::run_id_of).await
    }

    async fn schedule_run_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        let open = running()?.or(Condition::Exists("publish_pending"));
        let update = Update::new().set(DUE, number(due)).only_if(open);
        Ok(self.table.update(&keys::run(id), &update).await?.is_ok())
    }

    async fn record_published(&self, id: &RunId) -> Result<(), StoreError> {
        let pending = Condition::Exists("publish_pending");
        let update = Update::new().remove("publish_pending").remove(DUE_SHARD).remove(DUE).only_if(pending);
        self.table.update(&keys::run(id), &update).await.map(drop)
    }

    async fn stop_run(&self, id: &RunId) -> Result<bool, StoreError> {
        let update = Update::new().set("stop", flag(true)).only_if(running()?);
        Ok(self.table.update(&keys::run(id), &update).await?.is_ok())
    }

    async fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        failure: Option<&Failure>,
        publish_pending: bool,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let update = Update::new()
            .set("status", word(status)?)
            .set("ended_at", number(now))
            .set_or_remove("failure", failure.map(json).transpose()?)
            .set_or_remove("publish_pending", publish_pending.then(|| flag(true)))
            .only_if(running()?);
        // Until its end is published, the sweep closes it again.
        let update = match publish_pending {
            true => update.set(DUE, number(now.saturating_add(OVERDUE))),
            false => update.remove(DUE_SHARD).remove(DUE),
        };
        Ok(self.table.update(&keys::run(id), &update).await?.is_ok())
    }
}

impl<T: Table> Store<T> {
    /// Writes a record and its place in a list, if there is no such record; false if there is.
    pub(super) async fn create(&self, record: Item, listed: Item) -> Result<bool, StoreError> {
        let writes = vec![Write::put_if(record, Condition::missing()), Write::put(listed)];
        match self.table.transact(writes).await {
            Ok(()) => Ok(true),
            Err(TransactError::Cancelled(reasons)) if reasons.iter().any(refused) => Ok(false),
            Err(TransactError::Cancelled(reasons)) => Err(cancelled_unexpectedly(&reasons)),
            Err(TransactError::Failed(error)) => Err(error),
        }
    }

    async fn runs_of(&self, ids: &[RunId]) -> Result<Vec<RunRecord>, StoreError> {
        let items = self.table.batch_get(ids.iter().map(keys::run).collect()).await?;
        items.iter().map(read_run).collect()
    }

    /// Writes the steps that do not exist yet.
    async fn put_steps(&self, run: &RunId, steps: &[StepRecord]) -> Result<(), StoreError> {
        let items = steps.iter().map(|step| step_item(run, step)).collect::<Result<Vec<Item>, StoreError>>()?;
        let puts: Vec<_> = items.into_iter().map(|item| self.table.put(item, Some(Condition::missing()))).collect();
        stream::iter(puts).buffer_unordered(CONCURRENT_WRITES).try_for_each(|_| async { Ok(()) }).await
    }

    async fn update_step(&self, step_id: &StepId, update: &Update) -> Result<Result<Item, Option<Item>>, StoreError> {
        self.table.update(&keys::step(&step_id.run, &step_id.step), update).await
    }
}

fn refused(reason: &Reason) -> bool {
    matches!(reason, Reason::ConditionFailed(_))
}

/// The run exists and has not ended.
pub(super) fn running() -> Result<Condition, StoreError> {
    Ok(Condition::exists().and(Condition::Equals("status", word(RunStatus::Running)?)))
}

/// The step exists and is neither done nor failed.
fn undecided() -> Result<Condition, StoreError> {
    let undecided = Condition::Missing("state").or(Condition::Equals("state", word(StepState::Running)?));
    Ok(Condition::exists().and(undecided))
}

pub(super) fn run_item(run: &RunRecord) -> Result<Item, StoreError> {
    let mut item = expiring(to_item(keys::run(&run.id), run)?, expiry(run.created_at, RUN_DAYS));
    if !run.status.is_final() {
        let due = run.bound_at.map_or(run.created_at + UNPLANNED, |bound_at| bound_at + OVERDUE);
        item.insert(DUE_SHARD.to_owned(), text(SHARD));
        item.insert(DUE.to_owned(), number(due));
    }
    Ok(item)
}

/// The run's place in its list.
pub(super) fn listed(run: &RunRecord) -> Item {
    List::of(run).item(run.created_at, &run.id, expiry(run.created_at, RUN_DAYS))
}

pub(super) fn read_run(item: &Item) -> Result<RunRecord, StoreError> {
    from_item(item, [("id", text(after(item, PK, keys::RUN_PREFIX)?))])
}

pub(super) fn step_item(run: &RunId, step: &StepRecord) -> Result<Item, StoreError> {
    Ok(expiring(to_item(keys::step(run, &step.plan.id()), step)?, expiry_from_now(RUN_DAYS)))
}

pub(super) fn read_step(item: &Item) -> Result<StepRecord, StoreError> {
    from_item(item, [("run", text(after(item, PK, keys::RUN_PREFIX)?))])
}
