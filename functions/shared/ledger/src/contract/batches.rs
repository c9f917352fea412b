//! Batches and their chunks.

use fresco_pipeline::money::Money;

use super::sample::{NOW, failure, run, run_id};
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, ChunkRef, RunRecord, RunStatus};
use crate::traits::{Batches, ChunkEnd, ListPosition, Runs};

fn batch(name: &str, remaining: i64) -> BatchRecord {
    BatchRecord {
        id: run_id(name),
        name: "posters".to_owned(),
        status: BatchStatus::Planning,
        stop: false,
        created_at: NOW,
        began_at: NOW,
        kept: 0,
        ended_at: None,
        remaining: Money::micros(remaining),
        plan: None,
        counts: BatchCounts::default(),
        open: Default::default(),
        generation: 0,
        next_check_at: Some(NOW + 5),
        failure: None,
    }
}

fn chunk(of: &str, number: u32) -> RunRecord {
    let chunk = Some(ChunkRef { batch: run_id(of), number });
    RunRecord { chunk, ..run(&format!("{of}-{number}"), 0) }
}

fn end(of: &str, number: u32, spent: i64, unspent: Option<i64>) -> ChunkEnd {
    let (spent, saved) = (Money::micros(spent), Money::micros(5));
    ChunkEnd {
        batch: run_id(of),
        chunk: number,
        run: chunk(of, number).id,
        status: RunStatus::Partial,
        failure: None,
        counts: BatchCounts { chunks: 1, done: 7, failed: 3, bad: 1, hits: 2, spent, saved },
        unspent: unspent.map(Money::micros),
    }
}

/// As a run: created once, listed newest first, planned, stopped and closed while it is open.
pub async fn a_batch_is_created_planned_stopped_and_closed(store: &impl Batches) {
    assert_eq!(store.batch(&run_id("one")).await.unwrap(), None);
    assert!(store.create_batch(&batch("one", 100)).await.unwrap());
    assert!(!store.create_batch(&batch("one", 5)).await.unwrap());
    assert_eq!(store.batch(&run_id("one")).await.unwrap(), Some(batch("one", 100)));
    store.create_batch(&BatchRecord { created_at: NOW - 40 * 86_400_000, ..batch("old", 1) }).await.unwrap();
    let listed = store.list_batches(10, None, NOW).await.unwrap();
    assert_eq!(listed.iter().map(|batch| &batch.id).collect::<Vec<_>>(), [&run_id("one"), &run_id("old")]);
    let behind = ListPosition { created_at: NOW, run: run_id("one") };
    assert_eq!(store.list_batches(10, Some(&behind), NOW).await.unwrap().len(), 1);

    let plan = BatchPlan { rows: 30, chunks: 3, ..BatchPlan::default() };
    assert!(
        store.plan_batch(&run_id("one"), &plan).await.unwrap()
            && store.plan_batch(&run_id("one"), &plan).await.unwrap()
    );
    let stopped = store.stop_batch(&run_id("one")).await.unwrap().unwrap();
    assert_eq!((stopped.status, stopped.stop, stopped.plan.as_ref()), (BatchStatus::Running, true, Some(&plan)));
    assert!(!store.plan_batch(&run_id("one"), &plan).await.unwrap(), "it is stopped");
    let why = failure("too many rows failed");
    assert!(store.close_batch(&run_id("one"), 0, BatchStatus::Stopped, Some(&why), NOW + 1).await.unwrap());
    assert!(!store.close_batch(&run_id("one"), 0, BatchStatus::Succeeded, None, NOW + 2).await.unwrap());
    assert!(!store.plan_batch(&run_id("one"), &plan).await.unwrap());
    assert_eq!(store.stop_batch(&run_id("one")).await.unwrap(), None);
    let closed = store.batch(&run_id("one")).await.unwrap().unwrap();
    assert_eq!((closed.status, closed.ended_at, closed.failure), (BatchStatus::Stopped, Some(NOW + 1), Some(why)));
}

/// Open batches only, the longest due first; the index may lag.
pub async fn due_batches_in_order(store: &impl Batches) {
    for (name, due) in [("one", NOW + 7), ("two", NOW + 5), ("three", NOW + 9)] {
        store.create_batch(&BatchRecord { next_check_at: Some(due), ..batch(name, 1) }).await.unwrap();
    }
    let until = async |now, expected: &[&str]| {
        let expected: Vec<_> = expected.iter().map(|name| run_id(name)).collect();
        for _ in 0..200 {
            if store.batches_to_check(now, 10).await.unwrap() == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(store.batches_to_check(now, 10).await.unwrap(), expected);
    };
    until(NOW + 4, &[]).await;
    until(NOW + 7, &["two", "one"]).await;
    assert_eq!(store.batches_to_check(NOW + 9, 1).await.unwrap(), [run_id("two")]);
    assert!(store.schedule_batch_check(&run_id("two"), NOW + 20).await.unwrap());
    assert!(store.close_batch(&run_id("one"), 0, BatchStatus::Failed, None, NOW).await.unwrap());
    until(NOW + 20, &["three", "two"]).await;
    assert!(!store.schedule_batch_check(&run_id("one"), NOW).await.unwrap(), "it has ended");
    assert!(!store.schedule_batch_check(&run_id("none"), NOW).await.unwrap());
    assert_eq!(
        store.reopen_batch(&run_id("one"), NOW + 3, NOW + 6).await.unwrap().unwrap().next_check_at,
        Some(NOW + 6)
    );
    until(NOW + 20, &["one", "three", "two"]).await;
}

/// Only an ended batch; its payments stay.
pub async fn an_ended_batch_is_redriven(store: &(impl Batches + Runs)) {
    assert_eq!(store.reopen_batch(&run_id("one"), NOW + 3, NOW + 5).await.unwrap(), None);
    store.create_batch(&batch("one", 100)).await.unwrap();
    assert_eq!(store.reopen_batch(&run_id("one"), NOW + 3, NOW + 5).await.unwrap(), None, "it is open");
    store.open_chunk(&run_id("one"), 0, 0, &chunk("one", 0), Money::ZERO).await.unwrap();
    store.close_chunk(&end("one", 0, 30, Some(0)), NOW).await.unwrap();
    store.stop_batch(&run_id("one")).await.unwrap();
    store.close_batch(&run_id("one"), 0, BatchStatus::Stopped, Some(&failure("stopped")), NOW).await.unwrap();
    let opened = store.reopen_batch(&run_id("one"), NOW + 3, NOW + 5).await.unwrap().unwrap();
    assert_eq!((opened.status, opened.stop, opened.generation), (BatchStatus::Planning, false, 1));
    assert_eq!((opened.ended_at, opened.failure, opened.counts), (None, None, end("one", 0, 30, Some(0)).counts));
    assert!(
        !store.close_batch(&run_id("one"), 0, BatchStatus::Failed, None, NOW).await.unwrap(),
        "of an earlier generation"
    );
    // A planning of the ended generation that goes on takes no grant, and leaves no run that nothing would close.
    let late = store.open_chunk(&run_id("one"), 1, 0, &chunk("one", 1), Money::micros(40)).await.unwrap();
    assert_eq!((late, store.run(&chunk("one", 1).id).await.unwrap()), (None, None));
    let redriven = store.batch(&run_id("one")).await.unwrap().unwrap();
    assert_eq!((redriven.remaining, redriven.open), (Money::micros(100), Default::default()));
    assert!(store.open_chunk(&run_id("one"), 1, 1, &chunk("one", 1), Money::micros(40)).await.unwrap().is_some());
    let kept = BatchCounts { chunks: 0, done: 2, failed: 1, hits: 1, ..BatchCounts::default() };
    assert!(store.recount_batch(&run_id("one"), &kept).await.unwrap());
    let spent = BatchCounts { spent: Money::micros(30), saved: Money::micros(5), ..kept };
    assert_eq!(store.batch(&run_id("one")).await.unwrap().unwrap().counts, spent);
    store.plan_batch(&run_id("one"), &BatchPlan::default()).await.unwrap();
    assert!(!store.recount_batch(&run_id("one"), &kept).await.unwrap(), "its chunks run");
    assert!(store.close_batch(&run_id("one"), 1, BatchStatus::Partial, None, NOW).await.unwrap());
}

/// A chunk's run is created once, and its end counts once: both are idempotent.
pub async fn a_chunk_counts_once(store: &(impl Batches + Runs)) {
    store.create_batch(&batch("one", Money::UNLIMITED.as_micros())).await.unwrap();
    assert_eq!(store.open_chunk(&run_id("none"), 0, 0, &chunk("none", 0), Money::ZERO).await.unwrap(), None);
    for _ in 0..2 {
        let opened = store.open_chunk(&run_id("one"), 4, 0, &chunk("one", 4), Money::micros(9)).await.unwrap().unwrap();
        assert_eq!((opened.remaining, opened.chunk), (Money::UNLIMITED, chunk("one", 4).chunk));
        assert_eq!(opened.granted, None);
    }
    assert_eq!(store.run(&run_id("one-4")).await.unwrap().unwrap().chunk, chunk("one", 4).chunk);
    assert_eq!(store.batch(&run_id("one")).await.unwrap().unwrap().open, [4].into());
    // Runs of chunks are not listed to users, but they are open.
    assert!(store.list_runs(10, None, NOW).await.unwrap().is_empty());
    assert_eq!(store.open_runs(NOW).await.unwrap().len(), 1);
    assert!(store.close_chunk(&end("one", 4, 30, None), NOW + 1).await.unwrap());
    assert!(!store.close_chunk(&end("one", 4, 30, None), NOW + 2).await.unwrap());
    let counted = store.batch(&run_id("one")).await.unwrap().unwrap();
    assert_eq!(counted.counts, end("one", 4, 30, None).counts);
    assert_eq!(counted.remaining, Money::UNLIMITED, "no budget is no budget, however many chunks end");
    assert!(counted.open.is_empty());
    let ended = store.run(&run_id("one-4")).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_at), (RunStatus::Partial, Some(NOW + 1)));
}

/// Chunks get the rest of the budget and return their unspent part; a stopped batch grants nothing.
pub async fn a_budget_is_shared_by_the_chunks(store: &(impl Batches + Runs)) {
    store.create_batch(&batch("one", 100)).await.unwrap();
    let open = async |number: u32, wanted: i64| {
        let opened = store.open_chunk(&run_id("one"), number, 0, &chunk("one", number), Money::micros(wanted)).await;
        opened.unwrap().map(|run| run.remaining.as_micros())
    };
    assert_eq!(open(0, 70).await, Some(70));
    assert_eq!(open(1, 70).await, Some(30));
    assert_eq!(open(2, 70).await, Some(0));
    // Money that was reserved since the read is not returned.
    assert!(store.close_chunk(&end("one", 0, 40, Some(80)), NOW).await.is_err());
    assert!(store.close_chunk(&end("one", 0, 40, Some(70)), NOW).await.unwrap());
    assert!(!store.close_chunk(&end("one", 0, 40, Some(70)), NOW).await.unwrap());
    assert_eq!(store.run(&run_id("one-0")).await.unwrap().unwrap().remaining, Money::ZERO);
    assert_eq!(open(3, 60).await, Some(60));
    assert_eq!(store.batch(&run_id("one")).await.unwrap().unwrap().remaining, Money::micros(10));
    store.stop_batch(&run_id("one")).await.unwrap();
    assert_eq!(open(4, 1).await, None);
    assert_eq!(open(3, 1).await, Some(60), "it is there");
}
