//! What happens to one step.

use super::sample::{NOW, failure, key, ready, run, run_id, step, step_id};
use crate::records::{ResultSource, StepId, StepRecord, StepState};
use crate::traits::Runs;

/// A run with one step that waits.
async fn planned(store: &impl Runs) -> (StepId, StepRecord) {
    store.create_run(&run("one", 100)).await.unwrap();
    let record = step("one", "image", 0);
    store.plan_run(&run_id("one"), "a pipeline", std::slice::from_ref(&record), NOW).await.unwrap();
    (step_id("one", "image"), record)
}

/// The key of a step that reads others is known later than the step.
pub async fn a_key_is_noted(store: &impl Runs) {
    store.create_run(&run("one", 100)).await.unwrap();
    let record = StepRecord { key: None, ..step("one", "image", 0) };
    store.plan_run(&run_id("one"), "a pipeline", std::slice::from_ref(&record), NOW).await.unwrap();
    let who = step_id("one", "image");
    assert_eq!(store.step(&who).await.unwrap().as_ref(), Some(&record));
    store.record_key(&who, &key("known")).await.unwrap();
    assert_eq!(store.step(&who).await.unwrap(), Some(StepRecord { key: Some(key("known")), ..record }));
    store.record_key(&step_id("one", "other"), &key("known")).await.unwrap();
    assert_eq!(store.step(&step_id("one", "other")).await.unwrap(), None);
}

/// The steps of a chunk's rows have the same names.
pub async fn every_row_has_steps_of_its_own(store: &impl Runs) {
    store.create_run(&run("one", 100)).await.unwrap();
    let steps = [step("one", "image", 0), step("one", "7-image", 1), step("one", "10-image", 2)];
    store.plan_run(&run_id("one"), "a pipeline", &steps, NOW).await.unwrap();
    assert_eq!(store.steps(&run_id("one")).await.unwrap(), steps);
    store.pin(&step_id("one", "7-image"), &ready(1), ResultSource::Hit, NOW).await.unwrap();
    let found = store.steps(&run_id("one")).await.unwrap();
    let found: Vec<_> = found.iter().map(|step| (step.plan.row, step.plan.name.as_str(), step.state)).collect();
    let (waiting, done) = (StepState::Waiting, StepState::Done);
    assert_eq!(found, [(None, "image", waiting), (Some(7), "image", done), (Some(10), "image", waiting)]);
}

/// Every call counts; the first one is noted and moves a waiting step on, and no other.
pub async fn beginning_counts_and_notes_the_first(store: &impl Runs) {
    let (who, record) = planned(store).await;
    let first = StepRecord { state: StepState::Running, started_at: Some(NOW + 1), calls: 1, ..record };
    assert_eq!(store.start_step(&who, NOW + 1).await.unwrap().as_ref(), Some(&first));
    let second = StepRecord { calls: 2, ..first };
    assert_eq!(store.start_step(&who, NOW + 2).await.unwrap().as_ref(), Some(&second));
    assert_eq!(store.step(&who).await.unwrap().as_ref(), Some(&second));

    store.fail_step(&who, &failure("no"), NOW + 3).await.unwrap();
    let failed = StepRecord {
        state: StepState::Failed,
        failure: Some(failure("no")),
        ended_at: Some(NOW + 3),
        calls: 3,
        ..second
    };
    assert_eq!(store.start_step(&who, NOW + 4).await.unwrap(), Some(failed));
}

/// Later notes overwrite, but not that the step generated; a step that is decided is not noted any more.
pub async fn a_source_is_noted_until_the_step_is_decided(store: &impl Runs) {
    let (who, record) = planned(store).await;
    let source = async || store.step(&who).await.unwrap().unwrap().source;
    store.record_source(&who, ResultSource::Hit).await.unwrap();
    assert_eq!(store.step(&who).await.unwrap(), Some(StepRecord { source: Some(ResultSource::Hit), ..record }));
    store.start_step(&who, NOW).await.unwrap();
    store.record_source(&who, ResultSource::Joined).await.unwrap();
    assert_eq!(source().await, Some(ResultSource::Joined));
    store.record_source(&who, ResultSource::Generated).await.unwrap();
    store.record_source(&who, ResultSource::Hit).await.unwrap();
    assert_eq!(source().await, Some(ResultSource::Generated));

    let steps = [step("two", "failed", 0), step("two", "done", 1)];
    store.create_run(&run("two", 100)).await.unwrap();
    store.plan_run(&run_id("two"), "a pipeline", &steps, NOW).await.unwrap();
    let (failed, done) = (step_id("two", "failed"), step_id("two", "done"));
    store.fail_step(&failed, &failure("no"), NOW).await.unwrap();
    store.record_source(&failed, ResultSource::Hit).await.unwrap();
    assert_eq!(store.step(&failed).await.unwrap().unwrap().source, None);
    store.pin(&done, &ready(1), ResultSource::Hit, NOW).await.unwrap();
    store.record_source(&done, ResultSource::Generated).await.unwrap();
    assert_eq!(store.step(&done).await.unwrap().unwrap().source, Some(ResultSource::Hit));
}

/// Keys downstream are made of it.
pub async fn the_first_pin_stays(store: &impl Runs) {
    let (who, record) = planned(store).await;
    store.record_source(&who, ResultSource::Generated).await.unwrap();
    let pinned = StepRecord {
        state: StepState::Done,
        source: Some(ResultSource::Generated),
        pinned: Some(ready(1)),
        ended_at: Some(NOW + 1),
        ..record
    };
    assert_eq!(store.pin(&who, &ready(1), ResultSource::Hit, NOW + 1).await.unwrap().as_ref(), Some(&pinned));
    assert_eq!(store.pin(&who, &ready(2), ResultSource::Joined, NOW + 2).await.unwrap().as_ref(), Some(&pinned));
    assert_eq!(store.step(&who).await.unwrap().as_ref(), Some(&pinned));
    let called = StepRecord { calls: 1, started_at: Some(NOW + 3), ..pinned };
    assert_eq!(store.start_step(&who, NOW + 3).await.unwrap(), Some(called));
}

/// A failed step whose result comes later is done; a step that is done does not fail.
pub async fn a_result_outweighs_a_failure(store: &impl Runs) {
    let (who, record) = planned(store).await;
    store.fail_step(&who, &failure("too slow"), NOW + 1).await.unwrap();
    let done = StepRecord {
        state: StepState::Done,
        source: Some(ResultSource::Joined),
        pinned: Some(ready(1)),
        ended_at: Some(NOW + 2),
        ..record
    };
    assert_eq!(store.pin(&who, &ready(1), ResultSource::Joined, NOW + 2).await.unwrap().as_ref(), Some(&done));
    store.fail_step(&who, &failure("too slow again"), NOW + 3).await.unwrap();
    assert_eq!(store.step(&who).await.unwrap(), Some(done));
}

/// Later failures are consequences.
pub async fn the_first_failure_stays(store: &impl Runs) {
    let (who, record) = planned(store).await;
    store.fail_step(&who, &failure("first"), NOW + 1).await.unwrap();
    store.fail_step(&who, &failure("second"), NOW + 2).await.unwrap();
    let failed =
        StepRecord { state: StepState::Failed, failure: Some(failure("first")), ended_at: Some(NOW + 1), ..record };
    assert_eq!(store.step(&who).await.unwrap(), Some(failed));
}

/// Nothing makes a step but its plan.
pub async fn a_step_that_is_missing_stays_missing(store: &impl Runs) {
    let who = step_id("none", "image");
    assert_eq!(store.start_step(&who, NOW).await.unwrap(), None);
    store.record_source(&who, ResultSource::Hit).await.unwrap();
    assert_eq!(store.pin(&who, &ready(1), ResultSource::Hit, NOW).await.unwrap(), None);
    store.fail_step(&who, &failure("no"), NOW).await.unwrap();
    assert_eq!(store.step(&who).await.unwrap(), None);
    assert_eq!(store.steps(&who.run).await.unwrap(), []);
}
