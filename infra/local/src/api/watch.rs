//! Watching a run by its events.

use std::collections::BTreeSet;
use std::time::Duration;

use fresco_engine::wire::{EventView, Happened};
use fresco_pipeline::ids::RunId;
use reqwest::Method;

use super::{Api, ApiError};

/// How often a run is asked after while it goes on.
const INTERVAL: Duration = Duration::from_millis(200);
/// The longest pause between questions, for long runs: they cost money on AWS.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);
/// A question that is not answered is asked again so often in a row.
const PATIENCE: u32 = 5;

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
        let mut failures = 0;
        loop {
            match self.events().await {
                Ok(events) if !events.is_empty() => {
                    self.pause = INTERVAL;
                    return Ok(events);
                }
                Ok(_) => failures = 0,
                // The run does not depend on being watched.
                Err(ApiError::Unreachable { .. }) if failures < PATIENCE => failures += 1,
                Err(ApiError::Problem(problem)) if problem.status == 503 && failures < PATIENCE => failures += 1,
                Err(error) => return Err(error),
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
