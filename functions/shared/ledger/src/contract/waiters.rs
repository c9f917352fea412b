//! Waiters.

use fresco_pipeline::ids::Attempt;

use super::sample::{NOW, attempt, creation, key, step_id, wait};
use crate::records::{StepId, Waiter};
use crate::traits::{Change, Entries, Wait, Waiters};

/// A nudge replaces the token; the joined attempt and the time of the first call stay.
pub async fn waiting_again_overwrites_the_token_only(store: &impl Waiters) {
    let who = step_id("one", "image");
    let first = store.put_waiter(&key("a"), &wait(&who, "token 1", 3, NOW)).await.unwrap();
    let expected = Waiter {
        step_id: who.clone(),
        token: "token 1".to_owned(),
        joined: Attempt::NONE,
        base: Attempt(3),
        since: NOW,
        running_since: None,
        timeout_ms: 30_000,
    };
    assert_eq!(first, expected);

    store.record_join(&key("a"), &who, Attempt(4)).await.unwrap();
    store.record_running(&key("a"), &who, NOW + 1).await.unwrap();
    let nudged = Wait { timeout_ms: 40_000, ..wait(&who, "token 2", 9, NOW + 5_000) };
    let expected = Waiter {
        token: "token 2".to_owned(),
        joined: Attempt(4),
        running_since: Some(NOW + 1),
        timeout_ms: 40_000,
        ..expected
    };
    assert_eq!(store.put_waiter(&key("a"), &nudged).await.unwrap(), expected);
    assert_eq!(store.waiters(&key("a")).await.unwrap(), [expected]);
}

/// Recorded on an existing waiter only; the first time that the provider was seen running stays.
pub async fn joining_and_running_are_recorded(store: &impl Waiters) {
    let who = step_id("one", "image");
    store.record_join(&key("a"), &who, Attempt(1)).await.unwrap();
    store.record_running(&key("a"), &who, NOW).await.unwrap();
    assert_eq!(store.waiters(&key("a")).await.unwrap(), []);

    store.put_waiter(&key("a"), &wait(&who, "token", 0, NOW)).await.unwrap();
    store.record_join(&key("a"), &who, Attempt(1)).await.unwrap();
    store.record_join(&key("a"), &who, Attempt(2)).await.unwrap();
    store.record_running(&key("a"), &who, NOW + 10).await.unwrap();
    store.record_running(&key("a"), &who, NOW + 20).await.unwrap();
    let waiters = store.waiters(&key("a")).await.unwrap();
    assert_eq!((waiters[0].joined, waiters[0].running_since), (Attempt(2), Some(NOW + 10)));

    // The job of another attempt has its own time.
    store.record_join(&key("a"), &who, Attempt(3)).await.unwrap();
    let waiters = store.waiters(&key("a")).await.unwrap();
    assert_eq!((waiters[0].joined, waiters[0].running_since), (Attempt(3), None));
    store.record_running(&key("a"), &who, NOW + 30).await.unwrap();
    assert_eq!(store.waiters(&key("a")).await.unwrap()[0].running_since, Some(NOW + 30));
}

/// All steps of all runs that wait for it, without other items and the waiters of other entries.
pub async fn every_waiter_of_the_entry_and_no_other(store: &(impl Entries + Waiters)) {
    store.commit(&Change { attempt: Some(attempt("a", 1, "one")), ..creation("a") }).await.unwrap();
    let steps = [("one", "image"), ("one", "image-2"), ("one", "7-image"), ("two", "image"), ("two", "_x")];
    let mut askers: Vec<StepId> = steps.iter().map(|(run, step)| step_id(run, step)).collect();
    for who in &askers {
        store.put_waiter(&key("a"), &wait(who, &who.step.to_string(), 0, NOW)).await.unwrap();
    }
    store.put_waiter(&key("b"), &wait(&step_id("one", "other"), "token", 0, NOW)).await.unwrap();
    let mut found: Vec<_> = store.waiters(&key("a")).await.unwrap().into_iter().map(|waiter| waiter.step_id).collect();
    found.sort();
    askers.sort();
    assert_eq!(found, askers);
    assert_eq!(store.waiters(&key("b")).await.unwrap().len(), 1);
    assert_eq!(store.waiters(&key("c")).await.unwrap(), []);
}

/// A notification of an old token must not delete the waiter of the new one.
pub async fn only_the_latest_token_ends_a_wait(store: &impl Waiters) {
    let who = step_id("one", "image");
    assert!(!store.delete_waiter_if(&key("a"), &who, "token 1").await.unwrap());
    store.put_waiter(&key("a"), &wait(&who, "token 1", 0, NOW)).await.unwrap();
    store.put_waiter(&key("a"), &wait(&who, "token 2", 0, NOW)).await.unwrap();
    assert!(!store.delete_waiter_if(&key("a"), &who, "token 1").await.unwrap());
    assert_eq!(store.waiters(&key("a")).await.unwrap().len(), 1);
    assert!(store.delete_waiter_if(&key("a"), &who, "token 2").await.unwrap());
    assert!(!store.delete_waiter_if(&key("a"), &who, "token 2").await.unwrap());
    assert_eq!(store.waiters(&key("a")).await.unwrap(), []);
    // A step that waits again starts over.
    let again = store.put_waiter(&key("a"), &wait(&who, "token 3", 5, NOW + 7)).await.unwrap();
    assert_eq!((again.joined, again.base, again.since), (Attempt::NONE, Attempt(5), NOW + 7));
}

/// Idempotent.
pub async fn a_waiter_of_any_token_is_deleted(store: &(impl Entries + Waiters)) {
    let (who, other) = (step_id("one", "image"), step_id("two", "image"));
    for step_id in [&who, &other] {
        store.put_waiter(&key("a"), &wait(step_id, "token", 0, NOW)).await.unwrap();
    }
    store.delete_waiter(&key("a"), &who).await.unwrap();
    store.delete_waiter(&key("a"), &who).await.unwrap();
    let left = store.waiters(&key("a")).await.unwrap();
    assert_eq!(left.iter().map(|waiter| &waiter.step_id).collect::<Vec<_>>(), [&other]);
}
