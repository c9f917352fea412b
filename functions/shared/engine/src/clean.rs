//! Removing what is old before its lifecycle does: results and their objects together, in this order, so that a hit never
//! returns what is going. What an open run has pinned or may still find stays.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::records::{CachedResult, Entry, Millis};
use fresco_ledger::traits::{Clock, Entries, ListedObject, Objects, Runs};
use fresco_ledger::transition::expire;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// Where outputs are.
const OUTPUTS: &str = "outputs/";
/// How many attempts are looked at together.
const BATCH: usize = 100;
/// How many entries or runs are asked about side by side.
const AT_ONCE: usize = 16;
/// A run that was not planned after so long never will be: its execution did not start.
const NEVER_PLANNED: Millis = 30 * 60_000;
/// What is younger may be on its way into an entry: collect has five minutes.
pub const YOUNGEST: Millis = 60 * 60_000;

/// What to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// What is older than this, in milliseconds; at least [`YOUNGEST`].
    pub older_than: Millis,
    /// Only say what would go.
    pub dry_run: bool,
}

/// So many objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub objects: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Group {
    fn add(&mut self, objects: &[ListedObject]) {
        self.objects += objects.len() as u64;
        self.bytes += objects.iter().map(|object| object.bytes).sum::<u64>();
    }
}

/// What a clean-up came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// Objects that are gone, or would be.
    pub removed: Group,
    /// Results that went with them: asked for again, they are generated again.
    pub results: u64,
    /// Old objects that an open run uses or may use.
    pub in_use: Group,
    /// Old objects of attempts that are under way or whose entry cannot be read.
    pub under_way: Group,
}

/// The objects of one attempt.
#[derive(Debug, Clone)]
struct StepOutputs {
    key: ContentKey,
    attempt: Attempt,
    objects: Vec<ListedObject>,
}

/// What open runs use.
#[derive(Debug, Default)]
struct InUse {
    keys: BTreeSet<ContentKey>,
    objects: BTreeSet<String>,
    /// A run is being planned: whatever is in the cache may be a hit of its.
    anything: bool,
}

impl InUse {
    fn has(&self, made: &StepOutputs) -> bool {
        self.anything
            || self.keys.contains(&made.key)
            || made.objects.iter().any(|object| self.objects.contains(&object.key))
    }
}

impl<P: Platform> Engine<P> {
    /// Removes results and objects that are older. `progress` hears what has been done so far.
    pub async fn clean(&self, which: Which, progress: impl Fn(&Cleaned) + Send + Sync) -> Result<Cleaned, Failure> {
        let written_before = self.platform.clock().now() - which.older_than.max(YOUNGEST);
        // What is in use now need not be looked at closely. Who comes to use something later is seen before it goes.
        let in_use = self.in_use().await?;
        let mut cleaned = Cleaned::default();
        let (mut after, mut batch): (String, Vec<StepOutputs>) = (String::new(), Vec::new());
        loop {
            let page = self.platform.objects().list(OUTPUTS, &after).await.map_err(failure)?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            for object in page {
                let Some((key, attempt)) = place_of(&object.key) else { continue };
                match batch.last_mut().filter(|made| made.key == key && made.attempt == attempt) {
                    Some(made) => made.objects.push(object),
                    None => batch.push(StepOutputs { key, attempt, objects: vec![object] }),
                }
            }
            // The last attempt may go on in the next page.
            if batch.len() > BATCH {
                let rest = batch.split_off(batch.len() - 1);
                for made in std::mem::replace(&mut batch, rest).chunks(BATCH) {
                    self.clean_batch(made, written_before, which.dry_run, &in_use, &mut cleaned).await?;
                    progress(&cleaned);
                }
            }
        }
        for made in batch.chunks(BATCH) {
            self.clean_batch(made, written_before, which.dry_run, &in_use, &mut cleaned).await?;
            progress(&cleaned);
        }
        Ok(cleaned)
    }

    async fn clean_batch(
        &self,
        made: &[StepOutputs],
        written_before: Millis,
        dry_run: bool,
        in_use: &InUse,
        cleaned: &mut Cleaned,
    ) -> Result<(), Failure> {
        let is_old = |made: &&StepOutputs| made.objects.iter().all(|object| object.modified_at < written_before);
        let old: Vec<&StepOutputs> = made.iter().filter(is_old).collect();
        if old.is_empty() {
            return Ok(());
        }
        let (kept, free): (Vec<&StepOutputs>, Vec<&StepOutputs>) = old.into_iter().partition(|made| in_use.has(made));
        kept.iter().for_each(|made| cleaned.in_use.add(&made.objects));
        let entries = self.entries_of(&free).await?;
        let (busy, free): (Vec<&StepOutputs>, Vec<&StepOutputs>) =
            free.into_iter().partition(|made| is_busy(made, &entries));
        busy.iter().for_each(|made| cleaned.under_way.add(&made.objects));
        let is_old = |ready: &CachedResult| ready.created_at < written_before;
        let (young, free): (Vec<&StepOutputs>, Vec<&StepOutputs>) =
            free.into_iter().partition(|made| result_of(made, &entries).is_some_and(|ready| !is_old(ready)));
        young.iter().for_each(|made| cleaned.under_way.add(&made.objects));
        let results: Vec<&StepOutputs> =
            free.iter().copied().filter(|made| result_of(made, &entries).is_some()).collect();
        if dry_run {
            free.iter().for_each(|made| cleaned.removed.add(&made.objects));
            cleaned.results += results.len() as u64;
            return Ok(());
        }
        // First the results, so that nobody finds them any more.
        let expired: Vec<(ContentKey, Attempt)> = results.iter().map(|made| (made.key.clone(), made.attempt)).collect();
        stream::iter(expired)
            .map(|(key, attempt)| async move {
                let old = |entry: &Entry| {
                    let ready = entry.result.as_ref().filter(|ready| ready.created_at < written_before);
                    ready.and_then(|_| expire(entry, attempt))
                };
                self.transact_entry(&key, old).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        // Then who may have found them before: whoever comes from here on cannot.
        let in_use = self.in_use().await?;
        let entries = self.entries_of(&free).await?;
        let mut keys = Vec::new();
        for made in free {
            if in_use.has(made) {
                cleaned.in_use.add(&made.objects);
            } else if is_busy(made, &entries) || result_of(made, &entries).is_some() {
                // Written anew or asked for again meanwhile.
                cleaned.under_way.add(&made.objects);
            } else {
                cleaned.results += u64::from(results.iter().any(|result| std::ptr::eq(*result, made)));
                cleaned.removed.add(&made.objects);
                keys.extend(made.objects.iter().map(|object| (object.key.clone(), object.bytes)));
            }
        }
        let bytes: u64 = keys.iter().map(|(_, bytes)| bytes).sum();
        let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
        self.platform.objects().delete(&keys).await.map_err(failure)?;
        self.note_bytes(-i64::try_from(bytes).unwrap_or(i64::MAX)).await;
        Ok(())
    }

    /// The entries of these attempts; `None` where one cannot be read.
    async fn entries_of(&self, made: &[&StepOutputs]) -> Result<BTreeMap<ContentKey, Option<Entry>>, Failure> {
        let keys: Vec<ContentKey> = made.iter().map(|made| made.key.clone()).collect();
        let looked = self.platform.ledger().entries(&keys).await.map_err(failure)?;
        let read = looked.entries.into_iter().map(|entry| (entry.key.clone(), Some(entry)));
        Ok(read.chain(looked.unreadable.into_iter().map(|(key, _)| (key, None))).collect())
    }

    /// What runs that have not ended have pinned, or ask for: a step notes its key before it looks for a result.
    async fn in_use(&self) -> Result<InUse, Failure> {
        let ledger = self.platform.ledger();
        let now = self.platform.clock().now();
        let runs = ledger.open_runs(now).await.map_err(failure)?;
        let mut in_use = InUse::default();
        for run in &runs {
            let planned = run.bound_at.is_some();
            in_use.anything |= !planned && now - run.created_at < NEVER_PLANNED;
            for step in ledger.steps(&run.id).await.map_err(failure)? {
                in_use.keys.extend(step.key);
                let outputs = step.pinned.into_iter().flat_map(|ready| ready.outputs);
                in_use.objects.extend(outputs.map(|output| output.key));
            }
        }
        Ok(in_use)
    }

    /// Whether a run is being planned: as long as one is, a clean-up removes nothing.
    pub async fn is_planning(&self) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        let runs = self.platform.ledger().open_runs(now).await.map_err(failure)?;
        Ok(runs.iter().any(|run| run.bound_at.is_none() && now - run.created_at < NEVER_PLANNED))
    }
}

/// The attempt that an output belongs to: `outputs/<kind>/<content key>/<attempt>/<n>.<ext>`.
fn place_of(key: &str) -> Option<(ContentKey, Attempt)> {
    let mut parts = key.strip_prefix(OUTPUTS)?.split('/').skip(1);
    let content_key = ContentKey::parse(parts.next()?).ok()?;
    Some((content_key, Attempt(parts.next()?.parse().ok()?)))
}

/// The result that these objects are.
fn result_of<'a>(made: &StepOutputs, entries: &'a BTreeMap<ContentKey, Option<Entry>>) -> Option<&'a CachedResult> {
    let entry = entries.get(&made.key).and_then(Option::as_ref)?;
    entry.result.as_ref().filter(|ready| ready.attempt == made.attempt)
}

/// Whether the attempt may still become a result, or that cannot be told.
fn is_busy(made: &StepOutputs, entries: &BTreeMap<ContentKey, Option<Entry>>) -> bool {
    match entries.get(&made.key) {
        Some(Some(entry)) => {
            entry.pending.as_ref().is_some_and(|pending| pending.attempt == made.attempt)
                || entry.late_completion.as_ref().is_some_and(|late| late.attempt == made.attempt)
        }
        Some(None) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outputs_belong_to_attempts() {
        let key = ContentKey::digest(b"k");
        assert_eq!(place_of(&format!("outputs/image/{key}/3/0.png")), Some((key.clone(), Attempt(3))));
        for other in
            [format!("inputs/image/{key}.png"), format!("outputs/image/{key}"), "outputs/image/x/1/0.png".into()]
        {
            assert_eq!(place_of(&other), None, "{other}");
        }
    }
}
