//! Removes old outputs before their lifecycle does: first the results, then their objects, so that no hit returns an
//! object that is about to go. Outputs that an open run has pinned or may still find stay.

use std::collections::{BTreeMap, BTreeSet};

use fresco_api_types::{CleanTotals, MIN_CLEAN_AGE, ObjectTotals};
use fresco_ledger::records::{CachedResult, Entry, Millis};
use fresco_ledger::traits::{Clock, Entries, ListedObject, Objects, Runs};
use fresco_ledger::transition::expire;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::platform::Platform;
use crate::upkeep::Upkeep;

/// The prefix of outputs.
const OUTPUTS: &str = "outputs/";
/// Attempts that are checked together.
const BATCH: usize = 100;
/// Entries or runs that are read concurrently.
const AT_ONCE: usize = 16;
/// The age after which a run that is not planned never will be: its execution did not start.
const NEVER_PLANNED: Millis = 30 * 60_000;

/// The options of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneOptions {
    /// The age in milliseconds; at least [`MIN_CLEAN_AGE`].
    pub older_than: Millis,
    /// Count without removing.
    pub dry_run: bool,
}

/// The objects of one attempt.
#[derive(Debug, Clone)]
struct AttemptOutputs {
    key: ContentKey,
    attempt: Attempt,
    objects: Vec<ListedObject>,
}

/// The keys and objects that open runs use.
#[derive(Debug, Default)]
struct InUse {
    keys: BTreeSet<ContentKey>,
    objects: BTreeSet<String>,
    /// A run is being planned: any result may be one of its hits.
    anything: bool,
}

impl InUse {
    fn has(&self, outputs: &AttemptOutputs) -> bool {
        self.anything
            || self.keys.contains(&outputs.key)
            || outputs.objects.iter().any(|object| self.objects.contains(&object.key))
    }
}

impl<P: Platform> Upkeep<P> {
    /// Removes results and objects that are older, beginning after the object `after`, until the time is up. Returns the
    /// totals, and the object after which the rest begins; `None` at the end.
    pub async fn prune(
        &self,
        options: PruneOptions,
        after: &str,
        until: Instant,
    ) -> Result<(CleanTotals, Option<String>), Failure> {
        let written_before = self.platform.clock().now() - options.older_than.max(MIN_CLEAN_AGE);
        // This check is a shortcut: a use that begins later is seen before anything is removed.
        let in_use = self.in_use().await?;
        let mut report = CleanTotals::default();
        let (mut after, mut batch): (String, Vec<AttemptOutputs>) = (after.to_owned(), Vec::new());
        loop {
            let page = self.platform.objects().list(OUTPUTS, &after).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            for object in page {
                let Some((key, attempt)) = place_of(&object.key) else { continue };
                match batch.last_mut().filter(|outputs| outputs.key == key && outputs.attempt == attempt) {
                    Some(outputs) => outputs.objects.push(object),
                    None => batch.push(AttemptOutputs { key, attempt, objects: vec![object] }),
                }
            }
            // The objects of the last attempt may continue on the next page.
            while batch.len() > BATCH || (batch.len() > 1 && Instant::now() >= until) {
                let rest = batch.split_off(BATCH.min(batch.len() - 1));
                let outputs = std::mem::replace(&mut batch, rest);
                self.prune_batch(&outputs, written_before, options.dry_run, &in_use, &mut report).await?;
                if Instant::now() >= until {
                    let last = outputs.last().and_then(|outputs| outputs.objects.last());
                    return Ok((report, last.map(|object| object.key.clone())));
                }
            }
        }
        self.prune_batch(&batch, written_before, options.dry_run, &in_use, &mut report).await?;
        Ok((report, None))
    }

    async fn prune_batch(
        &self,
        outputs: &[AttemptOutputs],
        written_before: Millis,
        dry_run: bool,
        in_use: &InUse,
        report: &mut CleanTotals,
    ) -> Result<(), Failure> {
        let is_old =
            |outputs: &&AttemptOutputs| outputs.objects.iter().all(|object| object.modified_at < written_before);
        let old: Vec<&AttemptOutputs> = outputs.iter().filter(is_old).collect();
        if old.is_empty() {
            return Ok(());
        }
        let (used, free): (Vec<&AttemptOutputs>, Vec<&AttemptOutputs>) =
            old.into_iter().partition(|outputs| in_use.has(outputs));
        used.iter().for_each(|outputs| report.in_use += totals(&outputs.objects));
        let entries = self.entries_of(&free).await?;
        let (busy, free): (Vec<&AttemptOutputs>, Vec<&AttemptOutputs>) =
            free.into_iter().partition(|outputs| is_busy(outputs, &entries));
        busy.iter().for_each(|outputs| report.under_way += totals(&outputs.objects));
        let is_old = |ready: &CachedResult| ready.created_at < written_before;
        let (young, free): (Vec<&AttemptOutputs>, Vec<&AttemptOutputs>) =
            free.into_iter().partition(|outputs| result_of(outputs, &entries).is_some_and(|ready| !is_old(ready)));
        young.iter().for_each(|outputs| report.under_way += totals(&outputs.objects));
        let results: Vec<&AttemptOutputs> =
            free.iter().copied().filter(|outputs| result_of(outputs, &entries).is_some()).collect();
        if dry_run {
            free.iter().for_each(|outputs| report.removed += totals(&outputs.objects));
            report.results += results.len() as u64;
            return Ok(());
        }
        // First the results, so that they are not found any more.
        let expired: Vec<(ContentKey, Attempt)> =
            results.iter().map(|outputs| (outputs.key.clone(), outputs.attempt)).collect();
        stream::iter(expired)
            .map(|(key, attempt)| async move {
                let old = |entry: &Entry| {
                    let mut results = entry.results().filter(|ready| ready.attempt == attempt);
                    results.next().filter(|ready| ready.created_at < written_before)?;
                    expire(entry, attempt)
                };
                self.commits.commit_entry(&key, old).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        // Then the runs that may have found them before: a later run cannot.
        let in_use = self.in_use().await?;
        let entries = self.entries_of(&free).await?;
        let mut keys = Vec::new();
        for outputs in free {
            if in_use.has(outputs) {
                report.in_use += totals(&outputs.objects);
            } else if is_busy(outputs, &entries) || result_of(outputs, &entries).is_some() {
                // Renewed or requested again meanwhile.
                report.under_way += totals(&outputs.objects);
            } else {
                report.results += u64::from(results.iter().any(|result| std::ptr::eq(*result, outputs)));
                report.removed += totals(&outputs.objects);
                keys.extend(outputs.objects.iter().map(|object| (object.key.clone(), object.bytes)));
            }
        }
        let bytes: u64 = keys.iter().map(|(_, bytes)| bytes).sum();
        let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
        self.platform.objects().delete(&keys).await?;
        self.quota.record_bytes(-i64::try_from(bytes).unwrap_or(i64::MAX)).await;
        Ok(())
    }

    /// Reads the entries of these attempts; `None` for one that cannot be read.
    async fn entries_of(&self, outputs: &[&AttemptOutputs]) -> Result<BTreeMap<ContentKey, Option<Entry>>, Failure> {
        let keys: Vec<ContentKey> = outputs.iter().map(|outputs| outputs.key.clone()).collect();
        let looked = self.platform.ledger().entries(&keys).await?;
        let read = looked.entries.into_iter().map(|entry| (entry.key.clone(), Some(entry)));
        Ok(read.chain(looked.unreadable.into_iter().map(|(key, _)| (key, None))).collect())
    }

    /// Reads what open runs have pinned or request: a step records its key before it looks for a result.
    async fn in_use(&self) -> Result<InUse, Failure> {
        let ledger = self.platform.ledger();
        let now = self.platform.clock().now();
        let runs = ledger.open_runs(now).await?;
        let mut in_use = InUse::default();
        for run in &runs {
            let planned = run.bound_at.is_some();
            in_use.anything |= !planned && now - run.created_at < NEVER_PLANNED;
            for step in ledger.steps(&run.id).await? {
                in_use.keys.extend(step.key);
                let outputs = step.pinned.into_iter().flat_map(|ready| ready.outputs);
                in_use.objects.extend(outputs.map(|output| output.key));
            }
        }
        Ok(in_use)
    }

    /// Returns whether a run is being planned; nothing is removed meanwhile.
    pub async fn is_planning(&self) -> Result<bool, Failure> {
        let now = self.platform.clock().now();
        let runs = self.platform.ledger().open_runs(now).await?;
        Ok(runs.iter().any(|run| run.bound_at.is_none() && now - run.created_at < NEVER_PLANNED))
    }
}

/// Counts objects and their bytes.
fn totals(objects: &[ListedObject]) -> ObjectTotals {
    ObjectTotals { objects: objects.len() as u64, bytes: objects.iter().map(|object| object.bytes).sum() }
}

/// Parses the attempt out of the key of an output: `outputs/<kind>/<content key>/<attempt>/<n>.<ext>`.
fn place_of(key: &str) -> Option<(ContentKey, Attempt)> {
    let mut parts = key.strip_prefix(OUTPUTS)?.split('/').skip(1);
    let content_key = ContentKey::parse(parts.next()?).ok()?;
    Some((content_key, Attempt(parts.next()?.parse().ok()?)))
}

/// The result that these objects belong to.
fn result_of<'a>(
    outputs: &AttemptOutputs,
    entries: &'a BTreeMap<ContentKey, Option<Entry>>,
) -> Option<&'a CachedResult> {
    let entry = entries.get(&outputs.key).and_then(Option::as_ref)?;
    entry.results().find(|ready| ready.attempt == outputs.attempt)
}

/// Returns whether the attempt may still become a result, or cannot be read.
fn is_busy(outputs: &AttemptOutputs, entries: &BTreeMap<ContentKey, Option<Entry>>) -> bool {
    match entries.get(&outputs.key) {
        Some(Some(entry)) => {
            entry.pending.as_ref().is_some_and(|pending| pending.attempt == outputs.attempt)
                || entry.late_completions.iter().any(|late| late.attempt == outputs.attempt)
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
