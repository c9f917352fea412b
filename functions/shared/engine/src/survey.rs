//! Looking every step of a plan up before anything is begun, level by level: a step whose inputs are all in the cache has a
//! known key too. What is found is never generated; of the rest it is said why.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::records::{CachedResult, Entry, Millis};
use fresco_ledger::traits::{Clock, Entries, Objects};
use fresco_ledger::transition::renew;
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId, StepName};
use fresco_pipeline::plan::{Plan, ReadyStep, StepOutputs};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::age::{Age, age};
use crate::changed::{self, Change};
use crate::clean::YOUNGEST;
use crate::crash::{self, Point};
use crate::platform::Platform;
use crate::transact::failure;

/// How many objects are asked about at a time.
const HEADS_AT_ONCE: usize = 16;

/// Why a step is not found in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Nobody has asked for it yet, or what was made of it was forgotten.
    New,
    /// It asks for something else than the step of this name did in the last run of this pipeline.
    Changed {
        /// What differs.
        what: Vec<Change>,
    },
    /// The last run of this pipeline had its result, and it was removed since.
    Removed,
    /// Its entry is damaged or of another version; it is made anew.
    Unreadable,
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
            Why::Changed { what } => f.write_str(&changed::in_words(what)),
            Why::Removed => f.write_str("its result was removed"),
            Why::Unreadable => f.write_str("its entry cannot be read"),
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
    Hit { key: ContentKey, ready: Box<CachedResult> },
    /// It is not, and its key is known unless it waits for others.
    Miss { key: Option<ContentKey>, why: Why },
}

impl<P: Platform> Engine<P> {
    /// Looks every step up: what was found, in the order of [`Plan::steps`].
    pub(crate) async fn survey(&self, run: &RunId, plan: &Plan) -> Result<Vec<Found>, Failure> {
        let texts: BTreeSet<&StepName> = plan.steps.iter().flat_map(|step| step.reads_text_of()).collect();
        let mut found: Vec<Option<Found>> = vec![None; plan.steps.len()];
        let mut made: BTreeMap<StepName, StepOutputs> = BTreeMap::new();
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
            let sought =
                |place: &usize| plan.steps[*place].cache == CachePolicy::Use && !plan.steps[*place].uncacheable;
            let keys = level.iter().filter(|(place, _)| sought(place)).map(|(_, ready)| ready.key.clone());
            let results = self.results(&keys.collect::<Vec<_>>()).await?;
            for (place, step) in level {
                let policy = match (plan.steps[place].cache, plan.steps[place].uncacheable) {
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
    async fn results(&self, keys: &[ContentKey]) -> Result<BTreeMap<ContentKey, Result<CachedResult, Why>>, Failure> {
        let looked = self.platform.ledger().entries(keys).await.map_err(failure)?;
        let unreadable = looked.unreadable.into_iter().map(|(key, cause)| {
            // Mended by generate, which needs it; nothing is written here.
            tracing::error!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "entry not readable");
            (key, Err(Why::Unreadable))
        });
        let unreadable: Vec<_> = unreadable.collect();
        let read: BTreeMap<_, _> = futures::stream::iter(looked.entries)
            .map(|entry| async move { Ok::<_, Failure>((entry.key.clone(), self.result_of(entry).await?)) })
            .buffer_unordered(HEADS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(read.into_iter().chain(unreadable).collect())
    }

    async fn result_of(&self, entry: Entry) -> Result<Result<CachedResult, Why>, Failure> {
        let without = match (&entry.pending, entry.failure) {
            (Some(_), _) => Why::Pending,
            (None, Some(failed)) => Why::Failed { failure: failed.failure },
            (None, None) => Why::New,
        };
        let Some(ready) = entry.result else { return Ok(Err(without)) };
        let Some(ready) = self.there(&ready).await? else { return Ok(Err(Why::Gone)) };
        let life = self.settings.object_life();
        if age(life, ready.created_at, self.platform.clock().now(), 0) == Age::Over {
            return Ok(Err(if entry.pending.is_some() { Why::Pending } else { Why::Expired }));
        }
        Ok(Ok(ready))
    }

    /// The result as one that may be handed out and lives for so long: every object there with its length, written anew if
    /// it is near its end. `None`: it is gone or about to go, and is a miss.
    pub(crate) async fn fit(
        &self,
        key: &ContentKey,
        ready: &CachedResult,
        needed: Millis,
    ) -> Result<Option<CachedResult>, Failure> {
        match self.there(ready).await? {
            Some(ready) => self.lasting(key, ready, needed).await,
            None => Ok(None),
        }
    }

    /// A result whose objects are there, as one that lives for so long.
    pub(crate) async fn lasting(
        &self,
        key: &ContentKey,
        mut ready: CachedResult,
        needed: Millis,
    ) -> Result<Option<CachedResult>, Failure> {
        let now = self.platform.clock().now();
        let enough = match age(self.settings.object_life(), ready.created_at, now, needed) {
            Age::Young => return Ok(Some(ready)),
            Age::Over => return Ok(None),
            Age::Ending { enough } => enough,
        };
        match self.renew(key, &ready, now).await {
            Ok(true) => {
                ready.created_at = now;
                Ok(Some(ready))
            }
            Ok(false) => Ok(None),
            Err(cause) if enough => {
                tracing::warn!(entry.key = %key, error.name = %cause.name, error.message = cause.message, "result not renewed; it lives long enough");
                Ok(Some(ready))
            }
            Err(cause) => Err(cause),
        }
    }

    /// Whether a result that stands in an entry may be handed out still. What was made just now is there.
    pub(crate) async fn still_holds(&self, ready: &CachedResult) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        if now - ready.created_at < YOUNGEST {
            return Ok(true);
        }
        let there = self.there(ready).await?;
        Ok(there.is_some_and(|ready| age(self.settings.object_life(), ready.created_at, now, 0) != Age::Over))
    }

    /// Writes a result's objects over themselves, then moves the entry: after a crash between the two the entry takes them
    /// for older than they are. Whether they were all there.
    async fn renew(&self, key: &ContentKey, ready: &CachedResult, now: Millis) -> Result<bool, Failure> {
        for output in &ready.outputs {
            if !self.platform.objects().touch(&output.key, &output.content_type).await.map_err(failure)? {
                return Ok(false);
            }
        }
        crash::point(Point::ResultRenewed);
        self.transact_entry(key, |entry| renew(entry, ready.attempt, now)).await?;
        tracing::info!(entry.key = %key, entry.attempt = %ready.attempt, "result renewed");
        Ok(true)
    }

    /// The result, if every object of it is there with its length. What S3 says of an object's age counts where the entry says
    /// that it is younger: whoever wrote the entry may have had a clock that was off.
    async fn there(&self, ready: &CachedResult) -> Result<Option<CachedResult>, Failure> {
        let mut ready = ready.clone();
        for output in &ready.outputs {
            match self.platform.objects().head(&output.key).await.map_err(failure)? {
                Some(head) if head.bytes == output.bytes => ready.created_at = ready.created_at.min(head.modified_at),
                _ => return Ok(None),
            }
        }
        Ok(Some(ready))
    }
}
