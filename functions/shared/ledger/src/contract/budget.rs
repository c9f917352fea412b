//! The effect of a commit on a run's budget and on a waiter, all or nothing.

use std::time::Duration;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::Attempt;
use fresco_pipeline::money::Money;
use futures::future::join_all;

use super::sample::{NOW, attempt, creation, full_entry, key, run, run_id, step_id, wait};
use crate::records::RunStatus;
use crate::traits::{BudgetChange, Change, CommitError, Entries, JobOwner, Joining, Runs, Waiters};

fn hold(run: &str, amount: i64) -> Option<BudgetChange> {
    Some(BudgetChange::Hold { run: run_id(run), amount: Money::micros(amount) })
}

fn settle(run: &str, held: i64, spent: i64) -> Option<BudgetChange> {
    Some(BudgetChange::Settle { run: run_id(run), held: Money::micros(held), spent: Money::micros(spent) })
}

/// Commits a budget change at the entry's current revision.
async fn commit(store: &impl Entries, name: &str, budget: Option<BudgetChange>) -> Result<(), CommitError> {
    let entry = store.entry(&key(name)).await.unwrap().unwrap_or_else(|| creation(name).entry);
    store.commit(&Change { budget, ..Change::of(entry) }).await
}

/// The remaining, held and settled money.
async fn account(store: &impl Runs, name: &str) -> (i64, i64, i64) {
    let run = store.run(&run_id(name)).await.unwrap().unwrap();
    (run.remaining.as_micros(), run.held.as_micros(), run.settled.as_micros())
}

/// Reserved, spent, returned, corrected: the sum stays.
pub async fn a_hold_and_its_end(store: &(impl Entries + Runs)) {
    store.create_run(&run("one", 100)).await.unwrap();
    commit(store, "a", hold("one", 60)).await.unwrap();
    assert_eq!(account(store, "one").await, (40, 60, 0));
    commit(store, "a", hold("one", 40)).await.unwrap();
    assert_eq!(account(store, "one").await, (0, 100, 0));
    // Spent less than held.
    commit(store, "a", settle("one", 60, 45)).await.unwrap();
    assert_eq!(account(store, "one").await, (15, 40, 45));
    // Returned.
    commit(store, "a", settle("one", 40, 0)).await.unwrap();
    assert_eq!(account(store, "one").await, (55, 0, 45));
    // A job that was settled as spent was not billed.
    commit(store, "a", settle("one", 0, -45)).await.unwrap();
    assert_eq!(account(store, "one").await, (100, 0, 0));
    // A job that was released was billed, for more than is left.
    commit(store, "a", settle("one", 0, 130)).await.unwrap();
    assert_eq!(account(store, "one").await, (-30, 0, 130));
    // A hold that comes back.
    commit(store, "a", settle("one", -10, -20)).await.unwrap();
    assert_eq!(account(store, "one").await, (-20, 10, 110));
    assert_eq!(store.entry(&key("a")).await.unwrap().unwrap().rev, 7);
}

/// Each reason of a refusal has its own error.
pub async fn a_hold_needs_a_running_run_and_its_money(store: &(impl Entries + Runs)) {
    assert_eq!(commit(store, "a", hold("none", 0)).await, Err(CommitError::RunMissing));

    store.create_run(&run("short", 99)).await.unwrap();
    assert_eq!(commit(store, "a", hold("short", 100)).await, Err(CommitError::OverBudget));
    commit(store, "a", hold("short", 99)).await.unwrap();
    assert_eq!(commit(store, "a", hold("short", 1)).await, Err(CommitError::OverBudget));
    commit(store, "a", hold("short", 0)).await.unwrap();

    store.create_run(&run("stopped", 100)).await.unwrap();
    assert!(store.stop_run(&run_id("stopped")).await.unwrap());
    assert_eq!(commit(store, "a", hold("stopped", 100)).await, Err(CommitError::RunStopped));
    // Stopped and short of money: stopped is reported, since money would not help.
    assert_eq!(commit(store, "a", hold("stopped", 101)).await, Err(CommitError::RunStopped));

    store.create_run(&run("ended", 100)).await.unwrap();
    assert!(store.close_run(&run_id("ended"), RunStatus::Partial, None, false, NOW).await.unwrap());
    assert_eq!(commit(store, "a", hold("ended", 100)).await, Err(CommitError::RunStopped));

    store.create_run(&run("rich", Money::UNLIMITED.as_micros())).await.unwrap();
    commit(store, "a", hold("rich", 6_000_000)).await.unwrap();
    assert_eq!(account(store, "rich").await, (Money::UNLIMITED.as_micros() - 6_000_000, 6_000_000, 0));
}

/// A hold ends in any state of its run; nothing is written only if the run's record is gone.
pub async fn a_settlement_needs_the_run_only(store: &(impl Entries + Runs)) {
    store.create_run(&run("one", 100)).await.unwrap();
    commit(store, "a", hold("one", 100)).await.unwrap();
    store.stop_run(&run_id("one")).await.unwrap();
    commit(store, "a", settle("one", 30, 30)).await.unwrap();
    store.close_run(&run_id("one"), RunStatus::Stopped, None, false, NOW).await.unwrap();
    commit(store, "a", settle("one", 70, 20)).await.unwrap();
    assert_eq!(account(store, "one").await, (50, 0, 50));
    assert_eq!(commit(store, "a", settle("none", 1, 1)).await, Err(CommitError::RunMissing));
}

/// Of a hundred concurrent claims on a budget for ten, ten succeed and the others are over budget.
pub async fn a_budget_for_ten_covers_ten_of_a_hundred_holds(store: &(impl Entries + Runs)) {
    store.create_run(&run("one", 10 * 25_000 + 24_999)).await.unwrap();
    let claims = (0..100u32).map(|n| async move {
        let name = format!("entry {n}");
        // Transactions on one item conflict; a refused one is decided again, as the engine does.
        for round in 0..200u32 {
            match commit(store, &name, hold("one", 25_000)).await {
                Err(CommitError::Conflict) => {
                    tokio::time::sleep(Duration::from_millis(u64::from((n + round) % 40))).await;
                }
                outcome => return outcome,
            }
        }
        Err(CommitError::Conflict)
    });
    let outcomes = join_all(claims).await;
    let count = |of: Result<(), CommitError>| outcomes.iter().filter(|outcome| **outcome == of).count();
    assert_eq!((count(Ok(())), count(Err(CommitError::OverBudget))), (10, 90), "{outcomes:?}");
    assert_eq!(account(store, "one").await, (24_999, 250_000, 0));
    let keys: Vec<_> = (0..100).map(|n| key(&format!("entry {n}"))).collect();
    assert_eq!(store.entries(&keys).await.unwrap().entries.len(), 10);
}

/// Nothing is written if the waiter is missing or has joined another attempt than was read.
pub async fn joining_needs_the_waiter(store: &(impl Entries + Runs + Waiters)) {
    let who = step_id("one", "image");
    let joining = |from, to| Joining { step_id: who.clone(), from: Attempt(from), to: Attempt(to) };
    let claim = |from, to| Change { joined: Some(joining(from, to)), ..creation("a") };
    assert_eq!(store.commit(&claim(0, 1)).await, Err(CommitError::Moved));
    assert_eq!(store.entry(&key("a")).await.unwrap(), None);
    assert_eq!(store.waiters(&key("a")).await.unwrap(), []);

    store.put_waiter(&key("a"), &wait(&who, "token", 0, NOW)).await.unwrap();
    assert_eq!(store.commit(&claim(3, 4)).await, Err(CommitError::Moved), "it has not joined 3");
    assert_eq!(store.entry(&key("a")).await.unwrap(), None);
    store.record_running(&key("a"), &who, NOW).await.unwrap();
    store.commit(&claim(0, 1)).await.unwrap();
    let waiter = &store.waiters(&key("a")).await.unwrap()[0];
    assert_eq!((waiter.joined, waiter.running_since), (Attempt(1), None), "the job of another attempt ran then");
    // Waiting again keeps it.
    assert_eq!(store.put_waiter(&key("a"), &wait(&who, "token", 0, NOW)).await.unwrap().joined, Attempt(1));
}

/// A commit of everything that one can carry, refused for each reason in turn: the most important is reported, and nothing is
/// written. Then it succeeds, and all of it is written.
pub async fn a_refused_commit_changes_nothing(store: &(impl Entries + Runs + Waiters)) {
    let job = |attempt| JobOwner {
        provider: ProviderName::Fal,
        request_id: "request-1".to_owned(),
        attempt: Attempt(attempt),
    };
    store.commit(&Change { job: Some(job(9)), ..creation("owner") }).await.unwrap();
    let who = step_id("one", "image");
    let mut change = Change {
        attempt: Some(attempt("a", 2, "one")),
        job: Some(job(2)),
        budget: hold("one", 100),
        joined: Some(Joining { step_id: who.clone(), from: Attempt::NONE, to: Attempt(2) }),
        ..Change::of(full_entry("a"))
    };
    change.entry.rev = 1;
    assert_eq!(store.commit(&change).await, Err(CommitError::Conflict));
    change.entry.rev = 0;
    assert_eq!(store.commit(&change).await, Err(CommitError::JobTaken));
    change.job = Some(JobOwner { request_id: "request-2".to_owned(), ..job(2) });
    assert_eq!(store.commit(&change).await, Err(CommitError::RunMissing));
    store.create_run(&run("one", 99)).await.unwrap();
    assert_eq!(store.commit(&change).await, Err(CommitError::OverBudget));
    change.budget = hold("one", 99);
    assert_eq!(store.commit(&change).await, Err(CommitError::Moved), "no waiter");

    assert_eq!(store.entry(&key("a")).await.unwrap(), None);
    assert_eq!(store.attempt(&key("a"), Attempt(2)).await.unwrap(), None);
    assert_eq!(store.job(ProviderName::Fal, "request-2").await.unwrap(), None);
    assert_eq!(account(store, "one").await, (99, 0, 0));

    store.put_waiter(&key("a"), &wait(&who, "token", 0, NOW)).await.unwrap();
    store.commit(&change).await.unwrap();
    assert_eq!(store.entry(&key("a")).await.unwrap().unwrap().rev, 1);
    assert_eq!(store.attempt(&key("a"), Attempt(2)).await.unwrap(), change.attempt);
    assert_eq!(store.job(ProviderName::Fal, "request-2").await.unwrap(), Some((key("a"), Attempt(2))));
    assert_eq!(account(store, "one").await, (0, 99, 0));
    assert_eq!(store.waiters(&key("a")).await.unwrap()[0].joined, Attempt(2));
}
