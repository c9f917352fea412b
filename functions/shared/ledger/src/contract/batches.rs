//! Batches and their chunks.

use fresco_pipeline::money::Money;
use futures::future::join_all;

use super::sample::{NOW, creation, failure, key, run, run_id};
use crate::clock::SystemClock;
use crate::contention::Contention;
use crate::records::{BatchCounts, BatchPlan, BatchRecord, BatchStatus, ChunkRef, RunRecord, RunStatus};
use crate::traits::{Batches, BudgetChange, Change, ChunkEnd, CommitError, Entries, ListPosition, Runs};

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

/// Reserves money in a chunk's run, as the claim of an attempt of this entry does.
async fn hold(store: &impl Entries, of: &str, number: u32, amount: i64) -> Result<(), CommitError> {
    budget(store, of, BudgetChange::Hold { run: chunk(of, number).id, amount: Money::micros(amount) }).await
}

/// Ends a hold.
async fn settle(store: &impl Entries, of: &str, number: u32, held: i64, spent: i64) {
    let (held, spent) = (Money::micros(held), Money::micros(spent));
    budget(store, of, BudgetChange::Settle { run: chunk(of, number).id, held, spent }).await.unwrap();
}

/// Commits a budget change with an entry of its own.
async fn budget(store: &impl Entries, of: &str, change: BudgetChange) -> Result<(), CommitError> {
    let name = format!("{of}: {change:?}");
    let entry = store.entry(&key(&name)).await.unwrap().unwrap_or_else(|| creation(&name).entry);
    store.commit(&Change { budget: Some(change), ..Change::of(entry) }).await
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
pub async fn an_ended_batch_is_redriven(store: &(impl Batches + Entries + Runs)) {
    assert_eq!(store.reopen_batch(&run_id("one"), NOW + 3, NOW + 5).await.unwrap(), None);
    store.create_batch(&batch("one", 100)).await.unwrap();
    assert_eq!(store.reopen_batch(&run_id("one"), NOW + 3, NOW + 5).await.unwrap(), None, "it is open");
    store.open_chunk(&run_id("one"), 0, 0, &chunk("one", 0), Money::micros(30)).await.unwrap();
    hold(store, "one", 0, 30).await.unwrap();
    settle(store, "one", 0, 30, 30).await;
    assert!(store.close_chunk(&end("one", 0, 30, Some(0)), NOW).await.unwrap());
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
    assert_eq!((redriven.remaining, redriven.open), (Money::micros(70), Default::default()));
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
pub async fn a_chunk_counts_once(store: &(impl Batches + Entries + Runs)) {
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
    hold(store, "one", 4, 30).await.unwrap();
    settle(store, "one", 4, 30, 30).await;
    // What was paid since the run was read would not be counted.
    assert!(store.close_chunk(&end("one", 4, 20, None), NOW + 1).await.is_err());
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
pub async fn a_budget_is_shared_by_the_chunks(store: &(impl Batches + Entries + Runs)) {
    store.create_batch(&batch("one", 100)).await.unwrap();
    let open = async |number: u32, wanted: i64| {
        let opened = store.open_chunk(&run_id("one"), number, 0, &chunk("one", number), Money::micros(wanted)).await;
        opened.unwrap().map(|run| run.remaining.as_micros())
    };
    assert_eq!(open(0, 70).await, Some(70));
    assert_eq!(open(1, 70).await, Some(30));
    assert_eq!(open(2, 70).await, Some(0));
    // Money that was reserved since the read is not returned.
    hold(store, "one", 0, 10).await.unwrap();
    assert!(store.close_chunk(&end("one", 0, 0, Some(70)), NOW).await.is_err());
    settle(store, "one", 0, 10, 0).await;
    assert!(store.close_chunk(&end("one", 0, 0, Some(70)), NOW).await.unwrap());
    assert!(!store.close_chunk(&end("one", 0, 0, Some(70)), NOW).await.unwrap());
    assert_eq!(store.run(&run_id("one-0")).await.unwrap().unwrap().remaining, Money::ZERO);
    assert_eq!(open(3, 60).await, Some(60));
    assert_eq!(store.batch(&run_id("one")).await.unwrap().unwrap().remaining, Money::micros(10));
    store.stop_batch(&run_id("one")).await.unwrap();
    assert_eq!(open(4, 1).await, None);
    assert_eq!(open(3, 1).await, Some(60), "it is there");
}

/// A grant is an estimate: a chunk that needs more gets it while the batch has it. The batch and the chunk have to be open.
pub async fn a_grant_is_topped_up(store: &(impl Batches + Entries + Runs)) {
    let batch_id = run_id("one");
    store.create_batch(&batch("one", 100)).await.unwrap();
    let (small, other) = (chunk("one", 0), chunk("one", 1));
    store.open_chunk(&batch_id, 0, 0, &small, Money::micros(20)).await.unwrap();
    store.open_chunk(&batch_id, 1, 0, &other, Money::micros(50)).await.unwrap();
    assert_eq!(hold(store, "one", 0, 45).await, Err(CommitError::OverBudget));
    assert!(store.top_up(&batch_id, &small.id, Money::micros(25)).await.unwrap());
    hold(store, "one", 0, 45).await.unwrap();
    assert!(!store.top_up(&batch_id, &small.id, Money::micros(6)).await.unwrap(), "the batch has 5 left");
    let run = store.run(&small.id).await.unwrap().unwrap();
    assert_eq!((run.granted, run.remaining), (Some(Money::micros(45)), Money::ZERO));

    // What was topped up and is not spent goes back, and the next chunk may have it.
    settle(store, "one", 0, 45, 0).await;
    assert!(store.close_chunk(&end("one", 0, 0, Some(45)), NOW).await.unwrap());
    assert!(!store.top_up(&batch_id, &small.id, Money::micros(1)).await.unwrap(), "it has ended");
    assert!(store.top_up(&batch_id, &other.id, Money::micros(50)).await.unwrap());
    store.stop_run(&other.id).await.unwrap();
    assert!(!store.top_up(&batch_id, &other.id, Money::ZERO).await.unwrap(), "it is stopped");
    store.open_chunk(&batch_id, 2, 0, &chunk("one", 2), Money::ZERO).await.unwrap();
    store.stop_batch(&batch_id).await.unwrap();
    assert!(!store.top_up(&batch_id, &chunk("one", 2).id, Money::ZERO).await.unwrap(), "the batch is stopped");

    // Without a budget there is no grant.
    store.create_batch(&batch("rich", Money::UNLIMITED.as_micros())).await.unwrap();
    store.open_chunk(&run_id("rich"), 0, 0, &chunk("rich", 0), Money::ZERO).await.unwrap();
    assert!(!store.top_up(&run_id("rich"), &chunk("rich", 0).id, Money::micros(1)).await.unwrap());
}

/// A job may end after its chunk: what it cost, and what of its hold is left, goes to the batch.
pub async fn what_is_settled_after_the_end_of_a_chunk_goes_to_the_batch(store: &(impl Batches + Entries + Runs)) {
    for (name, limit) in [("one", 100), ("rich", Money::UNLIMITED.as_micros())] {
        let granted = (name == "one").then_some(0);
        store.create_batch(&batch(name, limit)).await.unwrap();
        store.open_chunk(&run_id(name), 0, 0, &chunk(name, 0), Money::micros(60)).await.unwrap();
        hold(store, name, 0, 60).await.unwrap();
        assert!(store.close_chunk(&end(name, 0, 0, granted), NOW).await.unwrap());
        settle(store, name, 0, 40, 25).await;
        settle(store, name, 0, 20, 0).await;
        // A correction.
        settle(store, name, 0, 0, -5).await;
        let (ended, run) = (store.batch(&run_id(name)).await.unwrap().unwrap(), chunk(name, 0).id);
        let left = if granted.is_some() { Money::micros(80) } else { Money::UNLIMITED };
        assert_eq!((ended.counts.spent, ended.remaining), (Money::micros(20), left), "{name}");
        let run = store.run(&run).await.unwrap().unwrap();
        let expected = if granted.is_some() { Money::ZERO } else { run.remaining };
        assert_eq!((run.settled, run.held, run.remaining), (Money::micros(20), Money::ZERO, expected), "{name}");
    }
}

/// Whatever order holds, settlements, top-ups and ends come in: what the batch has left and has spent, and what its chunks
/// hold, is its budget.
pub async fn the_money_of_a_batch_is_conserved(store: &(impl Batches + Entries + Runs)) {
    const BUDGET: i64 = 1_000;
    store.create_batch(&batch("one", BUDGET)).await.unwrap();
    for number in 0..CHUNKS {
        store.open_chunk(&run_id("one"), number, 0, &chunk("one", number), Money::micros(60)).await.unwrap();
    }
    let lanes = (0..CHUNKS).flat_map(|number| (0..3u64).map(move |lane| (number, lane)));
    let spend = join_all(lanes.map(|(number, lane)| spend(store, number, lane)));
    let close = join_all((0..CHUNKS).map(|number| close(store, number)));
    tokio::join!(spend, close);

    let ended = store.batch(&run_id("one")).await.unwrap().unwrap();
    let (mut held, mut settled) = (0, 0);
    for number in 0..CHUNKS {
        let run = store.run(&chunk("one", number).id).await.unwrap().unwrap();
        assert!(run.counted && run.remaining == Money::ZERO && run.held >= Money::ZERO, "{run:?}");
        (held, settled) = (held + run.held.as_micros(), settled + run.settled.as_micros());
    }
    assert_eq!(ended.counts.spent.as_micros(), settled);
    assert_eq!(ended.remaining.as_micros() + settled + held, BUDGET);
    assert!(settled > 0, "nothing was spent");
}

/// The chunks of [`the_money_of_a_batch_is_conserved`].
const CHUNKS: u32 = 4;

/// Holds and settles amounts that look random, with a top-up where the grant is too small.
async fn spend(store: &(impl Batches + Entries + Runs), number: u32, lane: u64) {
    let mut random = u64::from(number) * 31 + lane + 1;
    for turn in 0..8 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let amount = i64::try_from(random >> 59).unwrap() + 1;
        let run = chunk("one", number).id;
        let name = format!("{number} {lane} {turn}");
        let held = BudgetChange::Hold { run: run.clone(), amount: Money::micros(amount) };
        match committed(store, &name, held.clone()).await {
            Err(CommitError::OverBudget)
                if store.top_up(&run_id("one"), &run, Money::micros(amount)).await.unwrap() =>
            {
                if committed(store, &name, held).await.is_err() {
                    continue;
                }
            }
            Err(CommitError::OverBudget | CommitError::RunStopped) => continue,
            outcome => outcome.unwrap(),
        }
        let spent = Money::micros(if turn % 3 == 0 { 0 } else { amount });
        let end = BudgetChange::Settle { run, held: Money::micros(amount), spent };
        committed(store, &name, end).await.unwrap();
    }
}

/// Commits until no other transaction is in the way.
async fn committed(store: &impl Entries, name: &str, change: BudgetChange) -> Result<(), CommitError> {
    let mut contention = Contention::new(&SystemClock);
    loop {
        let entry = store.entry(&key(name)).await.unwrap().unwrap_or_else(|| creation(name).entry);
        match store.commit(&Change { budget: Some(change.clone()), ..Change::of(entry) }).await {
            Err(CommitError::Conflict) => assert!(contention.pause().await, "{name}"),
            outcome => return outcome,
        }
    }
}

/// Closes a chunk at whatever time, by what its run says.
async fn close(store: &(impl Batches + Runs), number: u32) {
    let mut contention = Contention::new(&SystemClock);
    loop {
        contention.pause().await;
        let run = store.run(&chunk("one", number).id).await.unwrap().unwrap();
        let closing = ChunkEnd {
            counts: BatchCounts { chunks: 1, spent: run.settled, ..BatchCounts::default() },
            ..end("one", number, 0, Some(run.remaining.as_micros()))
        };
        // Its money changes meanwhile.
        if store.close_chunk(&closing, NOW).await.is_ok() {
            return;
        }
    }
}
