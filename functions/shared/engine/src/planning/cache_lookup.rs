//! Looks up every step of a plan, level by level: the key of a step is known once the results that it reads are known.
//! A hit is never generated; a miss has a reason.

use std::collections::{BTreeMap, BTreeSet};

use fresco_api_types::MissReason;
use fresco_ledger::records::{CachedResult, Entry, Millis, StepRecord};
use fresco_ledger::traits::{Clock, Entries};
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId, StepRef};
use fresco_pipeline::plan::{Plan, PlannedStep};
use fresco_pipeline::request::{KeyedRequest, StepOutputs};
use futures::{StreamExt, TryStreamExt};

use crate::planning::Planner;
use crate::planning::freshness::{Freshness, freshness};
use crate::planning::outputs::outputs_of;
use crate::platform::Platform;

/// The steps of earlier runs of the same rows that have results, the latest of each.
pub(crate) type EarlierSteps = BTreeMap<StepRef, StepRecord>;

/// Objects that are checked concurrently.
const HEADS_AT_ONCE: usize = 16;

/// The result of looking up a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CacheLookup {
    Hit {
        key: ContentKey,
        ready: Box<CachedResult>,
    },
    /// The key is known unless the step waits for others.
    Miss {
        key: Option<ContentKey>,
        why: MissReason,
    },
}

impl<P: Platform> Planner<P> {
    /// Looks up every step, in the order of [`Plan::steps`]. The result of an earlier run of the same rows is a hit
    /// whatever the step's cache policy is.
    pub(crate) async fn look_up(
        &self,
        run: &RunId,
        plan: &Plan,
        earlier: &EarlierSteps,
    ) -> Result<Vec<CacheLookup>, Failure> {
        let texts: BTreeSet<StepRef> = plan.steps.iter().flat_map(|step| step.reads_text_of()).collect();
        let mut found: Vec<Option<CacheLookup>> = vec![None; plan.steps.len()];
        let mut made: BTreeMap<StepRef, StepOutputs> = BTreeMap::new();
        loop {
            let mut level: Vec<(usize, KeyedRequest)> = Vec::new();
            for (place, step) in plan.steps.iter().enumerate() {
                if found[place].is_some() || !step.reads().iter().all(|read| made.contains_key(read)) {
                    continue;
                }
                match step.resolve(run, &made) {
                    Ok(Some(ready)) => level.push((place, ready)),
                    Ok(None) => {}
                    Err(failure) => {
                        found[place] = Some(CacheLookup::Miss { key: None, why: MissReason::Input { failure } })
                    }
                }
            }
            if level.is_empty() {
                break;
            }
            let sought =
                |place: &usize| plan.steps[*place].cache == CachePolicy::Use && !plan.steps[*place].uncacheable;
            let keys = level.iter().filter(|(place, _)| sought(place)).map(|(_, ready)| ready.key.clone());
            let results = self.results(&keys.collect::<Vec<_>>()).await?;
            for (place, step) in level {
                let policy = match (plan.steps[place].cache, plan.steps[place].uncacheable) {
                    (CachePolicy::Refresh, _) => Some(MissReason::Refresh),
                    (CachePolicy::Off, _) => Some(MissReason::Off),
                    (CachePolicy::Use, true) => Some(MissReason::Fleeting),
                    (CachePolicy::Use, false) => None,
                };
                let id = plan.steps[place].id();
                let outcome = match (policy, earlier.get(&id)) {
                    (Some(why), Some(record)) => {
                        self.earlier_result(record, &plan.steps[place], &made).await?.ok_or(why)
                    }
                    (Some(why), None) => Err(why),
                    (None, _) => match results.get(&step.key) {
                        Some(outcome) => outcome.clone().map(|ready| (step.key.clone(), ready)),
                        None => Err(MissReason::New),
                    },
                };
                found[place] = Some(match outcome {
                    Ok((key, ready)) => {
                        let own = outputs_of(self.platform.objects(), &ready, texts.contains(&id)).await?;
                        made.insert(id, own);
                        CacheLookup::Hit { key, ready: Box::new(ready) }
                    }
                    Err(why) => CacheLookup::Miss { key: Some(step.key), why },
                });
            }
        }
        let waits = |place: usize| {
            let reads = plan.steps[place].reads();
            let missing = reads.iter().filter(|step| !made.contains_key(*step)).map(StepRef::public_name);
            CacheLookup::Miss { key: None, why: MissReason::Waits { steps: missing.collect() } }
        };
        Ok(found.into_iter().enumerate().map(|(place, found)| found.unwrap_or_else(|| waits(place))).collect())
    }

    /// Returns the result of this step in an earlier run, with its key, where the request is the same and its objects
    /// still exist.
    async fn earlier_result(
        &self,
        record: &StepRecord,
        step: &PlannedStep,
        made: &BTreeMap<StepRef, StepOutputs>,
    ) -> Result<Option<(ContentKey, CachedResult)>, Failure> {
        let (Some(key), Some(ready)) = (&record.key, &record.pinned) else { return Ok(None) };
        // Without the cache the key depends on the run.
        let same = step.resolve(&record.run, made)?.is_some_and(|request| request.key == *key);
        if !same || self.is_expired(ready.created_at) {
            return Ok(None);
        }
        Ok(self.cached.exists(ready).await?.map(|ready| (key.clone(), ready)))
    }

    fn is_expired(&self, created_at: Millis) -> bool {
        freshness(self.settings.object_life(), created_at, self.platform.clock().now(), 0) == Freshness::Expired
    }

    /// Reads the results under these keys. A key without an entry is left out.
    async fn results(
        &self,
        keys: &[ContentKey],
    ) -> Result<BTreeMap<ContentKey, Result<CachedResult, MissReason>>, Failure> {
        let looked = self.platform.ledger().entries(keys).await?;
        let unreadable = looked.unreadable.into_iter().map(|(key, cause)| {
            // Generate repairs the entry when it needs it; planning writes nothing.
            tracing::error!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "entry not readable");
            (key, Err(MissReason::Unreadable))
        });
        let unreadable: Vec<_> = unreadable.collect();
        let read: BTreeMap<_, _> = futures::stream::iter(looked.entries)
            .map(|entry| async move { Ok::<_, Failure>((entry.key.clone(), self.result_of(entry).await?)) })
            .buffer_unordered(HEADS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(read.into_iter().chain(unreadable).collect())
    }

    async fn result_of(&self, entry: Entry) -> Result<Result<CachedResult, MissReason>, Failure> {
        let without = match (&entry.pending, &entry.failure) {
            (Some(_), _) => MissReason::Pending,
            (None, Some(failed)) => MissReason::Failed { failure: failed.failure.clone() },
            (None, None) => MissReason::New,
        };
        let Some(ready) = entry.whole_result().or(entry.result.as_ref()) else { return Ok(Err(without)) };
        let Some(ready) = self.cached.exists(ready).await? else { return Ok(Err(MissReason::Gone)) };
        if let Some(shortfall) = ready.shortfall.as_ref().filter(|_| !ready.is_whole()) {
            let short = MissReason::Short { lacks: shortfall.to_string() };
            return Ok(Err(if entry.pending.is_some() { MissReason::Pending } else { short }));
        }
        if self.is_expired(ready.created_at) {
            return Ok(Err(if entry.pending.is_some() { MissReason::Pending } else { MissReason::Expired }));
        }
        Ok(Ok(ready))
    }
}
