//! What happens to one step of a run: each is one conditional update, whose condition is that nothing that must stay is
//! overwritten.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{ContentKey, RunId};
use futures::{StreamExt, TryStreamExt, stream};

use super::expression::Expression;
use super::item::{json, number, text, word};
use super::{Dynamo, Item, PK, SK, decode, encode, failed};
use crate::records::{CachedResult, Millis, ResultSource, StepId, StepRecord, StepState};
use crate::traits::StoreError;

/// How many steps are written side by side.
const WRITES: usize = 16;
/// The step is there and neither done nor failed.
const UNDECIDED: &str = "attribute_exists(#pk) AND (attribute_not_exists(#state) OR #state = :running)";

impl Dynamo {
    /// Updates an item if its condition holds: the item as it then is, `None` if it does not hold.
    pub(super) async fn update(&self, pk: &str, sk: &str, write: Expression) -> Result<Option<Item>, StoreError> {
        self.update_or_see(pk, sk, write).await.map(Result::ok)
    }

    /// As [`Dynamo::update`]; where the condition does not hold, the item as it is, if there is one.
    async fn update_or_see(
        &self,
        pk: &str,
        sk: &str,
        write: Expression,
    ) -> Result<Result<Item, Option<Item>>, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, text(pk))
            .key(SK, text(sk))
            .update_expression(write.update())
            .set_condition_expression(write.condition())
            .set_expression_attribute_names(write.names())
            .set_expression_attribute_values(write.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(answer) => Ok(Ok(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Err(refused.item().filter(|item| !item.is_empty()).cloned()))
                }
                _ => Err(failed("UpdateItem", &error)),
            },
        }
    }

    /// Writes the steps that are not there yet.
    pub(super) async fn put_steps(&self, run: &RunId, steps: &[StepRecord]) -> Result<(), StoreError> {
        let puts: Vec<_> = steps.iter().map(|step| self.put_step(run, step)).collect();
        stream::iter(puts).buffer_unordered(WRITES).try_collect().await
    }

    async fn put_step(&self, run: &RunId, step: &StepRecord) -> Result<(), StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(encode::step(run, step)?))
            .condition_expression("attribute_not_exists(pk)");
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|reason| reason.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(failed("PutItem", &error)),
        }
    }

    async fn update_step(&self, step_id: &StepId, write: Expression) -> Result<Result<Item, Option<Item>>, StoreError> {
        self.update_or_see(&encode::run_pk(&step_id.run), &encode::step_sk(&step_id.step), write).await
    }

    pub(super) async fn begin(&self, step_id: &StepId, now: Millis) -> Result<Option<StepRecord>, StoreError> {
        let write = Expression::new()
            .assign("#calls = #calls + :one")
            .with("one", number(1))
            .set_once("started_at", number(now))
            // Waiting is the absence of a state; every other one stays.
            .set_once("state", word(StepState::Running)?)
            .only_if("attribute_exists(#pk)");
        match self.update_step(step_id, write).await? {
            Ok(item) => decode::step(&item).map(Some),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn know(&self, step_id: &StepId, key: &ContentKey) -> Result<(), StoreError> {
        let write = Expression::new().set("key", text(key.as_str())).only_if("attribute_exists(#pk)");
        self.update_step(step_id, write).await.map(drop)
    }

    pub(super) async fn note(&self, step_id: &StepId, source: ResultSource) -> Result<(), StoreError> {
        let write = Expression::new()
            .set("source", word(source)?)
            .only_if(&format!("{UNDECIDED} AND (attribute_not_exists(#source) OR #source <> :generated)"))
            .with("running", word(StepState::Running)?)
            .with("generated", word(ResultSource::Generated)?);
        self.update_step(step_id, write).await.map(drop)
    }

    pub(super) async fn pin_once(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> Result<Option<StepRecord>, StoreError> {
        let write = Expression::new()
            .set("pinned", json(ready)?)
            .set("state", word(StepState::Done)?)
            .set("ended_at", number(now))
            .set_once("source", word(source)?)
            .remove("failure")
            .only_if("attribute_exists(#pk) AND attribute_not_exists(#pinned)");
        match self.update_step(step_id, write).await? {
            Ok(item) | Err(Some(item)) => decode::step(&item).map(Some),
            Err(None) => Ok(None),
        }
    }

    pub(super) async fn give_up(&self, step_id: &StepId, failure: &Failure, now: Millis) -> Result<(), StoreError> {
        let write = Expression::new()
            .set("state", word(StepState::Failed)?)
            .set("failure", json(failure)?)
            .set("ended_at", number(now))
            .only_if(UNDECIDED)
            .with("running", word(StepState::Running)?);
        self.update_step(step_id, write).await.map(drop)
    }
}
