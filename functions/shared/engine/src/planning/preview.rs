//! Previews a run: stages, lanes, hits, and the price and duration of the rest. It writes nothing and spends nothing.

use std::collections::BTreeSet;

use fresco_api_types::{MissReason, Preview, PreviewStage, PreviewStep};
use fresco_ledger::traits::Runs as _;
use fresco_pipeline::catalogue;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{RunId, StepName, StepRef};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{Plan, PlannedStep, critical_path, wall};

use crate::planning::Planner;
use crate::planning::cache_lookup::{CacheLookup, EarlierSteps};
use crate::planning::step_diff::{OutputsByStep, PreviousRun};
use crate::planning::work_list::{WorkList, events, providers};
use crate::platform::Platform;

impl<P: Platform> Planner<P> {
    /// Previews the run of a plan.
    pub async fn preview(&self, plan: &Plan) -> Result<Preview, Failure> {
        // It salts the keys of uncached steps, which are never looked up.
        let run = RunId::parse("preview-only").map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let found = self.look_up(&run, plan, &EarlierSteps::new()).await?;
        let (found, compared_with) = self.compared(plan, found).await?;
        let steps: Vec<PreviewStep> = plan.steps.iter().zip(found).map(|(step, found)| shown(step, found)).collect();
        let left: BTreeSet<StepName> = steps.iter().filter(|step| !step.hit).map(|step| step.name.clone()).collect();
        let length = |place: usize| steps.get(place).filter(|step| !step.hit).map_or(0, |step| step.expected_ms);
        let work = self.work(plan, |step| left.contains(&step.id().public_name()));
        let name = |place: &usize| plan.steps.get(*place).map(|step| step.id().public_name());
        Ok(Preview {
            name: plan.name.clone(),
            stages: plan
                .stages
                .iter()
                .map(|stage| PreviewStage {
                    workers: stage.workers,
                    lanes: stage.lanes.iter().map(|lane| lane.steps.iter().filter_map(name).collect()).collect(),
                })
                .collect(),
            price: steps.iter().map(|step| step.price).sum(),
            net: steps.iter().filter(|step| !step.hit).map(|step| step.price).sum(),
            saved: steps.iter().map(|step| step.saves).sum(),
            compared_with,
            refused: self.refusal(plan, &work).await?,
            max_cost: Some(plan.max_cost).filter(|cost| *cost != Money::UNLIMITED),
            sequential_ms: (0..steps.len()).map(length).sum(),
            wall_ms: wall(&plan.stages, length),
            critical_path_ms: critical_path(&plan.reads(), length),
            missing_keys: self.missing_keys(providers(plan, &work)).await?,
            events: events(plan, &work),
            steps,
        })
    }

    /// Compares new steps with the last run of the pipeline for the reasons of their misses. Returns that run too.
    async fn compared(
        &self,
        plan: &Plan,
        mut found: Vec<CacheLookup>,
    ) -> Result<(Vec<CacheLookup>, Option<RunId>), Failure> {
        let unknown = |found: &CacheLookup| matches!(found, CacheLookup::Miss { key: Some(_), why: MissReason::New });
        if !found.iter().any(unknown) {
            return Ok((found, None));
        }
        let ledger = self.platform.ledger();
        let Some(run) = ledger.last_planned(&plan.name).await? else { return Ok((found, None)) };
        let rows = ledger.steps(&run).await?;
        let before = PreviousRun::new(&rows);
        let hits: Vec<_> = plan
            .steps
            .iter()
            .zip(&found)
            .filter_map(|(step, found)| match found {
                CacheLookup::Hit { ready, .. } => Some((step.id(), ready.outputs.clone())),
                CacheLookup::Miss { .. } => None,
            })
            .collect();
        let made: OutputsByStep<'_> = hits.iter().map(|(step, outputs)| (step.clone(), outputs.as_slice())).collect();
        for (step, found) in plan.steps.iter().zip(&mut found) {
            if let CacheLookup::Miss { key: Some(key), why } = found
                && *why == MissReason::New
            {
                *why = before.why(step, key, &made);
            }
        }
        Ok((found, Some(run)))
    }

    /// Returns the failure with which planning would refuse the run, apart from missing keys.
    async fn refusal(&self, plan: &Plan, work: &WorkList) -> Result<Option<Failure>, Failure> {
        match self.require(plan, work).await {
            Ok(()) => Ok(None),
            Err(cause) if cause.name.is_retryable() => Err(cause),
            Err(cause) => Ok(Some(cause)),
        }
    }
}

fn shown(step: &PlannedStep, found: CacheLookup) -> PreviewStep {
    let model = catalogue::find(step.step, &step.model);
    let (saves, key, why) = match found {
        CacheLookup::Hit { key, ready } => (Some(ready.cost), Some(key), None),
        CacheLookup::Miss { key, why } => (None, key, Some(why)),
    };
    PreviewStep {
        name: step.id().public_name(),
        kind: step.step,
        model: step.model.clone(),
        provider: step.provider,
        price: step.price,
        guide_price: model.map_or(Money::ZERO, |model| Money::micros(model.price.guide).times(step.outputs.into())),
        expected_ms: model.map_or(0, |model| u64::from(model.seconds.min + model.seconds.max) * 500),
        hit: saves.is_some(),
        saves: saves.unwrap_or(Money::ZERO),
        why,
        key,
        reads: step.reads().iter().map(StepRef::public_name).collect(),
    }
}
