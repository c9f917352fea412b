//! Telling many waiters: an attempt under way whose report is recorded, so many steps of runs that wait for it, and collect
//! is called. The runs have no executions, and their tokens are made up: Step Functions is called for each and answers that
//! it does not know it, which collect takes for an answer.

use std::collections::BTreeMap;

use fresco_ledger::records::{Entry, Request, ResultSource, StepId, StepRecord, StepState};
use fresco_ledger::traits::{Entries, Invoker, Runs, Wait, Waiters};
use fresco_ledger::transition::{AcquireRequest, Acquisition, acquire, record_submission};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, TokenHash};
use fresco_pipeline::plan::compile;
use fresco_providers::JobReport;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::counts::Counts;
use super::seed::{ALL, AT_ONCE, document, prompt};
use super::{Bench, BenchError, until};

/// The most steps of a run.
const MOST_STEPS: usize = 1_000;
/// About as long as a task token of AWS, so that rows have their real size.
const TOKEN_LENGTH: usize = 700;
const HOUR: i64 = 3_600_000;

/// So many waiters told.
#[derive(Debug, Clone, Serialize)]
pub struct Telling {
    /// How many.
    pub waiters: usize,
    /// From the completed entry to the first step that has its result, in milliseconds.
    pub first_ms: i64,
    /// To the last one.
    pub last_ms: i64,
    /// Collect's own time in milliseconds.
    pub collect_ms: i64,
    /// What collect asked for.
    pub requests: Counts,
}

/// What waits.
struct Waiting {
    key: ContentKey,
    attempt: Attempt,
    runs: Vec<RunId>,
}

impl Bench {
    pub(super) async fn telling(&self, waiters: usize) -> Result<Telling, BenchError> {
        self.progress.step(format!("making {waiters} steps wait for one result"));
        let waiting = self.let_wait(waiters).await?;
        let before = self.quiet().await?.stack;
        self.progress.step(format!("telling {waiters} waiters"));
        let collect = self.aws.invoker(self.stack.output("CollectFunctionName"), "");
        collect.collect(&waiting.key, waiting.attempt).await?;
        let ready = until("the end of telling", async || {
            let entry = self.ledger.entry(&waiting.key).await?;
            Ok(entry.filter(|entry| !entry.notify_pending).and_then(|entry| entry.result))
        })
        .await?;
        let requests = self.quiet().await?.stack.minus(&before).without_start_up();

        let row = self.ledger.attempt(&waiting.key, waiting.attempt).await?;
        let completed = row.ok_or(BenchError::Unexpected("the attempt is gone"))?.claimed_at + ready.took_ms;
        let mut told = Vec::with_capacity(waiters);
        for run in &waiting.runs {
            told.extend(self.ledger.steps(run).await?.into_iter().filter_map(|step| step.ended_at));
        }
        let left = self.ledger.waiters(&waiting.key).await?.len();
        if left > 0 || told.len() != waiters {
            return Err(BenchError::Unexpected("not every waiter was told"));
        }
        let since = |at: Option<i64>| at.map_or(0, |at| (at - completed).max(0));
        Ok(Telling {
            waiters,
            first_ms: since(told.iter().min().copied()),
            last_ms: since(told.iter().max().copied()),
            collect_ms: requests.functions.get("collect").map_or(0, |calls| calls.ms),
            requests,
        })
    }

    /// Runs whose steps all wait for the one attempt that the first of them has claimed and submitted.
    async fn let_wait(&self, waiters: usize) -> Result<Waiting, BenchError> {
        let (mut attempt, mut key, mut runs) = (Attempt::NONE, None, Vec::new());
        while runs.len() * MOST_STEPS < waiters {
            let count = (waiters - runs.len() * MOST_STEPS).min(MOST_STEPS);
            let request = document(count, ALL, |_| prompt(&format!("{waiters} waiters"), 0));
            let run = self.admin.engine().record_run(&request).await?;
            let plan = compile(&request.check().map_err(|problems| BenchError::Document(problems.to_string()))?);
            let first = plan.steps.first().and_then(|step| step.resolve(&run, &BTreeMap::new()).ok().flatten());
            let ready = first.ok_or(BenchError::Unexpected("a step that reads no other cannot be resolved"))?;
            let now = self.now();
            let rows: Vec<StepRecord> = plan
                .steps
                .into_iter()
                .map(|plan| StepRecord {
                    run: run.clone(),
                    plan,
                    key: Some(ready.key.clone()),
                    state: StepState::Running,
                    source: Some(ResultSource::Joined),
                    pinned: None,
                    failure: None,
                    started_at: Some(now),
                    ended_at: None,
                    calls: 1,
                })
                .collect();
            self.ledger.plan_run(&run, "waiting", &rows, now + HOUR).await?;
            let askers = rows.iter().map(|row| StepId { run: run.clone(), step: row.plan.name.clone() });
            let waits: Vec<Wait> = askers.map(|step_id| waits(step_id, now)).collect();
            let writes = waits.iter().map(|wait| self.ledger.put_waiter(&ready.key, wait));
            futures::stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            if let (None, Some(leader)) = (&key, waits.first()) {
                attempt = self.submitted(&ready.key, leader, &Request::from(&ready)).await?;
                key = Some(ready.key);
            }
            runs.push(run);
        }
        let key = key.ok_or(BenchError::Unexpected("nobody waits"))?;
        Ok(Waiting { key, attempt, runs })
    }

    /// The leader's attempt, submitted and ended, in the ledger's own steps. Its report is a text: that has nothing to be
    /// fetched.
    async fn submitted(&self, key: &ContentKey, leader: &Wait, request: &Request) -> Result<Attempt, BenchError> {
        let now = leader.now;
        let waiter = self.ledger.put_waiter(key, leader).await?;
        let asked = AcquireRequest {
            waiter: &waiter,
            usable: false,
            request,
            token_hash: &TokenHash::of("bench"),
            lease_until: now + HOUR,
            submitter_dead_at: now + HOUR,
            now,
        };
        let Acquisition::Claim(claim) = acquire(&Entry::new(key.clone()), &asked) else {
            return Err(BenchError::Unexpected("a new entry cannot be claimed"));
        };
        self.ledger.commit(&claim).await?;
        let attempt = claim.entry.last_attempt;
        let rows = (self.ledger.entry(key).await?, self.ledger.attempt(key, attempt).await?);
        let (Some(entry), Some(row)) = rows else {
            return Err(BenchError::Unexpected("a claim has left no rows"));
        };
        if let Some(change) = record_submission(&entry, &row, &format!("bench-{}", key.as_str()), now) {
            self.ledger.commit(&change).await?;
        }
        let text = "A lighthouse on a cliff.".to_owned();
        let report = JobReport::TextOutput { text, input_tokens: None, output_tokens: None, seconds: None };
        self.ledger.record_report(key, attempt, &serde_json::to_string(&report)?).await?;
        Ok(attempt)
    }
}

fn waits(step_id: StepId, now: i64) -> Wait {
    let token = format!("{:x<TOKEN_LENGTH$}", format!("bench-{}-{}", step_id.run, step_id.step));
    Wait { step_id, token, base: Attempt::NONE, now, timeout_ms: HOUR }
}
