//! Runs and their plans.

use fresco_pipeline::document::Export;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use fresco_pipeline::time::DAY;
use serde_json::Value;

use super::sample::{NOW, failure, ready, run, run_id, step, step_id};
use crate::records::{ResultSource, RunRecord, RunStatus, StepRecord};
use crate::traits::{ListPosition, Runs};

/// Every part comes back.
pub async fn a_run_is_what_was_created(store: &impl Runs) {
    assert_eq!(store.run(&run_id("one")).await.unwrap(), None);
    let full = RunRecord {
        status: RunStatus::Failed,
        stop: true,
        fail_fast: false,
        export: Some(Export::parse("s3://a-bucket/of/mine").unwrap()),
        remaining: Money::micros(-5),
        held: Money::micros(7),
        settled: Money::micros(9),
        ended_at: Some(NOW + 1),
        bound_at: Some(NOW + 2),
        steps: 3,
        failure: Some(failure("no plan")),
        ..run("one", 0)
    };
    assert!(store.create_run(&full).await.unwrap());
    assert_eq!(store.run(&run_id("one")).await.unwrap(), Some(full));
    assert!(store.create_run(&run("two", 100)).await.unwrap());
    assert_eq!(store.run(&run_id("two")).await.unwrap(), Some(run("two", 100)));
}

/// A second run with the same id is refused, and the first one stays.
pub async fn a_run_is_created_once(store: &impl Runs) {
    assert!(store.create_run(&run("one", 100)).await.unwrap());
    let other = RunRecord { created_at: NOW + 1, ..run("one", 200) };
    assert!(!store.create_run(&other).await.unwrap());
    assert_eq!(store.run(&run_id("one")).await.unwrap(), Some(run("one", 100)));
    assert_eq!(store.list_runs(10, None, NOW).await.unwrap(), [run("one", 100)]);
}

/// Newest first, as many as asked for, across the turn of a month.
pub async fn runs_are_listed_newest_first(store: &impl Runs) {
    assert_eq!(store.list_runs(10, None, NOW).await.unwrap(), []);
    let ages = [("today", 0), ("month", 30 * DAY), ("yesterday", DAY), ("minute", 60_000), ("ancient", 180 * DAY)];
    for (name, age) in ages {
        store.create_run(&RunRecord { created_at: NOW - age, ..run(name, 1) }).await.unwrap();
    }
    let names = |runs: Vec<RunRecord>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    let ids = |names: &[&str]| names.iter().map(|name| run_id(name)).collect::<Vec<_>>();
    let all = names(store.list_runs(10, None, NOW).await.unwrap());
    assert_eq!(all, ids(&["today", "minute", "yesterday", "month"]), "what is older than the list is not in it");
    assert_eq!(names(store.list_runs(2, None, NOW).await.unwrap()), ids(&["today", "minute"]));
    assert_eq!(names(store.list_runs(4, None, NOW).await.unwrap()).len(), 4);
    assert_eq!(store.list_runs(0, None, NOW).await.unwrap(), []);
    // Records are kept for a quarter of a year.
    let later = names(store.list_runs(10, None, NOW + 60 * DAY).await.unwrap());
    assert_eq!(later, ids(&["today", "minute", "yesterday", "month"]));
    // A position that nothing has yet is before the whole list.
    for created_at in [NOW + DAY, 253_402_207_199_999, i64::MAX] {
        let ahead = ListPosition { created_at, run: run_id("today") };
        assert_eq!(names(store.list_runs(10, Some(&ahead), NOW).await.unwrap()), all, "{created_at}");
    }
    // Page by page, wherever a page ends.
    for size in 1..=4 {
        let (mut pages, mut behind) = (Vec::new(), None);
        loop {
            let page = store.list_runs(size, behind.as_ref(), NOW).await.unwrap();
            let Some(last) = page.last() else { break };
            behind = Some(ListPosition { created_at: last.created_at, run: last.id.clone() });
            pages.extend(names(page));
        }
        assert_eq!(pages, all, "{size}");
    }
}

/// Plan may be called twice: steps that have moved on stay as they are.
pub async fn planning_twice_keeps_the_steps(store: &impl Runs) {
    let steps = [step("one", "a", 0), step("one", "b", 1)];
    let refused = store.plan_run(&run_id("one"), "a pipeline", &[], NOW).await.unwrap_err();
    assert_eq!(refused.0.name, ErrorName::RunNotFound);

    store.create_run(&run("one", 100)).await.unwrap();
    store.plan_run(&run_id("one"), "a pipeline", &steps, NOW + 1).await.unwrap();
    let planned = RunRecord { steps: 2, bound_at: Some(NOW + 1), ..run("one", 100) };
    assert_eq!(store.run(&run_id("one")).await.unwrap(), Some(planned));
    assert_eq!(store.steps(&run_id("one")).await.unwrap(), steps);

    let pinned = store.pin(&step_id("one", "a"), &ready(1), ResultSource::Hit, NOW).await.unwrap().unwrap();
    let started = store.start_step(&step_id("one", "b"), NOW).await.unwrap().unwrap();
    store.plan_run(&run_id("one"), "a pipeline", &steps, NOW + 1).await.unwrap();
    assert_eq!(store.steps(&run_id("one")).await.unwrap(), [pinned, started]);
}

/// As many steps as make several pages, by their place in the document and not by their names; of this run only.
pub async fn steps_in_the_order_of_the_document(store: &impl Runs) {
    store.create_run(&run("many", 100)).await.unwrap();
    store.create_run(&run("few", 100)).await.unwrap();
    let mut many: Vec<StepRecord> = (0..400).map(|n| step("many", &format!("step_{n}"), n)).collect();
    for record in &mut many {
        record.plan.params.insert("prompt".to_owned(), Value::from("a long prompt. ".repeat(300)));
    }
    many.rotate_left(123);
    store.plan_run(&run_id("many"), "a pipeline", &many, NOW).await.unwrap();
    store.plan_run(&run_id("few"), "a pipeline", &[step("few", "b", 0), step("few", "a", 1)], NOW).await.unwrap();

    many.sort_by_key(|record| record.plan.index);
    let found = store.steps(&run_id("many")).await.unwrap();
    assert_eq!(found.len(), 400);
    assert!(found == many);
    assert_eq!(store.steps(&run_id("few")).await.unwrap(), [step("few", "b", 0), step("few", "a", 1)]);
    assert_eq!(store.steps(&run_id("none")).await.unwrap(), []);
    assert_eq!(store.step(&step_id("few", "a")).await.unwrap(), Some(step("few", "a", 1)));
    assert_eq!(store.step(&step_id("few", "c")).await.unwrap(), None);
}

/// A run that has ended, or is not there, cannot be stopped.
pub async fn a_run_is_stopped_while_it_runs(store: &impl Runs) {
    assert!(!store.stop_run(&run_id("one")).await.unwrap());
    assert_eq!(store.run(&run_id("one")).await.unwrap(), None);
    store.create_run(&run("one", 100)).await.unwrap();
    assert!(store.stop_run(&run_id("one")).await.unwrap());
    assert!(store.stop_run(&run_id("one")).await.unwrap());
    let stopped = RunRecord { stop: true, ..run("one", 100) };
    assert_eq!(store.run(&run_id("one")).await.unwrap(), Some(stopped));

    store.create_run(&run("two", 100)).await.unwrap();
    store.close_run(&run_id("two"), RunStatus::Succeeded, None, false, NOW).await.unwrap();
    assert!(!store.stop_run(&run_id("two")).await.unwrap());
    assert!(!store.run(&run_id("two")).await.unwrap().unwrap().stop);
}

/// The first to close it says how it ended.
pub async fn a_run_is_closed_once(store: &impl Runs) {
    assert!(!store.close_run(&run_id("one"), RunStatus::Failed, None, false, NOW).await.unwrap());
    assert_eq!(store.run(&run_id("one")).await.unwrap(), None);
    store.create_run(&run("one", 100)).await.unwrap();
    let why = failure("no plan");
    assert!(store.close_run(&run_id("one"), RunStatus::Failed, Some(&why), true, NOW + 1).await.unwrap());
    assert!(!store.close_run(&run_id("one"), RunStatus::Succeeded, None, false, NOW + 2).await.unwrap());
    let closed = store.run(&run_id("one")).await.unwrap().unwrap();
    assert!(closed.publish_pending);
    let (failure, ended_at) = (Some(why), Some(NOW + 1));
    assert_eq!(
        closed,
        RunRecord { status: RunStatus::Failed, failure, ended_at, publish_pending: true, ..run("one", 100) }
    );
}

/// Those that have not ended, whenever within the life of records they were written.
pub async fn open_runs_are_those_that_have_not_ended(store: &impl Runs) {
    let old = NOW - 70 * 86_400_000;
    for (name, created_at) in [("old", old), ("new", NOW), ("over", NOW), ("stopping", NOW)] {
        store.create_run(&RunRecord { created_at, ..run(name, 0) }).await.unwrap();
    }
    store.close_run(&run_id("over"), RunStatus::Failed, None, false, NOW).await.unwrap();
    store.stop_run(&run_id("stopping")).await.unwrap();
    let mut open: Vec<RunId> = store.open_runs(NOW).await.unwrap().into_iter().map(|run| run.id).collect();
    open.sort();
    assert_eq!(open, [run_id("new"), run_id("old"), run_id("stopping")]);
}

/// By the pipeline's name, whatever is in it.
pub async fn the_last_planned_run_of_a_pipeline(store: &impl Runs) {
    let name = "a \u{1f98a} of/mine #1";
    assert_eq!(store.last_planned(name).await.unwrap(), None);
    for one in ["one", "two"] {
        store.create_run(&run(one, 0)).await.unwrap();
        store.plan_run(&run_id(one), name, &[], NOW).await.unwrap();
        assert_eq!(store.last_planned(name).await.unwrap(), Some(run_id(one)));
    }
    assert_eq!(store.last_planned("another").await.unwrap(), None);
}

/// Runs past their bound and runs that were never planned, the longest due first, until they have ended.
pub async fn overdue_runs_in_order(store: &impl Runs) {
    const HOUR: i64 = 3_600_000;
    for name in ["planned", "unplanned", "ended"] {
        assert!(store.create_run(&run(name, 100)).await.unwrap());
    }
    store.plan_run(&run_id("planned"), "a pipeline", &[], NOW + HOUR).await.unwrap();
    assert!(store.close_run(&run_id("ended"), RunStatus::Succeeded, None, false, NOW).await.unwrap());
    let ids = |names: &[&str]| names.iter().map(|name| run_id(name)).collect::<Vec<_>>();
    until_overdue(store, NOW, &[]).await;
    until_overdue(store, NOW + HOUR, &ids(&["unplanned"])).await;
    until_overdue(store, NOW + 2 * HOUR, &ids(&["unplanned", "planned"])).await;
    assert!(store.schedule_run_check(&run_id("unplanned"), NOW + 3 * HOUR).await.unwrap());
    until_overdue(store, NOW + 2 * HOUR, &ids(&["planned"])).await;
    assert!(store.close_run(&run_id("planned"), RunStatus::Failed, None, false, NOW).await.unwrap());
    assert!(!store.schedule_run_check(&run_id("planned"), NOW).await.unwrap());
    until_overdue(store, NOW + 3 * HOUR, &ids(&["unplanned"])).await;
    // One whose end could not be published is closed again until it is.
    assert!(store.close_run(&run_id("unplanned"), RunStatus::Failed, None, true, NOW).await.unwrap());
    until_overdue(store, NOW + HOUR, &ids(&["unplanned"])).await;
    assert!(store.schedule_run_check(&run_id("unplanned"), NOW).await.unwrap());
    store.record_published(&run_id("unplanned")).await.unwrap();
    assert!(!store.run(&run_id("unplanned")).await.unwrap().unwrap().publish_pending);
    until_overdue(store, NOW + 3 * HOUR, &[]).await;
}

/// Waits for the index, which may lag, for at most five seconds.
async fn until_overdue(store: &impl Runs, now: i64, expected: &[RunId]) {
    for _ in 0..100 {
        if store.runs_to_check(now, 10).await.unwrap() == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(store.runs_to_check(now, 10).await.unwrap(), expected);
}
