//! Looking every step of a plan up before anything is begun, level by level: a step whose inputs are all in the cache has a
//! known key too. What is found is never generated; of the rest it is said why.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::rows::{Entry, Ready};
use fresco_ledger::traits::{Clock, Entries, Objects};
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId, StepName};
use fresco_pipeline::plan::{Made, Plan, ReadyStep};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// How many objects are asked about at a time.
const HEADS_AT_ONCE: usize = 16;

/// Why a step is not found in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Nobody has asked for it yet, or what was made of it was forgotten.
    New,
    /// There is a result, and it expires too soon.
    Expired,
    /// There is a result, and its object is gone.
    Gone,
    /// `cache: refresh`.
    Refresh,
    /// `cache: off`.
    Off,
    /// `{{timestamp}}` or `{{random}}` stands in it.
    Fleeting,
    /// It is being generated; the run will join.
    Pending,
    /// Its last attempt failed.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It reads steps whose results are not there yet.
    Waits {
        /// Those steps.
        steps: Vec<StepName>,
    },
    /// What it takes from the steps before it cannot be sent.
    Input {
        /// Why.
        failure: Failure,
    },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::New => f.write_str("new"),
            Why::Expired => f.write_str("expired"),
            Why::Gone => f.write_str("its object is gone"),
            Why::Refresh => f.write_str("refresh"),
            Why::Off => f.write_str("cache off"),
            Why::Fleeting => f.write_str("never cached: timestamp or random"),
            Why::Pending => f.write_str("being generated, will be joined"),
            Why::Failed { failure } => write!(f, "failed before ({})", failure.name),
            Why::Waits { steps } => {
                let names: Vec<&str> = steps.iter().map(StepName::as_str).collect();
                write!(f, "needs {}", names.join(", "))
            }
            Why::Input { failure } => write!(f, "{failure}"),
        }
    }
}

/// What was found of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// It is there.
    Hit { key: ContentKey, ready: Box<Ready> },
    /// It is not, and its key is known unless it waits for others.
    Miss { key: Option<ContentKey>, why: Why },
}

impl<P: Platform> Engine<P> {
    /// Looks every step up: what was found, in the order of [`Plan::steps`].
    pub(crate) async fn survey(&self, run: &RunId, plan: &Plan) -> Result<Vec<Found>, Failure> {
        let texts: BTreeSet<&StepName> = plan.steps.iter().flat_map(|step| step.reads_text_of()).collect();
        let mut found: Vec<Option<Found>> = vec![None; plan.steps.len()];
        let mut made: BTreeMap<StepName, Made> = BTreeMap::new();
        loop {
            let mut level: Vec<(usize, ReadyStep)> = Vec::new();
            for (place, step) in plan.steps.iter().enumerate() {
                if found[place].is_some() || !step.reads().into_iter().all(|read| made.contains_key(read)) {
                    continue;
                }
                match step.resolve(run, &made) {
                    Ok(Some(ready)) => level.push((place, ready)),
                    Ok(None) => {}
                    Err(failure) => found[place] = Some(Found::Miss { key: None, why: Why::Input { failure } }),
                }
            }
            if level.is_empty() {
                break;
            }
            let sought = |place: &usize| plan.steps[*place].cache == CachePolicy::Use && !plan.steps[*place].fleeting;
            let keys = level.iter().filter(|(place, _)| sought(place)).map(|(_, ready)| ready.key.clone());
            let results = self.results(&keys.collect::<Vec<_>>()).await?;
            for (place, step) in level {
                let policy = match (plan.steps[place].cache, plan.steps[place].fleeting) {
                    (CachePolicy::Refresh, _) => Some(Why::Refresh),
                    (CachePolicy::Off, _) => Some(Why::Off),
                    (CachePolicy::Use, true) => Some(Why::Fleeting),
                    (CachePolicy::Use, false) => None,
                };
                let outcome = match policy {
                    Some(why) => Err(why),
                    None => results.get(&step.key).cloned().unwrap_or(Err(Why::New)),
                };
                found[place] = Some(match outcome {
                    Ok(ready) => {
                        let name = plan.steps[place].name.clone();
                        let own = self.made(&ready, texts.contains(&name)).await?;
                        made.insert(name, own);
                        Found::Hit { key: step.key, ready: Box::new(ready) }
                    }
                    Err(why) => Found::Miss { key: Some(step.key), why },
                });
            }
        }
        let waits = |place: usize| {
            let missing = plan.steps[place].reads().into_iter().filter(|step| !made.contains_key(*step));
            Found::Miss { key: None, why: Why::Waits { steps: missing.cloned().collect() } }
        };
        Ok(found.into_iter().enumerate().map(|(place, found)| found.unwrap_or_else(|| waits(place))).collect())
    }

    /// What stands under each key that anything is known of.
    async fn results(&self, keys: &[ContentKey]) -> Result<BTreeMap<ContentKey, Result<Ready, Why>>, Failure> {
        let entries = self.platform.ledger().entries(keys).await.map_err(failure)?;
        futures::stream::iter(entries)
            .map(|entry| async move { Ok((entry.key.clone(), self.result_of(entry).await?)) })
            .buffer_unordered(HEADS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn result_of(&self, entry: Entry) -> Result<Result<Ready, Why>, Failure> {
        let without = match (&entry.pending, entry.failure) {
            (Some(_), _) => Why::Pending,
            (None, Some(failed)) => Why::Failed { failure: failed.failure },
            (None, None) => Why::New,
        };
        let Some(ready) = entry.result else { return Ok(Err(without)) };
        if !self.settings.lives(ready.created_at, self.platform.clock().now()) {
            return Ok(Err(if entry.pending.is_some() { Why::Pending } else { Why::Expired }));
        }
        Ok(if self.objects_are_there(&ready).await? { Ok(ready) } else { Err(Why::Gone) })
    }

    /// Whether a result may be handed out: young enough, and every object there with its length.
    pub(crate) async fn usable(&self, ready: &Ready) -> Result<bool, Failure> {
        Ok(self.settings.lives(ready.created_at, self.platform.clock().now()) && self.objects_are_there(ready).await?)
    }

    async fn objects_are_there(&self, ready: &Ready) -> Result<bool, Failure> {
        for output in &ready.outputs {
            let head = self.platform.objects().head(&output.key).await.map_err(failure)?;
            if head.is_none_or(|head| head.bytes != output.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
