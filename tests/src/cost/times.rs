//! The times of cached runs, and of the notification of many waiters.

use anyhow::{Context, ensure};
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::{Entries, Runs, Waiters};

use super::counts::Counts;
use super::meter::{Meter, median, prompt};
use super::steps::{SIDE_BY_SIDE, document};

/// Cached runs are timed this often.
const REPETITIONS: usize = 5;

/// A run whose steps are all cached: the medians of several runs, and the counts of the last.
#[derive(Debug)]
pub(super) struct CachedRun {
    pub(super) steps: usize,
    /// From the run's record to its end, in milliseconds.
    pub(super) run_ms: i64,
    /// The time of the plan function, in milliseconds.
    pub(super) plan_ms: i64,
    pub(super) counts: Counts,
}

/// The notification of the waiters of one result.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) waiters: usize,
    /// From the completed entry to the first step that has its result, in milliseconds.
    pub(super) first_ms: i64,
    /// To the last step that has it.
    pub(super) last_ms: i64,
}

impl Meter {
    /// Generates that many steps, and then times runs of them.
    pub(super) async fn cached_run(&self, steps: usize) -> anyhow::Result<CachedRun> {
        eprintln!("generating {steps} steps, and timing runs of them");
        let document = document(steps, SIDE_BY_SIDE, |number| prompt(&format!("{steps} cached"), number));
        self.run(document.clone()).await?;
        let (mut run_ms, mut plan_ms, mut counts) = (Vec::new(), Vec::new(), Counts::default());
        for _ in 0..REPETITIONS {
            let (record, counted) = self.counted(async || self.run(document.clone()).await).await?;
            run_ms.push(record.ended_at.context("the run has no end")? - record.created_at);
            plan_ms.push(counted.time_of("plan"));
            counts = counted;
        }
        Ok(CachedRun { steps, run_ms: median(run_ms), plan_ms: median(plan_ms), counts })
    }

    /// Lets that many steps, a multiple of [`SIDE_BY_SIDE`], wait for one result, and completes it.
    pub(super) async fn notify(&self, waiters: usize) -> anyhow::Result<Notification> {
        eprintln!("letting {waiters} steps wait for one result");
        self.hold_webhooks(true)?;
        let document = document(SIDE_BY_SIDE, SIDE_BY_SIDE, |_| prompt(&format!("{waiters} waiters"), 0));
        let mut runs = Vec::new();
        for _ in 0..waiters / SIDE_BY_SIDE {
            let run = self.tools.start_run(document.clone()).await?;
            self.all_joined(&run, SIDE_BY_SIDE * (runs.len() + 1)).await?;
            runs.push(run);
        }
        self.release_webhooks(1).await?;
        let mut ends = Vec::with_capacity(waiters);
        let mut key = None;
        for run in &runs {
            self.run_succeeded(run).await?;
            let steps = self.tools.ledger.steps(run).await?;
            key = steps.iter().find_map(|step| step.key.clone());
            ends.extend(steps.into_iter().filter_map(|step| step.ended_at));
        }
        self.hold_webhooks(false)?;
        let key = key.context("a step has no key")?;
        let entry = self.tools.ledger.entry(&key).await?.context("the entry does not exist")?;
        let result = entry.result.context("the entry has no result")?;
        let attempt = self.tools.ledger.attempt(&key, result.attempt).await?.context("the attempt does not exist")?;
        let completed_at = attempt.claimed_at + result.took_ms;
        ensure!(ends.len() == waiters, "{} of {waiters} waiters were notified", ends.len());
        let since = |at: Option<&i64>| at.map_or(0, |at| (at - completed_at).max(0));
        Ok(Notification { waiters, first_ms: since(ends.iter().min()), last_ms: since(ends.iter().max()) })
    }

    /// Waits until all steps of a run wait, together with those of the runs before.
    async fn all_joined(&self, run: &fresco_pipeline::ids::RunId, waiters: usize) -> anyhow::Result<()> {
        crate::tool_stack::until("waiters", super::meter::WITHIN, async || {
            let steps = self.tools.ledger.steps(run).await?;
            let joined =
                steps.iter().filter(|step| matches!(step.source, Some(ResultSource::Joined | ResultSource::Generated)));
            let Some(key) = steps.iter().find_map(|step| step.key.clone()) else { return Ok(None) };
            let all_note_it = joined.count() == SIDE_BY_SIDE;
            Ok((all_note_it && self.tools.ledger.waiters(&key).await?.len() == waiters).then_some(()))
        })
        .await
    }
}
