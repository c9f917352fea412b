//! Watching a run by its events, and a batch by what is said of it. Neither depends on being watched.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fresco_engine::wire::{BatchView, EventView, Happened};
use fresco_pipeline::ids::RunId;
use reqwest::Method;

use super::{Api, ApiError};

/// How often a run is asked after while it goes on.
const INTERVAL: Duration = Duration::from_millis(200);
/// The longest pause between questions, for long runs: they cost money on AWS.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);
/// How often a batch is asked after while it goes on.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// A question that is not answered is asked again so often in a row.
const PATIENCE: u32 = 5;
/// A batch of which nothing runs, and nothing changes for so long beyond its own pause, may be one whose execution is gone.
const STILL: Duration = Duration::from_secs(120);

/// A run being watched. [`Watch::next`] gives what has happened since.
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
    /// Waits until something has happened. The last event is [`Happened::RunEnded`].
    pub async fn next(&mut self) -> Result<Vec<Happened>, ApiError> {
        let mut patience = Patience::default();
        loop {
            let events = patience.with(self.events().await)?.unwrap_or_default();
            if !events.is_empty() {
                self.pause = INTERVAL;
                return Ok(events);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 5 / 4).min(LONGEST_INTERVAL);
        }
    }

    async fn events(&mut self) -> Result<Vec<Happened>, ApiError> {
        let path = format!("/runs/{}/events?after={}", self.run, self.after);
        let lines = self.api.ask(Method::GET, &path, None, None).await?;
        let mut news = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: EventView = serde_json::from_slice(line)
                .map_err(|error| ApiError::unexpected(format!("an event cannot be read: {error}")))?;
            self.after = self.after.max(event.at);
            // Events are told at least once.
            if self.seen.insert(event.id) {
                news.push(event.what);
            }
        }
        Ok(news)
    }
}

/// A batch being watched. [`BatchWatch::next`] gives what is new of it.
pub struct BatchWatch<'a> {
    api: &'a Api,
    batch: RunId,
    seen: Option<BatchView>,
    stillness: Stillness,
}

/// What is new of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchNews {
    /// It is so now.
    Changed(Box<BatchView>),
    /// Nothing of it runs, and nothing has changed for so long. Said once.
    Still(Duration),
}

impl Api {
    /// Watches a batch.
    pub fn watch_batch(&self, batch: &RunId) -> BatchWatch<'_> {
        BatchWatch { api: self, batch: batch.clone(), seen: None, stillness: Stillness::new(Instant::now()) }
    }
}

impl BatchWatch<'_> {
    /// Waits until something has changed about the batch. What it is at first is said at once.
    pub async fn next(&mut self) -> Result<BatchNews, ApiError> {
        let mut patience = Patience::default();
        let mut asked = self.seen.is_some();
        loop {
            if asked {
                tokio::time::sleep(BATCH_INTERVAL).await;
            }
            asked = true;
            let Some(view) = patience.with(self.api.batch(&self.batch).await)? else { continue };
            if self.seen.as_ref().is_none_or(|seen| has_changed(seen, &view)) {
                self.stillness.since = Instant::now();
                self.seen = Some(view.clone());
                return Ok(BatchNews::Changed(Box::new(view)));
            }
            if let Some(still) = self.stillness.look(&view, Instant::now()) {
                return Ok(BatchNews::Still(still));
            }
        }
    }
}

/// Times and rates are others at every look.
fn has_changed(seen: &BatchView, now: &BatchView) -> bool {
    let what = |view: &BatchView| (view.status, view.stopping, view.counts, view.plan.is_some());
    what(seen) != what(now)
}

/// Since when nothing of a batch runs or changes, and whether that was said.
struct Stillness {
    since: Instant,
    said: bool,
}

impl Stillness {
    fn new(since: Instant) -> Self {
        Stillness { since, said: false }
    }

    /// Looks at a batch that has not changed; how long it has been still, once that is worth a word.
    fn look(&mut self, view: &BatchView, now: Instant) -> Option<Duration> {
        if view.running_chunks > 0 {
            self.since = now;
        }
        let still = now.saturating_duration_since(self.since);
        let pause = view.plan.as_ref().map_or(0, |plan| plan.pause_seconds);
        if self.said || still < STILL + Duration::from_secs(pause.into()) {
            return None;
        }
        self.said = true;
        Some(still)
    }
}

/// How many questions in a row were not answered.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    /// The answer; `None` where it is worth asking again.
    fn with<T>(&mut self, answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match answer {
            Ok(answer) => {
                self.0 = 0;
                Ok(Some(answer))
            }
            Err(error) if error.is_passing() && self.0 < PATIENCE => {
                self.0 += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use fresco_ledger::records::{BatchPlan, BatchStatus};

    use super::*;

    fn busy() -> Result<(), ApiError> {
        Err(ApiError::of(502, b"<html>"))
    }

    #[test]
    fn patience_is_with_what_passes_and_ends() {
        let mut patience = Patience::default();
        for _ in 0..3 {
            for _ in 0..PATIENCE {
                assert!(matches!(patience.with(busy()), Ok(None)));
            }
            assert!(matches!(patience.with(Ok(())), Ok(Some(()))), "an answer begins anew");
        }
        for _ in 0..PATIENCE {
            patience.with(busy()).unwrap();
        }
        assert!(matches!(patience.with(busy()), Err(ApiError::Busy(502))));
        let gone = Err::<(), _>(ApiError::Gone);
        assert!(matches!(Patience::default().with(gone), Err(ApiError::Gone)));
    }

    #[test]
    fn a_batch_that_stands_still_is_said_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let view = |running_chunks, pause_seconds| {
            let plan = BatchPlan { pause_seconds, ..BatchPlan::default() };
            BatchView { running_chunks, plan: Some(plan), ..batch() }
        };
        let (still, runs) = (view(0, 0), view(1, 0));
        let mut stillness = Stillness::new(start);
        assert_eq!(stillness.look(&still, at(119)), None);
        assert_eq!(stillness.look(&still, at(120)), Some(Duration::from_secs(120)));
        assert_eq!(stillness.look(&still, at(900)), None, "once");

        let mut stillness = Stillness::new(start);
        assert_eq!(stillness.look(&runs, at(119)), None);
        assert_eq!(stillness.look(&still, at(238)), None, "a chunk ran a moment ago");
        assert_eq!(stillness.look(&still, at(239)), Some(Duration::from_secs(120)));

        let mut stillness = Stillness::new(start);
        assert_eq!(stillness.look(&view(0, 600), at(719)), None, "it may be its pause");
        assert!(stillness.look(&view(0, 600), at(720)).is_some());
        assert!(Stillness::new(start).look(&batch(), at(120)).is_some(), "also while it is planned");
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
