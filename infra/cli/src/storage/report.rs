//! What the stack's bucket holds, by kind and by age, what its lifecycle takes next, and how full it is. It is counted object
//! by object from a listing: the bucket is the truth, whatever the ledger says.

use std::collections::BTreeMap;

use fresco_engine::platform::Platform;
use fresco_engine::{Group, Stored};
use fresco_ledger::traits::{Clock, ListedObject, Objects, UsageCounter};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::time::Millis;
use serde::Serialize;

use super::StackAdmin;
use crate::stack::lifecycle::rule::{Rule, ends_at};
use crate::stack::lifecycle::rules_of;

const DAY: Millis = 86_400_000;
/// Where one age ends and the next begins, in days. Outputs live for seven by default and for sixty at most, the rest for 30
/// and 90.
pub const AGE_EDGES: [u32; 4] = [1, 3, 7, 30];
/// One more than the edges.
pub const AGES: usize = AGE_EDGES.len() + 1;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An output that is an image.
    Images,
    /// An output that is a video.
    Videos,
    /// An output that is a text.
    Texts,
    /// Media that were given with a run.
    Inputs,
    /// Plans.
    Plans,
    /// Requests and manifests.
    Runs,
    /// Whatever else there is.
    Other,
}

impl Kind {
    /// By the object's key.
    pub fn of(key: &str) -> Self {
        let mut parts = key.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("outputs"), Some("image"), Some(_)) => Self::Images,
            (Some("outputs"), Some("video"), Some(_)) => Self::Videos,
            (Some("outputs"), Some("text"), Some(_)) => Self::Texts,
            (Some("inputs"), Some(_), _) => Self::Inputs,
            (Some("plans"), Some(_), _) => Self::Plans,
            (Some("runs"), Some(_), _) => Self::Runs,
            _ => Self::Other,
        }
    }
}

/// What there is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindUsage {
    /// The kind.
    pub kind: Kind,
    /// All of it.
    #[serde(flatten)]
    pub all: Group,
    /// The same by age, youngest first, in the bounds of [`AGE_EDGES`].
    pub ages: [Group; AGES],
}

/// What the lifecycle takes at one midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// That midnight; one that has passed is of what is due.
    pub at: Millis,
    /// What goes.
    #[serde(flatten)]
    pub group: Group,
}

/// The stack's limit on what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limit {
    /// Bytes that there may be.
    pub most: u64,
    /// How much of that the bucket holds, in percent.
    pub percent: f64,
    /// Bytes by the stack's own account, which decides whether something new is generated. It is measured every quarter of an
    /// hour and carried on in between.
    pub counted: u64,
    /// Whether nothing new is generated.
    pub full: bool,
}

/// What the bucket holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inventory {
    /// When it was looked at.
    pub at: Millis,
    /// All of it.
    #[serde(flatten)]
    pub all: Group,
    /// The bounds of the ages, in days.
    pub age_edges: [u32; AGE_EDGES.len()],
    /// The kinds that there are.
    pub kinds: Vec<KindUsage>,
    /// What goes, the soonest first.
    pub next: Vec<Expiry>,
    /// What no rule takes.
    pub lasting: Group,
    /// Rules in force that go by more than a prefix and days. What they take is not foretold.
    pub unforeseen_rules: usize,
    /// The limit, if there is one.
    pub limit: Option<Limit>,
}

/// Counts objects.
struct Tally {
    now: Millis,
    rules: Vec<Rule>,
    all: Group,
    kinds: BTreeMap<Kind, [Group; AGES]>,
    next: BTreeMap<Millis, Group>,
    lasting: Group,
}

impl Tally {
    fn new(now: Millis, rules: Vec<Rule>) -> Self {
        let none = Group::default();
        Self { now, rules, all: none, kinds: BTreeMap::new(), next: BTreeMap::new(), lasting: none }
    }

    fn add(&mut self, object: &ListedObject) {
        add(&mut self.all, object.bytes);
        let ages = self.kinds.entry(Kind::of(&object.key)).or_default();
        // An object from the future, by a clock that is off, is as young as can be.
        let days = (self.now - object.modified_at).max(0) / DAY;
        let age = AGE_EDGES.iter().filter(|&&edge| days >= Millis::from(edge)).count();
        if let Some(group) = ages.get_mut(age) {
            add(group, object.bytes);
        }
        let rules = self.rules.iter().filter(|rule| object.key.starts_with(&rule.prefix));
        // Where several rules hold, the one that takes the object first does.
        match rules.filter_map(Rule::expire_after).min() {
            // What is due goes as one, whenever it became so.
            Some(days) => {
                let at = ends_at(object.modified_at, days).max(self.now - self.now.rem_euclid(DAY));
                add(self.next.entry(at).or_default(), object.bytes);
            }
            None => add(&mut self.lasting, object.bytes),
        }
    }

    fn done(self, unforeseen_rules: usize, limit: Option<Limit>) -> Inventory {
        let kinds = self.kinds.into_iter().map(|(kind, ages)| {
            let all = ages.iter().fold(Group::default(), |sum, group| Group {
                objects: sum.objects + group.objects,
                bytes: sum.bytes + group.bytes,
            });
            KindUsage { kind, all, ages }
        });
        Inventory {
            at: self.now,
            all: self.all,
            age_edges: AGE_EDGES,
            kinds: kinds.collect(),
            next: self.next.into_iter().map(|(at, group)| Expiry { at, group }).collect(),
            lasting: self.lasting,
            unforeseen_rules,
            limit,
        }
    }
}

fn add(group: &mut Group, bytes: u64) {
    group.objects += 1;
    group.bytes += bytes;
}

impl StackAdmin {
    /// Counts what the stack's bucket holds. `progress` hears after each page how many objects it has been so far.
    pub async fn inventory(&self, progress: impl Fn(u64)) -> Result<Inventory, Failure> {
        let platform = &self.engine.platform;
        let found = rules_of(&self.s3, platform.objects().bucket()).await;
        let found = found.map_err(|error| Failure::new(ErrorName::StorageUnavailable, error.to_string()))?;
        let read: Vec<Option<Rule>> = found.iter().map(Rule::found).collect();
        let in_force = |rule: &&aws_sdk_s3::types::LifecycleRule| {
            *rule.status() == aws_sdk_s3::types::ExpirationStatus::Enabled && rule.expiration().is_some()
        };
        let unforeseen = found.iter().zip(&read).filter(|(rule, read)| read.is_none() && in_force(rule)).count();
        let mut tally = Tally::new(platform.clock().now(), read.into_iter().flatten().collect());
        let mut after = String::new();
        loop {
            let page = platform.objects().list("", &after).await.map_err(|error| error.0)?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            page.iter().for_each(|object| tally.add(object));
            progress(tally.all.objects);
        }
        let limit = match self.engine.settings.max_stored_bytes {
            None => None,
            Some(most) => {
                let counted = platform.ledger().usage().await.map_err(|error| error.0)?.estimate();
                let percent = Stored { bytes: tally.all.bytes, most }.percent();
                Some(Limit { most, percent, counted, full: Stored { bytes: counted, most }.is_full() })
            }
        };
        Ok(tally.done(unforeseen, limit))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter};

    use super::*;

    const HOUR: Millis = 3_600_000;
    /// 2026-01-05 10:00 UTC.
    const NOW: Millis = 20_458 * DAY + 10 * HOUR;
    const MIDNIGHT: Millis = 20_458 * DAY;

    fn rule(prefix: &str, days: i32, enabled: bool) -> Rule {
        let status = if enabled { ExpirationStatus::Enabled } else { ExpirationStatus::Disabled };
        let rule = LifecycleRule::builder()
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(LifecycleExpiration::builder().days(days).build());
        Rule::found(&rule.build().unwrap()).unwrap()
    }

    fn counted(rules: Vec<Rule>, objects: &[(&str, u64, Millis)]) -> Inventory {
        let mut tally = Tally::new(NOW, rules);
        for &(key, bytes, age) in objects {
            tally.add(&ListedObject { key: key.to_owned(), bytes, modified_at: NOW - age });
        }
        tally.done(0, None)
    }

    fn group(objects: u64, bytes: u64) -> Group {
        Group { objects, bytes }
    }

    #[test]
    fn a_key_says_what_an_object_is() {
        for (key, kind) in [
            ("outputs/image/k/1/0.png", Kind::Images),
            ("outputs/video/k/1/0.mp4", Kind::Videos),
            ("outputs/text/k/1/0.txt", Kind::Texts),
            ("outputs/hologram/k/1/0.x", Kind::Other),
            ("outputs/image", Kind::Other),
            ("inputs/image/h.png", Kind::Inputs),
            ("plans/run-1.json", Kind::Plans),
            ("runs/run-1/manifest.json", Kind::Runs),
            ("runs", Kind::Other),
            ("runsaway/x", Kind::Other),
            ("notes.txt", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(key), kind, "{key}");
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

    fn group_of(bytes: u64) -> Group {
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
            (Kind::Images, group(2, 30)),
            (Kind::Videos, group(1, 300)),
            (Kind::Runs, group(1, 1)),
            (Kind::Other, group(1, 0)),
        ];
        assert_eq!(kinds, expected, "in a steady order, and only what there is");
        assert_eq!((inventory.all, inventory.lasting, inventory.next.len()), (group(5, 331), group(5, 331), 0));
    }

    #[test]
    fn what_goes_next_is_by_midnight_and_by_the_first_rule_that_takes_it() {
        let rules = vec![rule("outputs/", 7, true), rule("", 10, true), rule("outputs/image/", 1, false)];
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
        assert_eq!(inventory.lasting, Group::default());
    }

    #[test]
    fn without_a_rule_for_it_an_object_lasts() {
        let rules = vec![rule("outputs/", 7, true), rule("plans/", 3, false)];
        let inventory = counted(rules, &[("plans/p", 3, 0), ("outputs/text/a/1/0.txt", 4, 0), ("x", 5, 0)]);
        assert_eq!((inventory.lasting, inventory.next.len()), (group(2, 8), 1));
    }
}
