//! Plans a run: looks up every step of its plan, pins what is cached, and lists what is left to do.

use std::collections::BTreeSet;

use fresco_ledger::records::{CachedResult, Millis, ResultSource, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Runs as _, StoreError};
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepRef};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{Plan, PlannedStep};
use futures::{StreamExt, TryStreamExt};

use crate::failpoint::{Failpoint, failpoint};
use crate::planning::Planner;
use crate::planning::cache_lookup::{CacheLookup, EarlierSteps};
use crate::planning::freshness::needed_life;
use crate::planning::work_list::{WorkList, providers};
use crate::platform::Platform;
use crate::run::request::StoredRun;

/// The time of a run beyond its steps, in milliseconds: planning and closing, with their retries.
const SLACK: Millis = 600_000;
/// [`SLACK`] of a run that exports its outputs.
const EXPORT_SLACK: Millis = 2_400_000;
/// Attempts to find results whose objects do not go away during the lookup.
const LOOKUPS: usize = 3;
/// Results that are renewed concurrently.
const RENEWED_AT_ONCE: usize = 16;

/// The lookup of the steps of a run, valid until the run ends.
pub(crate) struct RunLookup {
    /// In the order of [`Plan::steps`].
    steps: Vec<CacheLookup>,
    /// The time by which the run ends, in milliseconds.
    bound_at: Millis,
}

impl RunLookup {
    /// The upper-bound price of the misses.
    pub(crate) fn price_of_misses(&self, plan: &Plan) -> Money {
        let misses = self.steps.iter().zip(&plan.steps).filter(|(found, _)| matches!(found, CacheLookup::Miss { .. }));
        misses.map(|(_, step)| step.price).sum()
    }
}

impl<P: Platform> Planner<P> {
    /// Plans a run. Where nothing is left to do it closes the run too: one function call. A repeated call gives the same list,
    /// less what was done meanwhile.
    pub async fn plan(&self, run: &RunId) -> Result<WorkList, Failure> {
        let record = self.runs.record(run).await?;
        require_running(&record)?;
        let plan = StoredRun::read(self.platform.objects(), run).await?.plan()?;
        let lookup = self.look_up_run(run, &plan, record.created_at, &EarlierSteps::new()).await?;
        let work = self.record_plan(run, &plan.name, &plan, &lookup).await?;
        if work.done {
            self.runs.close(run, None).await?;
        }
        Ok(work)
    }

    /// Looks up the steps of a run that was created at this time. Every hit lives until the run has ended: one that expires
    /// sooner is renewed, and where its objects are gone by then everything is looked up again.
    pub(crate) async fn look_up_run(
        &self,
        run: &RunId,
        plan: &Plan,
        created_at: Millis,
        earlier: &EarlierSteps,
    ) -> Result<RunLookup, Failure> {
        let bound = i64::try_from(plan.bound_seconds(self.settings.webhooks())).unwrap_or(i64::MAX / 2_000) * 1_000;
        let slack = if plan.export.is_some() { EXPORT_SLACK } else { SLACK };
        let bound_at = created_at + bound + slack;
        for _ in 0..LOOKUPS {
            let mut steps = self.look_up(run, plan, earlier).await?;
            // Where everything is cached, the run ends at once.
            let all = steps.iter().all(|found| matches!(found, CacheLookup::Hit { .. }));
            let left = if all { 0 } else { bound_at - self.platform.clock().now() };
            if self.make_durable(&mut steps, needed_life(&self.settings, left)).await? {
                return Ok(RunLookup { steps, bound_at });
            }
        }
        Err(StoreError::storage("objects of results went away while they were looked up").0)
    }

    /// Renews the hits that would expire within `needed` milliseconds. Whether all of them still exist.
    async fn make_durable(&self, steps: &mut [CacheLookup], needed: Millis) -> Result<bool, Failure> {
        let hits = steps.iter().enumerate().filter_map(|(place, found)| match found {
            CacheLookup::Hit { key, ready } => Some((place, key.clone(), (**ready).clone())),
            CacheLookup::Miss { .. } => None,
        });
        let durable: Vec<(usize, Option<CachedResult>)> = futures::stream::iter(hits.collect::<Vec<_>>())
            .map(|(place, key, ready)| async move {
                Ok::<_, Failure>((place, self.cached.durable(&key, ready, needed).await?))
            })
            .buffer_unordered(RENEWED_AT_ONCE)
            .try_collect()
            .await?;
        let mut all = true;
        for (place, durable) in durable {
            match (steps.get_mut(place), durable) {
                (Some(CacheLookup::Hit { ready, .. }), Some(durable)) => **ready = durable,
                _ => all = false,
            }
        }
        Ok(all)
    }

    /// Writes the records of a run's steps, and lists what is left to do. `pipeline` is the name under which the next run
    /// finds this one to compare with. The list is done where the caller is to close the run.
    pub(crate) async fn record_plan(
        &self,
        run: &RunId,
        pipeline: &str,
        plan: &Plan,
        lookup: &RunLookup,
    ) -> Result<WorkList, Failure> {
        failpoint(Failpoint::PlanLookedUp);
        let (ledger, now) = (self.platform.ledger(), self.platform.clock().now());
        let records = plan.steps.iter().zip(&lookup.steps).map(|(step, found)| record_of(run, step, found, now));
        ledger.plan_run(run, pipeline, &records.collect::<Vec<_>>(), lookup.bound_at).await?;
        failpoint(Failpoint::PlanRowsWritten);
        // Records of an earlier call of plan stay as they are, and decide which steps are left.
        let records = ledger.steps(run).await?;
        let work = self.left(plan, &records);
        // Before any of it becomes a task, and so before money is spent.
        self.require(plan, &work).await?;
        self.require_keys(plan, &work).await?;
        // A long export is for the report function, which has the time.
        let done = work.done && self.exporter.exports_little(plan, &records);
        Ok(WorkList { done, ..work })
    }

    /// Checks what has to hold before any of a plan is generated.
    pub(crate) async fn require(&self, plan: &Plan, work: &WorkList) -> Result<(), Failure> {
        self.exporter.require_export(plan.export.as_ref())?;
        if !work.done {
            work.require_size(plan)?;
            self.quota.require_room().await?;
        }
        Ok(())
    }

    fn left(&self, plan: &Plan, records: &[StepRecord]) -> WorkList {
        let done = records.iter().filter(|record| record.state == StepState::Done).map(|record| record.plan.id());
        let done: BTreeSet<StepRef> = done.collect();
        self.work(plan, |step| !done.contains(&step.id()))
    }

    /// The work list of a plan of which these steps are left.
    pub(crate) fn work(&self, plan: &Plan, is_left: impl Fn(&PlannedStep) -> bool) -> WorkList {
        WorkList::of(plan, self.settings.webhooks(), is_left)
    }

    async fn require_keys(&self, plan: &Plan, work: &WorkList) -> Result<(), Failure> {
        match self.missing_keys(providers(plan, work)).await?.first() {
            None => Ok(()),
            Some(provider) => Err(self.key_is_missing(*provider)),
        }
    }

    /// Returns the providers whose key is not in the stack's secrets.
    pub(crate) async fn missing_keys(&self, providers: BTreeSet<ProviderName>) -> Result<Vec<ProviderName>, Failure> {
        let mut missing = Vec::new();
        for provider in providers {
            if !self.platform.has_key(provider).await? {
                missing.push(provider);
            }
        }
        Ok(missing)
    }

    fn key_is_missing(&self, provider: ProviderName) -> Failure {
        let place = format!("{}/{}", self.settings.secrets_prefix, provider.key_name());
        let message =
            format!("the stack has no key for {}; store it as the SSM SecureString {place}", provider.as_str());
        Failure::new(ErrorName::SecretMissing, message)
    }
}

/// Refuses to plan a run that was stopped or has ended.
pub(crate) fn require_running(record: &RunRecord) -> Result<(), Failure> {
    match record.stop || record.status.is_final() {
        true => Err(Failure::new(ErrorName::RunStopped, "the run was stopped before it was planned")),
        false => Ok(()),
    }
}

fn record_of(run: &RunId, step: &PlannedStep, found: &CacheLookup, now: i64) -> StepRecord {
    let (key, hit) = match found {
        CacheLookup::Hit { key, ready } => (Some(key.clone()), Some((**ready).clone())),
        CacheLookup::Miss { key, .. } => (key.clone(), None),
    };
    StepRecord {
        run: run.clone(),
        plan: step.clone(),
        key,
        state: if hit.is_some() { StepState::Done } else { StepState::Waiting },
        source: hit.as_ref().map(|_| ResultSource::Hit),
        failure: None,
        started_at: hit.as_ref().map(|_| now),
        ended_at: hit.as_ref().map(|_| now),
        pinned: hit,
        calls: 0,
    }
}
