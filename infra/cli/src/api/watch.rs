//! Watches a run by its events, and a batch by its view.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fresco_api_types::{BatchView, EventView, RunEvent};
use fresco_pipeline::ids::RunId;
use reqwest::Method;

use super::{Api, ApiError};

/// The first interval between polls of a run.
const INTERVAL: Duration = Duration::from_millis(200);
/// The longest interval between polls, for long runs: requests cost money on AWS.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// The interval between polls of a batch.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The most retries of a poll in a row.
const MAX_RETRIES: u32 = 5;
/// The time after which the execution of a batch that neither runs nor changes may be gone. Its own pause comes on top.
const IDLE: Duration = Duration::from_secs(120);

/// A watch over a run. [`Watch::next`] returns its new events.
pub struct Watch<'a> {
    api: &'a Api,
    run: RunId,
    seen: BTreeSet<String>,
    after: i64,
    pause: Duration,
}

impl Api {
    /// Watches a run.
    pub fn watch(&self, run: &RunId) -> Watch<'_> {
        Watch { api: self, run: run.clone(), seen: BTreeSet::new(), after: 0, pause: INTERVAL }
    }
}

impl Watch<'_> {
    /// Waits for new events. The last event is [`RunEvent::RunEnded`].
    pub async fn next(&mut self) -> Result<Vec<RunEvent>, ApiError> {
        let mut retries = Retries::default();
        loop {
            let events = retries.with(self.events().await)?.unwrap_or_default();
            if !events.is_empty() {
                self.pause = INTERVAL;
                return Ok(events);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 5 / 4).min(MAX_INTERVAL);
        }
    }

    async fn events(&mut self) -> Result<Vec<RunEvent>, ApiError> {
        let path = format!("/runs/{}/events?after={}", self.run, self.after);
        let lines = self.api.ask(Method::GET, &path, None, None).await?;
        let mut new_events = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: EventView = serde_json::from_slice(line)
                .map_err(|error| ApiError::unexpected(format!("an event cannot be read: {error}")))?;
            self.after = self.after.max(event.at);
            // Events are listed at least once.
            if self.seen.insert(event.id) {
                new_events.push(event.what);
            }
        }
        Ok(new_events)
    }
}

/// A watch over a batch. [`BatchWatch::next`] returns its changes.
pub struct BatchWatch<'a> {
    api: &'a Api,
    batch: RunId,
    seen: Option<BatchView>,
    idle_time: IdleTime,
}

/// A change of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchUpdate {
    /// Its new view.
    Changed(Box<BatchView>),
    /// Nothing of it runs, and nothing has changed for this time. Returned once.
    Idle(Duration),
}

impl Api {
    /// Watches a batch.
    pub fn watch_batch(&self, batch: &RunId) -> BatchWatch<'_> {
        BatchWatch { api: self, batch: batch.clone(), seen: None, idle_time: IdleTime::new(Instant::now()) }
    }
}

impl BatchWatch<'_> {
    /// Waits for a change of the batch. The first call returns its view at once.
    pub async fn next(&mut self) -> Result<BatchUpdate, ApiError> {
        let mut retries = Retries::default();
        let mut asked = self.seen.is_some();
        loop {
            if asked {
                tokio::time::sleep(BATCH_INTERVAL).await;
            }
            asked = true;
            let Some(view) = retries.with(self.api.batch(&self.batch).await)? else { continue };
            if self.seen.as_ref().is_none_or(|seen| has_changed(seen, &view)) {
                self.idle_time.since = Instant::now();
                self.seen = Some(view.clone());
                return Ok(BatchUpdate::Changed(Box::new(view)));
            }
            if let Some(idle) = self.idle_time.update(&view, Instant::now()) {
                return Ok(BatchUpdate::Idle(idle));
            }
        }
    }
}

/// Compares two views apart from times and rates, which differ at every poll.
fn has_changed(seen: &BatchView, now: &BatchView) -> bool {
    let what = |view: &BatchView| (view.status, view.stopping, view.counts, view.plan.is_some());
    what(seen) != what(now)
}

/// The time since which nothing of a batch runs or changes.
struct IdleTime {
    since: Instant,
    reported: bool,
}

impl IdleTime {
    fn new(since: Instant) -> Self {
        IdleTime { since, reported: false }
    }

    /// Updates the time by a view that has not changed. Returns it once, when it is long enough.
    fn update(&mut self, view: &BatchView, now: Instant) -> Option<Duration> {
        if view.running_chunks > 0 {
            self.since = now;
        }
        let idle = now.saturating_duration_since(self.since);
        let pause = view.plan.as_ref().map_or(0, |plan| plan.pause_seconds);
        if self.reported || idle < IDLE + Duration::from_secs(pause.into()) {
            return None;
        }
        self.reported = true;
        Some(idle)
    }
}

/// The number of retries in a row.
#[derive(Default)]
struct Retries(u32);

impl Retries {
    /// Returns the answer, or `None` where a retry may succeed.
    fn with<T>(&mut self, answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match answer {
            Ok(answer) => {
                self.0 = 0;
                Ok(Some(answer))
            }
            Err(error) if error.is_retryable() && self.0 < MAX_RETRIES => {
                self.0 += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use fresco_pipeline::batch::BatchPlan;
    use fresco_pipeline::status::BatchStatus;

    use super::*;

    fn busy() -> Result<(), ApiError> {
        Err(ApiError::of(502, b"<html>"))
    }

    #[test]
    fn retries_are_bounded_and_begin_again_with_an_answer() {
        let mut retries = Retries::default();
        for _ in 0..3 {
            for _ in 0..MAX_RETRIES {
                assert!(matches!(retries.with(busy()), Ok(None)));
            }
            assert!(matches!(retries.with(Ok(())), Ok(Some(()))), "an answer resets them");
        }
        for _ in 0..MAX_RETRIES {
            retries.with(busy()).unwrap();
        }
        assert!(matches!(retries.with(busy()), Err(ApiError::Busy(502))));
        let gone = Err::<(), _>(ApiError::Gone);
        assert!(matches!(Retries::default().with(gone), Err(ApiError::Gone)));
    }

    #[test]
    fn an_idle_batch_is_reported_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let view = |running_chunks, pause_seconds| {
            let plan = BatchPlan { pause_seconds, ..BatchPlan::default() };
            BatchView { running_chunks, plan: Some(plan), ..batch() }
        };
        let (idle, runs) = (view(0, 0), view(1, 0));
        let mut idle_time = IdleTime::new(start);
        assert_eq!(idle_time.update(&idle, at(119)), None);
        assert_eq!(idle_time.update(&idle, at(120)), Some(Duration::from_secs(120)));
        assert_eq!(idle_time.update(&idle, at(900)), None, "once");

        let mut idle_time = IdleTime::new(start);
        assert_eq!(idle_time.update(&runs, at(119)), None);
        assert_eq!(idle_time.update(&idle, at(238)), None, "a chunk ran a moment ago");
        assert_eq!(idle_time.update(&idle, at(239)), Some(Duration::from_secs(120)));

        let mut idle_time = IdleTime::new(start);
        assert_eq!(idle_time.update(&view(0, 600), at(719)), None, "this may be its pause");
        assert!(idle_time.update(&view(0, 600), at(720)).is_some());
        assert!(IdleTime::new(start).update(&batch(), at(120)).is_some(), "also while it is planned");
    }

    fn batch() -> BatchView {
        BatchView {
            id: "batch-01".to_owned(),
            name: "n".to_owned(),
            status: BatchStatus::Planning,
            stopping: false,
            created_at: 0,
            began_at: 0,
            ended_at: None,
            plan: None,
            counts: Default::default(),
            running_chunks: 0,
            rows_per_second: 0.0,
            expected_end: None,
            failure: None,
        }
    }
}
