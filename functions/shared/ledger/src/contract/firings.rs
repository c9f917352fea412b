//! The last firings of schedules.

use fresco_pipeline::ids::RunId;

use super::sample::{NOW, failure};
use crate::traits::{Firing, FiringOutcome, Firings};

/// A later firing stays; the same one may be recorded again, with its outcome.
pub async fn the_latest_firing_stays(store: &impl Firings) {
    let schedule = "schedules/a \u{1f98a} of/mine #1.yaml";
    assert_eq!(store.last_firing(schedule).await.unwrap(), None);
    let run = Some(RunId::parse("once-0123456789").unwrap());
    let started = Firing { at: NOW, outcome: FiringOutcome::Started, run: run.clone() };
    assert!(store.record_firing(schedule, &started).await.unwrap());
    assert_eq!(store.last_firing(schedule).await.unwrap(), Some(started.clone()));
    let failed = Firing { outcome: FiringOutcome::Failed { failure: failure("no pipeline") }, ..started.clone() };
    assert!(store.record_firing(schedule, &failed).await.unwrap());
    let before = Firing { at: NOW - 1, outcome: FiringOutcome::Skipped, run };
    assert!(!store.record_firing(schedule, &before).await.unwrap());
    assert_eq!(store.last_firing(schedule).await.unwrap(), Some(failed));
    assert_eq!(store.last_firing("schedules/other.yaml").await.unwrap(), None);
}
