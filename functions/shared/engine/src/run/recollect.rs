//! Collects outputs of a run again that are paid and could not be stored, on request.

use fresco_api_types::RecollectView;
use fresco_ledger::records::{AttemptState, StepState};
use fresco_ledger::traits::{Clock, Entries, Invoker, Runs as _};
use fresco_ledger::transition::recollect;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_providers::JobReport;

use crate::platform::Platform;
use crate::run::Runs;

/// The last attempts of an entry that are looked at.
const LAST_ATTEMPTS: u32 = 8;

/// The outcome for one step.
enum Found {
    Stored,
    Collecting,
    Nothing,
}

impl<P: Platform> Runs<P> {
    /// Collects the outputs again of every step of the run without a result whose provider has reported a success. They are
    /// fetched for another day; a run that has ended stays as it is, and the next one finds them.
    pub async fn recollect(&self, run: &RunId) -> Result<RecollectView, Failure> {
        let id = self.record(run).await?.id.to_string();
        let mut view = RecollectView { id, collecting: Vec::new(), stored: Vec::new(), nothing: Vec::new() };
        for step in self.platform.ledger().steps(run).await? {
            if step.state == StepState::Done {
                continue;
            }
            let found = match &step.key {
                Some(key) => self.recollect_key(key).await?,
                None => Found::Nothing,
            };
            let name = step.plan.id().public_name().to_string();
            match found {
                Found::Stored => view.stored.push(name),
                Found::Collecting => view.collecting.push(name),
                Found::Nothing => view.nothing.push(name),
            }
        }
        Ok(view)
    }

    async fn recollect_key(&self, key: &ContentKey) -> Result<Found, Failure> {
        let Some(entry) = self.commits.entry(key).await? else { return Ok(Found::Nothing) };
        if entry.result.is_some() {
            return Ok(Found::Stored);
        }
        let last = entry.last_attempt.0;
        for attempt in (last.saturating_sub(LAST_ATTEMPTS - 1).max(1)..=last).rev().map(Attempt) {
            let Some(row) = self.commits.attempt(key, attempt).await? else { continue };
            if matches!(row.state, AttemptState::Won | AttemptState::Duplicate)
                || !self.has_succeeded(key, attempt).await?
            {
                continue;
            }
            let now = self.platform.clock().now();
            self.commits.commit(key, attempt, |entry, row| recollect(entry, row, now)).await?;
            self.platform.invoker().collect(key, attempt).await?;
            return Ok(Found::Collecting);
        }
        Ok(Found::Nothing)
    }

    async fn has_succeeded(&self, key: &ContentKey, attempt: Attempt) -> Result<bool, Failure> {
        let report = self.platform.ledger().report(key, attempt).await?;
        let report = report.and_then(|json| serde_json::from_str::<JobReport>(&json).ok());
        Ok(matches!(report, Some(JobReport::Succeeded { .. } | JobReport::TextOutput { .. })))
    }
}
