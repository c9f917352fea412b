//! A change as one transaction, and the meaning of its cancellation.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::money::Money;

use super::entries::{attempt_update, entry_item, job_item};
use super::items::{count, flag, number, text, word};
use super::{Store, keys};
use crate::records::{RunRecord, RunStatus};
use crate::table::{AttributeValue, Condition, Item, Reason, Table, TransactError, Update, Write};
use crate::traits::{BudgetChange, Change, CommitError, JobOwner, Runs, StoreError};

/// The attribute of a run whose end its batch has counted.
pub(super) const COUNTED: &str = "counted";

/// The subject of a write; cancellation reasons come in the order of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Entry,
    Attempt,
    Job,
    Budget,
    Waiter,
}

impl<T: Table> Store<T> {
    pub(super) async fn commit_change(&self, change: &Change) -> Result<(), CommitError> {
        let committed = self.commit_with_run(change, None).await;
        match (&committed, &change.budget) {
            // A settlement is refused by a run whose end is counted, and by no other.
            (Err(CommitError::RunStopped), Some(BudgetChange::Settle { run, .. })) => {
                let run = self.run(run).await?.ok_or(CommitError::RunMissing)?;
                self.commit_with_run(change, Some(&run)).await
            }
            _ => committed,
        }
    }

    /// Commits a change. `counted` is the run of its budget where the run's end is counted.
    async fn commit_with_run(&self, change: &Change, counted: Option<&RunRecord>) -> Result<(), CommitError> {
        let (parts, writes): (Vec<Part>, Vec<Write>) = writes(change, counted)?.into_iter().unzip();
        self.table.transact(writes).await.map_err(|error| match error {
            TransactError::Cancelled(reasons) => cancelled(&parts, &reasons),
            TransactError::Failed(error) => error.into(),
        })
    }
}

fn writes(change: &Change, counted: Option<&RunRecord>) -> Result<Vec<(Part, Write)>, StoreError> {
    let key = &change.entry.key;
    let unchanged = match change.entry.rev {
        0 => Condition::missing(),
        rev => Condition::Equals("rev", count(rev)),
    };
    let mut writes = vec![(Part::Entry, Write::put_if(entry_item(&change.entry)?, unchanged))];
    if let Some(attempt) = &change.attempt {
        let update = attempt_update(attempt)?;
        writes.push((Part::Attempt, Write::update(keys::attempt(&attempt.key, attempt.attempt), update)));
    }
    if let Some(job) = &change.job {
        writes.push((Part::Job, Write::put_if(job_item(key, job), free_or_owned(change, job))));
    }
    if let Some(budget) = &change.budget {
        writes.extend(budget_writes(budget, counted)?.into_iter().map(|write| (Part::Budget, write)));
    }
    if let Some(joining) = &change.joined {
        let update = Update::new()
            .set("joined", number(joining.to.0))
            .remove("running_since")
            .only_if(Condition::exists().and(Condition::Equals("joined", number(joining.from.0))));
        writes.push((Part::Waiter, Write::update(keys::waiter(key, &joining.step_id), update)));
    }
    Ok(writes)
}

fn free_or_owned(change: &Change, job: &JobOwner) -> Condition {
    let owned = Condition::Equals("owner_key", text(change.entry.key.as_str()))
        .and(Condition::Equals("owner_attempt", number(job.attempt.0)));
    Condition::missing().or(owned)
}

/// The writes of a budget change. `counted` is the run where its batch has counted its end.
pub(super) fn budget_writes(change: &BudgetChange, counted: Option<&RunRecord>) -> Result<Vec<Write>, StoreError> {
    let run = keys::run(change.run());
    match (change, counted) {
        (BudgetChange::Hold { amount, .. }, _) => Ok(vec![Write::update(run, hold(*amount)?)]),
        (BudgetChange::Settle { held, spent, .. }, None) => {
            let update = settlement(*held, *spent).add("remaining", (*held - *spent).as_micros());
            Ok(vec![Write::update(run, update.only_if(Condition::exists().and(Condition::Missing(COUNTED))))])
        }
        (BudgetChange::Settle { held, spent, .. }, Some(record)) => {
            let update = settlement(*held, *spent).only_if(Condition::exists());
            let mut writes = vec![Write::update(run, update)];
            if let Some(chunk) = &record.chunk {
                let spent_by_batch = Update::new().add("spent", spent.as_micros()).only_if(Condition::exists());
                let update = match record.granted {
                    Some(_) => spent_by_batch.add("remaining", (*held - *spent).as_micros()),
                    None => spent_by_batch,
                };
                writes.push(Write::update(keys::batch(&chunk.batch), update));
            }
            Ok(writes)
        }
    }
}

fn hold(amount: Money) -> Result<Update, StoreError> {
    let condition = Condition::exists()
        .and(Condition::Equals("stop", flag(false)))
        .and(Condition::Equals("status", word(RunStatus::Running)?))
        .and(Condition::AtLeast("remaining", amount.as_micros()));
    Ok(Update::new().add("remaining", -amount.as_micros()).add("held", amount.as_micros()).only_if(condition))
}

fn settlement(held: Money, spent: Money) -> Update {
    Update::new().add("held", -held.as_micros()).add("settled", spent.as_micros())
}

/// The most important reason. A reason about the entry comes first: the other checks were decided on an old entry.
fn cancelled(parts: &[Part], reasons: &[Reason]) -> CommitError {
    let failed = |part: Part| {
        parts.iter().zip(reasons).find_map(|(of, reason)| match reason {
            Reason::ConditionFailed(item) if *of == part => Some(item.as_ref()),
            _ => None,
        })
    };
    let busy = |reason: &Reason| matches!(reason, Reason::Conflict | Reason::Throttled);
    if failed(Part::Entry).is_some() || reasons.iter().any(busy) {
        return CommitError::Conflict;
    }
    if failed(Part::Job).is_some() {
        return CommitError::JobTaken;
    }
    if let Some(run) = failed(Part::Budget) {
        return budget_refused(run);
    }
    if failed(Part::Waiter).is_some() {
        return CommitError::Moved;
    }
    cancelled_unexpectedly(reasons).into()
}

/// The failure of a transaction that was cancelled for none of the reasons that its writer knows.
pub(super) fn cancelled_unexpectedly(reasons: &[Reason]) -> StoreError {
    let codes: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::Passed => None,
            Reason::ConditionFailed(_) => Some("ConditionalCheckFailed"),
            Reason::Conflict => Some("TransactionConflict"),
            Reason::Throttled => Some("ThrottlingError"),
            Reason::Other(code) => Some(code),
        })
        .collect();
    let message = format!("DynamoDB TransactWriteItems: cancelled for {}", codes.join(", "));
    StoreError(Failure::new(ErrorName::LedgerUnavailable, message))
}

fn budget_refused(run: Option<&Item>) -> CommitError {
    let Some(run) = run else { return CommitError::RunMissing };
    let running = run.get("stop") == Some(&AttributeValue::Bool(false))
        && word(RunStatus::Running).is_ok_and(|running| run.get("status") == Some(&running));
    if running { CommitError::OverBudget } else { CommitError::RunStopped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_reason_is_reported() {
        let parts = [Part::Entry, Part::Attempt, Part::Job, Part::Budget, Part::Waiter];
        let (none, check) = (Reason::Passed, Reason::ConditionFailed(None));
        let of = |reasons: [&Reason; 5]| cancelled(&parts, &reasons.map(Clone::clone));
        for (reasons, means) in [
            ([&check, &none, &check, &check, &check], CommitError::Conflict),
            ([&none, &Reason::Conflict, &check, &check, &none], CommitError::Conflict),
            ([&none, &none, &none, &Reason::Throttled, &none], CommitError::Conflict),
            ([&none, &none, &check, &check, &check], CommitError::JobTaken),
            ([&none, &none, &none, &check, &check], CommitError::RunMissing),
            ([&none, &none, &none, &none, &check], CommitError::Moved),
        ] {
            assert_eq!(of(reasons), means, "{reasons:?}");
        }
        let other = of([&none, &Reason::Other("ValidationError".to_owned()), &none, &none, &none]);
        assert!(matches!(other, CommitError::Unclear(failure) if failure.message.contains("ValidationError")));
    }

    #[test]
    fn a_refused_hold_says_why() {
        let run = |stop: bool, status: &str| {
            Item::from([("stop".to_owned(), flag(stop)), ("status".to_owned(), text(status))])
        };
        assert_eq!(budget_refused(None), CommitError::RunMissing);
        assert_eq!(budget_refused(Some(&run(false, "running"))), CommitError::OverBudget);
        assert_eq!(budget_refused(Some(&run(true, "running"))), CommitError::RunStopped);
        assert_eq!(budget_refused(Some(&run(false, "failed"))), CommitError::RunStopped);
    }
}
