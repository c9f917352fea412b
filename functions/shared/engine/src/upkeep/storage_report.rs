//! Counts the objects of the stack's bucket by kind and by age, with what its lifecycle removes next. The listing is the truth,
//! whatever the ledger says.

use std::collections::BTreeMap;

use fresco_api_types::{AGE_EDGES, AGES, Expiry, KindUsage, ObjectKind, ObjectTotals, StorageLimit, StorageView};
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Clock, Lifecycle, ListedObject, Objects, UsageCounter};
use fresco_pipeline::error::Failure;
use fresco_pipeline::time::DAY;
use tokio::time::Instant;

use crate::platform::Platform;
use crate::quota::StorageUse;
use crate::upkeep::Upkeep;

impl<P: Platform> Upkeep<P> {
    /// Counts the objects of the bucket, beginning after the object `after`, until the time is up. The answer's cursor is the
    /// object after which the rest begins.
    pub async fn storage(&self, after: &str, until: Instant) -> Result<StorageView, Failure> {
        let objects = self.platform.objects();
        let mut tally = Tally::new(self.platform.clock().now(), objects.lifecycle().await?);
        let mut cursor = Some(after.to_owned());
        while let Some(after) = cursor.as_deref().filter(|_| tally.all.objects == 0 || Instant::now() < until) {
            let page = objects.list("", after).await?;
            page.iter().for_each(|object| tally.add(object));
            cursor = page.last().map(|last| last.key.clone());
        }
        let limit = match self.quota.settings.max_stored_bytes {
            None => None,
            Some(most) => {
                let counted = self.platform.ledger().usage().await?.estimate();
                let percent = StorageUse { bytes: tally.all.bytes, most }.percent();
                Some(StorageLimit { most, percent, counted, full: StorageUse { bytes: counted, most }.is_full() })
            }
        };
        Ok(tally.report(limit, cursor))
    }
}

/// Returns the kind of an object by its key.
fn kind_of(key: &str) -> ObjectKind {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("outputs"), Some("image"), Some(_)) => ObjectKind::Images,
        (Some("outputs"), Some("video"), Some(_)) => ObjectKind::Videos,
        (Some("outputs"), Some("text"), Some(_)) => ObjectKind::Texts,
        (Some("inputs"), Some(_), _) => ObjectKind::Inputs,
        (Some("plans"), Some(_), _) => ObjectKind::Plans,
        (Some("runs"), Some(_), _) => ObjectKind::Runs,
        _ => ObjectKind::Other,
    }
}

/// The counts so far.
struct Tally {
    now: Millis,
    lifecycle: Lifecycle,
    all: ObjectTotals,
    kinds: BTreeMap<ObjectKind, [ObjectTotals; AGES]>,
    next: BTreeMap<Millis, ObjectTotals>,
    lasting: ObjectTotals,
}

impl Tally {
    fn new(now: Millis, lifecycle: Lifecycle) -> Self {
        let none = ObjectTotals::default();
        Tally { now, lifecycle, all: none, kinds: BTreeMap::new(), next: BTreeMap::new(), lasting: none }
    }

    fn add(&mut self, object: &ListedObject) {
        let one = ObjectTotals { objects: 1, bytes: object.bytes };
        self.all += one;
        // An object from the future, by a clock that is off, counts as new.
        let days = (self.now - object.modified_at).max(0) / DAY;
        let age = AGE_EDGES.iter().filter(|&&edge| days >= Millis::from(edge)).count();
        if let Some(group) = self.kinds.entry(kind_of(&object.key)).or_default().get_mut(age) {
            *group += one;
        }
        match self.lifecycle.removes_at(&object.key, object.modified_at) {
            // Overdue objects are one group, whenever they became so.
            Some(at) => *self.next.entry(at.max(self.now - self.now.rem_euclid(DAY))).or_default() += one,
            None => self.lasting += one,
        }
    }

    fn report(self, limit: Option<StorageLimit>, cursor: Option<String>) -> StorageView {
        let kinds = self.kinds.into_iter().map(|(kind, ages)| {
            let mut all = ObjectTotals::default();
            ages.iter().for_each(|group| all += *group);
            KindUsage { kind, all, ages }
        });
        StorageView {
            at: self.now,
            all: self.all,
            age_edges: AGE_EDGES,
            kinds: kinds.collect(),
            next: self.next.into_iter().map(|(at, group)| Expiry { at, group }).collect(),
            lasting: self.lasting,
            unforeseen_rules: self.lifecycle.others,
            limit,
            cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use fresco_ledger::traits::ExpiryRule;
    use fresco_pipeline::time::HOUR;

    use super::*;

    /// 2026-01-05 10:00 UTC.
    const NOW: Millis = 20_458 * DAY + 10 * HOUR;
    const MIDNIGHT: Millis = 20_458 * DAY;

    fn rule(prefix: &str, days: i32) -> ExpiryRule {
        ExpiryRule { prefix: prefix.to_owned(), days }
    }

    fn counted(rules: Vec<ExpiryRule>, objects: &[(&str, u64, Millis)]) -> StorageView {
        let mut tally = Tally::new(NOW, Lifecycle { rules, others: 0 });
        for &(key, bytes, age) in objects {
            tally.add(&ListedObject { key: key.to_owned(), bytes, modified_at: NOW - age });
        }
        tally.report(None, None)
    }

    fn group(objects: u64, bytes: u64) -> ObjectTotals {
        ObjectTotals { objects, bytes }
    }

    #[test]
    fn a_key_says_what_an_object_is() {
        for (key, kind) in [
            ("outputs/image/k/1/0.png", ObjectKind::Images),
            ("outputs/video/k/1/0.mp4", ObjectKind::Videos),
            ("outputs/text/k/1/0.txt", ObjectKind::Texts),
            ("outputs/hologram/k/1/0.x", ObjectKind::Other),
            ("outputs/image", ObjectKind::Other),
            ("inputs/image/h.png", ObjectKind::Inputs),
            ("plans/run-1.json", ObjectKind::Plans),
            ("runs/run-1/manifest.json", ObjectKind::Runs),
            ("runs", ObjectKind::Other),
            ("runsaway/x", ObjectKind::Other),
            ("notes.txt", ObjectKind::Other),
            ("", ObjectKind::Other),
        ] {
            assert_eq!(kind_of(key), kind, "{key}");
        }
    }

    #[test]
    fn every_edge_of_an_age() {
        for (age, place) in [
            (-HOUR, 0),
            (0, 0),
            (DAY - 1, 0),
            (DAY, 1),
            (3 * DAY - 1, 1),
            (3 * DAY, 2),
            (7 * DAY - 1, 2),
            (7 * DAY, 3),
            (30 * DAY - 1, 3),
            (30 * DAY, 4),
            (4_000 * DAY, 4),
        ] {
            let inventory = counted(vec![], &[("plans/p", 5, age)]);
            let ages = inventory.kinds[0].ages;
            assert_eq!(ages.iter().position(|group| *group == group_of(5)), Some(place), "{age}");
            assert_eq!(ages.iter().map(|group| group.objects).sum::<u64>(), 1, "{age}");
        }
    }

    fn group_of(bytes: u64) -> ObjectTotals {
        group(1, bytes)
    }

    #[test]
    fn kinds_and_ages_add_up_to_the_whole() {
        let inventory = counted(
            vec![],
            &[
                ("outputs/image/a/1/0.png", 10, 0),
                ("outputs/image/b/1/0.png", 20, 2 * DAY),
                ("outputs/video/c/1/0.mp4", 300, 0),
                ("runs/r/request.json", 1, 40 * DAY),
                ("stray", 0, 0),
            ],
        );
        let kinds: Vec<_> = inventory.kinds.iter().map(|usage| (usage.kind, usage.all)).collect();
        let expected = [
            (ObjectKind::Images, group(2, 30)),
            (ObjectKind::Videos, group(1, 300)),
            (ObjectKind::Runs, group(1, 1)),
            (ObjectKind::Other, group(1, 0)),
        ];
        assert_eq!(kinds, expected, "in a steady order, and only what there is");
        assert_eq!((inventory.all, inventory.lasting, inventory.next.len()), (group(5, 331), group(5, 331), 0));
    }

    #[test]
    fn what_goes_next_is_by_midnight_and_by_the_first_rule_that_takes_it() {
        let rules = vec![rule("outputs/", 7), rule("", 10)];
        let inventory = counted(
            rules,
            &[
                // Since 00:00 exactly, so at the midnight seven days later; since 10:00, at the next one.
                ("outputs/image/a/1/0.png", 1, 10 * HOUR),
                ("outputs/image/b/1/0.png", 2, 0),
                ("outputs/image/c/1/0.png", 4, 0),
                // Only the rule for all takes it.
                ("runs/r/request.json", 8, 0),
                // Due at the last midnight, and long ago.
                ("outputs/text/d/1/0.txt", 16, 7 * DAY + 10 * HOUR),
                ("outputs/text/e/1/0.txt", 32, 90 * DAY),
            ],
        );
        let next: Vec<_> = inventory.next.iter().map(|expiry| (expiry.at - MIDNIGHT, expiry.group)).collect();
        assert_eq!(next, [(0, group(2, 48)), (7 * DAY, group(1, 1)), (8 * DAY, group(2, 6)), (11 * DAY, group(1, 8))]);
        assert_eq!(inventory.lasting, ObjectTotals::default());
    }

    #[test]
    fn without_a_rule_for_it_an_object_lasts() {
        let rules = vec![rule("outputs/", 7)];
        let inventory = counted(rules, &[("plans/p", 3, 0), ("outputs/text/a/1/0.txt", 4, 0), ("x", 5, 0)]);
        assert_eq!((inventory.lasting, inventory.next.len()), (group(2, 8), 1));
    }
}
