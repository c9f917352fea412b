//! Entries, attempts, reports and jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey};
use futures::future::join_all;

use super::sample::{NOW, attempt, creation, failure, full_entry, key};
use crate::records::{AttemptState, Entry, Fetching, HoldState, Millis};
use crate::traits::{Change, CommitError, Entries, JobOwner};

/// Every field is read back, `rev` counts the writes, and a removed part is gone.
pub async fn an_entry_is_what_was_committed(store: &impl Entries) {
    assert_eq!(store.entry(&key("a")).await.unwrap(), None);
    let mut entry = full_entry("a");
    store.commit(&Change::of(entry.clone())).await.unwrap();
    entry.rev = 1;
    assert_eq!(store.entry(&key("a")).await.unwrap(), Some(entry));

    let mut empty = Entry::new(key("a"));
    empty.rev = 1;
    store.commit(&Change::of(empty.clone())).await.unwrap();
    empty.rev = 2;
    assert_eq!(store.entry(&key("a")).await.unwrap(), Some(empty));
    assert_eq!(store.entry(&key("b")).await.unwrap(), None);
}

/// A write is conditional on the revision that was read, of an existing entry and of a missing one.
pub async fn a_commit_needs_the_revision_it_read(store: &impl Entries) {
    let mut unseen = Entry::new(key("a"));
    unseen.rev = 1;
    assert_eq!(store.commit(&Change::of(unseen)).await, Err(CommitError::Conflict));
    assert_eq!(store.entry(&key("a")).await.unwrap(), None);

    store.commit(&creation("a")).await.unwrap();
    assert_eq!(store.commit(&creation("a")).await, Err(CommitError::Conflict));

    let read = store.entry(&key("a")).await.unwrap().unwrap();
    let first = Entry { tries: 1, ..read.clone() };
    let second = Entry { tries: 2, ..read };
    store.commit(&Change::of(first)).await.unwrap();
    assert_eq!(store.commit(&Change::of(second)).await, Err(CommitError::Conflict));
    let now = store.entry(&key("a")).await.unwrap().unwrap();
    assert_eq!((now.rev, now.tries), (2, 1));
}

/// Of concurrent creations of an entry, one succeeds.
pub async fn one_of_many_creators_wins(store: &impl Entries) {
    let creations: Vec<Change> = (1..=20).map(|tries| Change::of(Entry { tries, ..Entry::new(key("a")) })).collect();
    let outcomes = join_all(creations.iter().map(|change| store.commit(change))).await;
    let won: Vec<&Change> =
        creations.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(change, _)| change).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(CommitError::Conflict)).count(), 19);
    let entry = store.entry(&key("a")).await.unwrap().unwrap();
    assert_eq!((entry.rev, entry.tries), (1, won[0].entry.tries));
}

/// Every field is read back, and a later commit overwrites the record.
pub async fn an_attempt_is_what_was_committed(store: &impl Entries) {
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap(), None);
    let mut record = attempt("a", 1, "one");
    store.commit(&Change { attempt: Some(record.clone()), ..creation("a") }).await.unwrap();
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap().as_ref(), Some(&record));

    record.state = AttemptState::Won;
    record.hold.state = HoldState::Settled(record.hold.amount);
    record.request_id = None;
    record.fetching = Some(Fetching {
        since: NOW,
        until: NOW + 9,
        tries: 2,
        next_at: NOW + 5,
        invalid_since: Some(NOW + 1),
        failure: failure("not there"),
        again: true,
    });
    commit_attempt(store, &record).await;
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap().as_ref(), Some(&record));
    assert_eq!(store.attempt(&key("a"), Attempt(2)).await.unwrap(), None);
    assert_eq!(store.attempt(&key("b"), Attempt(1)).await.unwrap(), None);
}

async fn commit_attempt(store: &impl Entries, record: &crate::records::AttemptRecord) {
    let entry = store.entry(&record.key).await.unwrap().unwrap();
    store.commit(&Change { attempt: Some(record.clone()), ..Change::of(entry) }).await.unwrap();
}

/// Neither a second report nor a later commit of the attempt changes it; a missing attempt has none.
pub async fn the_first_report_stays(store: &impl Entries) {
    store.record_report(&key("a"), Attempt(1), "{}").await.unwrap();
    assert_eq!(store.report(&key("a"), Attempt(1)).await.unwrap(), None);
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap(), None);

    let mut record = attempt("a", 1, "one");
    store.commit(&Change { attempt: Some(record.clone()), ..creation("a") }).await.unwrap();
    assert_eq!(store.report(&key("a"), Attempt(1)).await.unwrap(), None);
    let first = r#"{"images":[{"url":"https://example.com/1.png"}]}"#;
    store.record_report(&key("a"), Attempt(1), first).await.unwrap();
    store.record_report(&key("a"), Attempt(1), r#"{"images":[]}"#).await.unwrap();
    assert_eq!(store.report(&key("a"), Attempt(1)).await.unwrap().as_deref(), Some(first));
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap().as_ref(), Some(&record));

    record.state = AttemptState::Won;
    commit_attempt(store, &record).await;
    assert_eq!(store.report(&key("a"), Attempt(1)).await.unwrap().as_deref(), Some(first));
    assert_eq!(store.attempt(&key("a"), Attempt(1)).await.unwrap().as_ref(), Some(&record));
    assert_eq!(store.report(&key("a"), Attempt(2)).await.unwrap(), None);
}

/// Registration is idempotent for the same attempt, and refused for another attempt or entry.
pub async fn a_job_belongs_to_one_attempt(store: &impl Entries) {
    let job = |id: &str, attempt| {
        Some(JobOwner { provider: ProviderName::Fal, request_id: id.to_owned(), attempt: Attempt(attempt) })
    };
    assert_eq!(store.job(ProviderName::Fal, "r/1#x").await.unwrap(), None);
    store.commit(&Change { job: job("r/1#x", 1), ..creation("a") }).await.unwrap();
    let owner = Some((key("a"), Attempt(1)));
    assert_eq!(store.job(ProviderName::Fal, "r/1#x").await.unwrap(), owner);

    let entry = store.entry(&key("a")).await.unwrap().unwrap();
    store.commit(&Change { job: job("r/1#x", 1), ..Change::of(entry) }).await.unwrap();

    let entry = store.entry(&key("a")).await.unwrap().unwrap();
    let again = Change { job: job("r/1#x", 2), ..Change::of(entry.clone()) };
    assert_eq!(store.commit(&again).await, Err(CommitError::JobTaken));
    let stolen = Change { job: job("r/1#x", 1), ..creation("b") };
    assert_eq!(store.commit(&stolen).await, Err(CommitError::JobTaken));
    assert_eq!(store.entry(&key("a")).await.unwrap(), Some(entry));
    assert_eq!(store.entry(&key("b")).await.unwrap(), None);
    assert_eq!(store.job(ProviderName::Fal, "r/1#x").await.unwrap(), owner);
    assert_eq!(store.job(ProviderName::Fal, "r/1").await.unwrap(), None);
}

/// More keys than one call takes, some twice, some missing.
pub async fn many_entries_at_once(store: &impl Entries) {
    assert_eq!(store.entries(&[]).await.unwrap().entries, []);
    let names: Vec<String> = (0..230).map(|n| format!("entry {n}")).collect();
    let there: Vec<Change> = names.iter().step_by(2).map(|name| creation(name)).collect();
    for chunk in there.chunks(20) {
        for outcome in join_all(chunk.iter().map(|change| store.commit(change))).await {
            outcome.unwrap();
        }
    }
    let mut keys: Vec<ContentKey> = names.iter().map(|name| key(name)).collect();
    keys.extend(names.iter().take(20).map(|name| key(name)));
    assert_eq!(keys.len(), 250);
    let found = store.entries(&keys).await.unwrap().entries;
    assert_eq!(found.len(), 115);
    let found: BTreeSet<ContentKey> = found.into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, there.into_iter().map(|change| change.entry.key).collect());
}

/// The longest due first, and only entries that are due now.
pub async fn due_entries_in_order(store: &impl Entries) {
    assert_eq!(store.entries_to_check(NOW, 10).await.unwrap(), []);
    let due: [(&str, Option<Millis>); 5] = [
        ("third", Some(NOW)),
        ("first", Some(NOW - 9)),
        ("later", Some(NOW + 1)),
        ("never", None),
        ("second", Some(7)),
    ];
    for (name, due) in due {
        store.commit(&Change::of(Entry { next_check_at: due, ..Entry::new(key(name)) })).await.unwrap();
    }
    let keys = |names: &[&str]| names.iter().map(|name| key(name)).collect::<Vec<_>>();
    until_due(store, NOW, 10, &keys(&["second", "first", "third"])).await;
    until_due(store, NOW, 2, &keys(&["second", "first"])).await;
    until_due(store, NOW - 1, 10, &keys(&["second", "first"])).await;
    until_due(store, NOW, 0, &[]).await;

    let done = store.entry(&key("first")).await.unwrap().unwrap();
    store.commit(&Change::of(Entry { next_check_at: None, ..done })).await.unwrap();
    let moved = store.entry(&key("second")).await.unwrap().unwrap();
    store.commit(&Change::of(Entry { next_check_at: Some(NOW + 5), ..moved })).await.unwrap();
    until_due(store, NOW, 10, &keys(&["third"])).await;
    until_due(store, NOW + 5, 10, &keys(&["third", "later", "second"])).await;
}

/// Waits for the index, which may lag, for at most five seconds.
async fn until_due(store: &impl Entries, now: Millis, limit: u32, expected: &[ContentKey]) {
    for _ in 0..100 {
        if store.entries_to_check(now, limit).await.unwrap() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.entries_to_check(now, limit).await.unwrap(), expected);
}
