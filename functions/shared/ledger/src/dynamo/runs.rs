//! Runs in the table, and the list of them by month. What happens to one step is in `steps`.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};

use super::commit::unbuilt;
use super::expression::Expression;
use super::item::{VERSION, flag, json, number, text, word};
use super::{Dynamo, EXPIRES_AT, Item, SK, decode, encode, failed};
use crate::month::{Month, RECORD_MONTHS};
use crate::records::{CachedResult, Millis, ResultSource, RunRecord, RunStatus, StepId, StepRecord};
use crate::traits::{ListPosition, Runs, SigningKeys, StoreError};

/// The attribute of a pipeline's row that names its last run.
const RUN_OF: &str = "run";
/// The run is there and has not ended.
const RUNNING: &str = "attribute_exists(#pk) AND #status = :running";

impl Runs for Dynamo {
    async fn create_run(&self, run: &RunRecord) -> Result<bool, StoreError> {
        let new = Expression::new().only_if("attribute_not_exists(#pk)");
        let put = new.guard(&self.table, encode::run(run)?).build().map_err(unbuilt)?;
        let list = Put::builder().table_name(&self.table).set_item(Some(encode::listed(run))).build();
        let create = self
            .transaction()?
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().put(list.map_err(unbuilt)?).build());
        match create.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(false)
                }
                _ => Err(failed("TransactWriteItems", &error)),
            },
        }
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        self.get(&encode::run_pk(id), encode::RUN).await?.as_ref().map(decode::run).transpose()
    }

    async fn open_runs(&self, now: Millis) -> Result<Vec<RunRecord>, StoreError> {
        let mut month = Month::of(now);
        let mut ids = Vec::new();
        for _ in 0..=RECORD_MONTHS {
            for list in [encode::list_pk(month), encode::chunks_pk(month)] {
                ids.extend(self.listed_in(&list, month, u32::MAX, None).await?);
            }
            month = month.previous();
        }
        let keys = ids.iter().map(|id| (encode::run_pk(id), encode::RUN.to_owned())).collect();
        let runs = self.batch_get(keys).await?;
        let runs = runs.iter().map(decode::run).filter(|run| run.as_ref().map_or(true, |run| !run.status.is_final()));
        runs.collect()
    }

    async fn last_planned(&self, pipeline: &str) -> Result<Option<RunId>, StoreError> {
        let item = self.get(&encode::pipeline_pk(pipeline), encode::PIPELINE).await?;
        let run = item.as_ref().and_then(|item| item.get(RUN_OF)?.as_s().ok());
        // It is for people to compare with: one that cannot be read is none.
        Ok(run.and_then(|run| RunId::parse(run).ok()))
    }

    async fn list_runs(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let ids = self.latest(encode::list_pk, limit, behind, now).await?;
        let keys = ids.iter().map(|id| (encode::run_pk(id), encode::RUN.to_owned())).collect();
        let mut runs: Vec<RunRecord> =
            self.batch_get(keys).await?.iter().map(decode::run).collect::<Result<_, StoreError>>()?;
        runs.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(runs)
    }

    async fn plan_run(
        &self,
        id: &RunId,
        pipeline: &str,
        steps: &[StepRecord],
        bound_at: Millis,
    ) -> Result<(), StoreError> {
        // The steps first: where the run says how many there are, they are there.
        self.put_steps(id, steps).await?;
        let write = Expression::new()
            .set("steps", number(u32::try_from(steps.len()).unwrap_or(u32::MAX)))
            .set("bound_at", number(bound_at))
            .only_if("attribute_exists(#pk)");
        let last = Expression::new()
            .set("v", number(VERSION))
            .set(RUN_OF, text(id.as_str()))
            .set(EXPIRES_AT, encode::run_expiry());
        let (run_pk, pipeline_pk) = (encode::run_pk(id), encode::pipeline_pk(pipeline));
        let (planned, _) = futures::try_join!(
            self.update(&run_pk, encode::RUN, write),
            self.update(&pipeline_pk, encode::PIPELINE, last)
        )?;
        match planned {
            Some(_) => Ok(()),
            None => Err(StoreError(Failure::new(ErrorName::RunNotFound, format!("no record of run {id}")))),
        }
    }

    async fn step(&self, step_id: &StepId) -> Result<Option<StepRecord>, StoreError> {
        let item = self.get(&encode::run_pk(&step_id.run), &encode::step_sk(&step_id.step)).await?;
        item.as_ref().map(decode::step).transpose()
    }

    async fn steps(&self, run: &RunId) -> Result<Vec<StepRecord>, StoreError> {
        let items = self.query(&encode::run_pk(run), encode::STEP_PREFIX).await?;
        let mut steps: Vec<StepRecord> = items.iter().map(decode::step).collect::<Result<_, StoreError>>()?;
        steps.sort_by_key(|step| step.plan.index);
        Ok(steps)
    }

    async fn start_step(&self, step_id: &StepId, now: Millis) -> Result<Option<StepRecord>, StoreError> {
        self.begin(step_id, now).await
    }

    async fn record_key(&self, step_id: &StepId, key: &ContentKey) -> Result<(), StoreError> {
        self.know(step_id, key).await
    }

    async fn record_source(&self, step_id: &StepId, source: ResultSource) -> Result<(), StoreError> {
        self.note(step_id, source).await
    }

    async fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> Result<Option<StepRecord>, StoreError> {
        self.pin_once(step_id, ready, source, now).await
    }

    async fn fail_step(&self, step_id: &StepId, failure: &Failure, now: Millis) -> Result<(), StoreError> {
        self.give_up(step_id, failure, now).await
    }

    async fn stop_run(&self, id: &RunId) -> Result<bool, StoreError> {
        let write =
            Expression::new().set("stop", flag(true)).only_if(RUNNING).with("running", word(RunStatus::Running)?);
        Ok(self.update(&encode::run_pk(id), encode::RUN, write).await?.is_some())
    }

    async fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        failure: Option<&Failure>,
        publish_pending: bool,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let write = Expression::new()
            .set("status", word(status)?)
            .set("ended_at", number(now))
            .set_or_remove("failure", failure.map(json).transpose()?)
            .set_or_remove("publish_pending", publish_pending.then(|| flag(true)))
            .only_if(RUNNING)
            .with("running", word(RunStatus::Running)?);
        Ok(self.update(&encode::run_pk(id), encode::RUN, write).await?.is_some())
    }
}

impl Dynamo {
    /// The latest by the lists of months, newest first, as far back as records are kept.
    pub(super) async fn latest(
        &self,
        list: fn(Month) -> String,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut month = Month::of(behind.map_or(now, |behind| behind.created_at));
        let first = Month::of(now).back(RECORD_MONTHS);
        let mut ids = Vec::new();
        while month >= first {
            let left = limit.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            if left == 0 {
                break;
            }
            ids.extend(self.listed_in(&list(month), month, left, behind).await?);
            month = month.previous();
        }
        Ok(ids)
    }

    /// The latest that were written in a month, newest first, by one of the lists.
    async fn listed_in(
        &self,
        list: &str,
        month: Month,
        limit: u32,
        behind: Option<&ListPosition>,
    ) -> Result<Vec<RunId>, StoreError> {
        // Behind a run of a later month is the whole month.
        let behind = behind.filter(|behind| Month::of(behind.created_at) == month);
        let (condition, place) = match behind {
            Some(behind) => ("pk = :pk AND sk < :place", Some(text(encode::list_sk(behind.created_at, &behind.run)))),
            None => ("pk = :pk", None),
        };
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let left = limit.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            if left == 0 {
                return Ok(ids);
            }
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false)
                .key_condition_expression(condition)
                .set_expression_attribute_values(Some(
                    [(":pk".to_owned(), text(list))]
                        .into_iter()
                        .chain(place.clone().map(|place| (":place".to_owned(), place)))
                        .collect(),
                ))
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from);
            let page = query.send().await.map_err(|error| failed("Query", &error))?;
            let sks = page.items.iter().flatten().filter_map(|item| item.get(SK)?.as_s().ok());
            ids.extend(sks.filter_map(|sk| RunId::parse(sk.split_once('#')?.1).ok()));
            match page.last_evaluated_key {
                Some(last) if !last.is_empty() => from = Some(last),
                _ => return Ok(ids),
            }
        }
    }
}

/// The attribute of the secret.
const SECRET: &str = "secret";

impl SigningKeys for Dynamo {
    async fn signing_key(&self, fresh: &str) -> Result<String, StoreError> {
        let stored = |item: &Item| item.get(SECRET).and_then(|secret| secret.as_s().ok()).cloned();
        if let Some(secret) = self.get(encode::SIGNING, encode::SIGNING).await?.as_ref().and_then(stored) {
            return Ok(secret);
        }
        // Of two that are first at once, one writes.
        let write = Expression::new().set("v", number(VERSION)).set_once(SECRET, text(fresh));
        let item = self.update(encode::SIGNING, encode::SIGNING, write).await?;
        item.as_ref()
            .and_then(stored)
            .ok_or_else(|| StoreError::ledger("DynamoDB UpdateItem: an answer without the item"))
    }
}
