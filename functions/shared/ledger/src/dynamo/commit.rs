//! A change as one transaction, and what its cancellation means. A transaction has its client request token before the first
//! try and keeps it over the SDK's retries, so that a retry after a lost reply is answered as the first try was, and never
//! finds its own write in the way.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use fresco_pipeline::error::{ErrorName, Failure};

use super::expression::Expression;
use super::item::{count, flag, number, text, word};
use super::{Dynamo, Item, encode, failed};
use crate::aws::{SdkError, request_token};
use crate::records::RunStatus;
use crate::traits::{BudgetChange, Change, CommitError, JobOwner, StoreError};

/// What a part of the transaction is about; cancellation reasons come in the order of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Entry,
    Attempt,
    Job,
    Budget,
    Waiter,
}

impl Dynamo {
    /// A transaction with a token of its own. Every one begins here.
    #[expect(clippy::disallowed_methods, reason = "here it is given its token")]
    pub(super) fn transaction(&self) -> Result<TransactWriteItemsFluentBuilder, StoreError> {
        Ok(self.client.transact_write_items().client_request_token(request_token()?))
    }

    pub(super) async fn transact(&self, change: &Change) -> Result<(), CommitError> {
        let parts = self.parts(change).map_err(|error| CommitError::Unclear(error.0))?;
        let (parts, items): (Vec<Part>, Vec<TransactWriteItem>) = parts.into_iter().unzip();
        let write = self.transaction().map_err(|error| CommitError::Unclear(error.0))?;
        match write.set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(&parts, &error)),
        }
    }

    fn parts(&self, change: &Change) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
        let key = &change.entry.key;
        let pk = encode::entry_pk(key);
        let unchanged = match change.entry.rev {
            0 => Expression::new().only_if("attribute_not_exists(#pk)"),
            rev => Expression::new().only_if("#rev = :rev").with("rev", count(rev)),
        };
        let entry = encode::entry(&change.entry)?;
        let mut parts = vec![(Part::Entry, put(unchanged.guard(&self.table, entry))?)];
        if let Some(attempt) = &change.attempt {
            let sk = encode::attempt_sk(attempt.attempt);
            let write = encode::attempt(attempt)?;
            let pk = encode::entry_pk(&attempt.key);
            parts.push((Part::Attempt, update(write.in_transaction(&self.table, &pk, &sk))?));
        }
        if let Some(job) = &change.job {
            let owned = only_for(change, job);
            parts.push((Part::Job, put(owned.guard(&self.table, encode::job(key, job)))?));
        }
        if let Some(budget) = &change.budget {
            let write = account(budget)?.in_transaction(&self.table, &encode::run_pk(budget.run()), encode::RUN);
            let seen = ReturnValuesOnConditionCheckFailure::AllOld;
            parts.push((Part::Budget, update(write.return_values_on_condition_check_failure(seen))?));
        }
        if let Some(joining) = &change.joined {
            let write = Expression::new()
                .set("joined", number(joining.to.0))
                .only_if("attribute_exists(#pk) AND #joined = :from")
                .with("from", number(joining.from.0));
            let sk = encode::waiter_sk(&joining.step_id);
            parts.push((Part::Waiter, update(write.in_transaction(&self.table, &pk, &sk))?));
        }
        Ok(parts)
    }
}

fn only_for(change: &Change, job: &JobOwner) -> Expression {
    Expression::new()
        .only_if("attribute_not_exists(#pk) OR (#owner_key = :owner_key AND #owner_attempt = :owner_attempt)")
        .with("owner_key", text(change.entry.key.as_str()))
        .with("owner_attempt", number(job.attempt.0))
}

pub(super) fn account(change: &BudgetChange) -> Result<Expression, StoreError> {
    Ok(match change {
        BudgetChange::Hold { amount, .. } => Expression::new()
            .assign("#remaining = #remaining - :cost")
            .assign("#held = #held + :cost")
            .with("cost", number(amount.as_micros()))
            .only_if("attribute_exists(#pk) AND #stop = :no AND #status = :running AND #remaining >= :cost")
            .with("no", flag(false))
            .with("running", word(RunStatus::Running)?),
        BudgetChange::Settle { held, spent, .. } => Expression::new()
            .assign("#remaining = #remaining + :back")
            .assign("#held = #held - :held")
            .assign("#settled = #settled + :spent")
            .with("back", number((*held - *spent).as_micros()))
            .with("held", number(held.as_micros()))
            .with("spent", number(spent.as_micros()))
            .only_if("attribute_exists(#pk)"),
    })
}

fn put(put: PutBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().put(put.build().map_err(unbuilt)?).build())
}

fn update(update: UpdateBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(unbuilt)?).build())
}

pub(super) fn unbuilt(error: BuildError) -> StoreError {
    super::unwritable(format!("DynamoDB: a request could not be built: {error}"))
}

/// Whatever is not a cancellation leaves it open: an earlier try of the same call may have been carried out.
fn refused(parts: &[Part], error: &SdkError<TransactWriteItemsError>) -> CommitError {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled_for(parts, cancelled.cancellation_reasons())
        }
        _ => CommitError::Unclear(failed("TransactWriteItems", error).0),
    }
}

/// The most important reason. A reason about the entry comes first: what else failed was decided on an old entry.
fn cancelled_for(parts: &[Part], reasons: &[CancellationReason]) -> CommitError {
    let failed_check = |part: Part| {
        parts.iter().zip(reasons).find(|(of, reason)| **of == part && reason.code() == Some("ConditionalCheckFailed"))
    };
    let busy = |reason: &CancellationReason| {
        matches!(
            reason.code(),
            Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded")
        )
    };
    if failed_check(Part::Entry).is_some() || reasons.iter().any(busy) {
        return CommitError::Conflict;
    }
    if failed_check(Part::Job).is_some() {
        return CommitError::JobTaken;
    }
    if let Some((_, reason)) = failed_check(Part::Budget) {
        return budget_refused(reason.item());
    }
    if failed_check(Part::Waiter).is_some() {
        return CommitError::Moved;
    }
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let message = format!("DynamoDB TransactWriteItems: cancelled for {}", codes.join(", "));
    CommitError::Unclear(Failure::new(ErrorName::LedgerUnavailable, message))
}

fn budget_refused(run: Option<&Item>) -> CommitError {
    let Some(run) = run.filter(|run| !run.is_empty()) else { return CommitError::RunMissing };
    let goes_on = run.get("stop") == Some(&AttributeValue::Bool(false))
        && word(RunStatus::Running).is_ok_and(|running| run.get("status") == Some(&running));
    if goes_on { CommitError::OverBudget } else { CommitError::RunStopped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str) -> CancellationReason {
        CancellationReason::builder().code(code).build()
    }

    #[test]
    fn reasons_by_importance() {
        let parts = [Part::Entry, Part::Attempt, Part::Job, Part::Budget, Part::Waiter];
        let check = "ConditionalCheckFailed";
        for (codes, means) in [
            ([check, "None", check, check, check], CommitError::Conflict),
            (["None", "TransactionConflict", check, check, "None"], CommitError::Conflict),
            (["None", "None", "None", "ThrottlingError", "None"], CommitError::Conflict),
            (["None", "None", check, check, check], CommitError::JobTaken),
            (["None", "None", "None", check, check], CommitError::RunMissing),
            (["None", "None", "None", "None", check], CommitError::Moved),
        ] {
            assert_eq!(cancelled_for(&parts, &codes.map(reason)), means, "{codes:?}");
        }
        let other = cancelled_for(&parts, &["None", "ValidationError", "None", "None", "None"].map(reason));
        assert!(matches!(other, CommitError::Unclear(failure) if failure.message.contains("ValidationError")));
    }

    #[test]
    fn why_a_hold_is_refused() {
        let run = |stop: bool, status: &str| {
            Item::from([("stop".to_owned(), flag(stop)), ("status".to_owned(), text(status))])
        };
        assert_eq!(budget_refused(None), CommitError::RunMissing);
        assert_eq!(budget_refused(Some(&run(false, "running"))), CommitError::OverBudget);
        assert_eq!(budget_refused(Some(&run(true, "running"))), CommitError::RunStopped);
        assert_eq!(budget_refused(Some(&run(false, "failed"))), CommitError::RunStopped);
    }
}
