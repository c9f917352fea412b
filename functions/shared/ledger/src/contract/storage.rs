//! The usage of the bucket.

use crate::traits::{Pass, Usage, UsageCounter};

pub async fn usage_is_zero_at_first(store: &impl UsageCounter) {
    assert_eq!(store.usage().await.unwrap(), Usage::default());
    store.add_usage(5).await.unwrap();
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.since, usage.estimate(), usage.measured_at), (5, 5, None));
}

pub async fn usage_added_during_a_measurement_stays(store: &impl UsageCounter) {
    store.add_usage(100).await.unwrap();
    let started = Pass { since: 100, after: "outputs/a".to_owned(), bytes: 40, objects: 2 };
    let usage = Usage { pass: Some(started.clone()), ..store.usage().await.unwrap() };
    assert!(store.measure(&usage, 0).await.unwrap());
    store.add_usage(7).await.unwrap();
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.pass.as_ref(), usage.since, usage.rev), (Some(&started), 107, 1));
    let done = Usage { bytes: 90, objects: 3, measured_at: Some(1_000), pass: None, ..usage };
    assert!(store.measure(&done, 100).await.unwrap());
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.bytes, usage.objects, usage.since, usage.estimate()), (90, 3, 7, 97));
    assert_eq!((usage.measured_at, usage.pass, usage.rev), (Some(1_000), None, 2));
    store.add_usage(-97).await.unwrap();
    assert_eq!(store.usage().await.unwrap().estimate(), 0);
}

/// The other is refused.
pub async fn one_of_two_measurements_counts(store: &impl UsageCounter) {
    let read = store.usage().await.unwrap();
    assert!(store.measure(&Usage { bytes: 1, ..read.clone() }, 0).await.unwrap());
    assert!(!store.measure(&Usage { bytes: 2, ..read }, 0).await.unwrap());
    assert_eq!(store.usage().await.unwrap().bytes, 1);
}
