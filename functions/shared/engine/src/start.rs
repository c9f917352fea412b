//! What every way in does before it starts the state machine: the document is checked, and it and the run's record are
//! written. Only `{run_id}` travels from here.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_ledger::rows::{Millis, RunRow, RunStatus};
use fresco_ledger::traits::{Clock, Objects, Runs};
use fresco_pipeline::document::{Checked, Given, Mention, Problems, check, mentions};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_pipeline::money::Money;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// What a run was asked to do. It is kept beside the run's record, as `runs/<id>/request.json`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// The pipeline document, as it was given.
    pub document: String,
    /// The input text.
    pub input: Option<String>,
    /// The input image, as it was named.
    pub image: Option<String>,
    /// `{{vars.x}}`, over the document's own.
    pub vars: BTreeMap<String, String>,
    /// `{{env.X}}`.
    pub env: BTreeMap<String, String>,
    /// Whether groups run side by side where the document does not say.
    pub parallel: Option<bool>,
    /// Files and URLs that the document names, as they were kept; by the text that names them.
    pub media: BTreeMap<String, InputMedia>,
    /// `{{timestamp}}`; fixed when the run is recorded.
    pub timestamp: String,
    /// `{{random}}`; likewise.
    pub random: String,
    /// What of the media could not be had. Not kept: such a run is not recorded.
    #[serde(skip)]
    pub refused: BTreeMap<String, MediaProblem>,
}

impl RunRequest {
    /// The document, checked and filled.
    pub fn check(&self) -> Result<Checked, Problems> {
        check(&self.document, &self.given())
    }

    /// The files and URLs that the document names: what has to be in `media` before it checks.
    pub fn mentions(&self) -> Vec<Mention> {
        mentions(&self.document, &self.given())
    }

    /// The request with `{{timestamp}}` and `{{random}}` fixed.
    pub fn fixed(&self, now: Millis, random: &str) -> Result<Self, Failure> {
        let at = jiff::Timestamp::from_millisecond(now)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let random = random.get(..8).unwrap_or(random).to_owned();
        Ok(RunRequest { timestamp: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), random, ..self.clone() })
    }

    fn given(&self) -> Given {
        let kept = self.media.iter().map(|(text, media)| (text.clone(), Ok(media.clone())));
        let refused = self.refused.iter().map(|(text, problem)| (text.clone(), Err(problem.clone())));
        Given {
            input: self.input.clone(),
            image: self.image.clone(),
            vars: self.vars.clone(),
            env: self.env.clone(),
            parallel: self.parallel,
            timestamp: self.timestamp.clone(),
            random: self.random.clone(),
            media: kept.chain(refused).collect(),
        }
    }
}

/// Where a run's request is kept.
pub fn request_key(run: &RunId) -> String {
    format!("runs/{run}/request.json")
}

/// Where a run's manifest is kept.
pub fn manifest_key(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

/// A run that was not started. Nothing was spent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The document has problems.
    #[error("{0}")]
    Document(#[from] Problems),
    /// It could not be written.
    #[error("{0}")]
    Failed(#[from] Failure),
}

impl<P: Platform> Engine<P> {
    /// Checks and records a run. The caller then starts its execution, named by the id.
    pub async fn record_run(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let now = self.platform.clock().now();
        let token = self.platform.new_token()?;
        let run = new_run_id(now, &token)?;
        let request = request.fixed(now, token.get(10..).unwrap_or_default())?;
        let checked = request.check()?;
        let body =
            serde_json::to_vec(&request).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform
            .objects()
            .put(&request_key(&run), Bytes::from(body), "application/json")
            .await
            .map_err(failure)?;
        let row = RunRow {
            id: run.clone(),
            name: checked.name,
            status: RunStatus::Running,
            stop: false,
            fail_fast: checked.fail_fast,
            remaining: checked.max_cost.unwrap_or(Money::UNLIMITED),
            held: Money::ZERO,
            settled: Money::ZERO,
            created_at: now,
            ended_at: None,
            bound_at: None,
            steps: 0,
            failure: None,
            export: checked.export,
        };
        if !self.platform.ledger().create_run(&row).await.map_err(failure)? {
            return Err(Failure::new(ErrorName::Internal, "a run of this id is there already").into());
        }
        Ok(run)
    }
}

/// An id that sorts by time and reads as one: `20261123t235501-4f2a9c0b17`.
fn new_run_id(now: Millis, random: &str) -> Result<RunId, Failure> {
    let bad = |what: String| Failure::new(ErrorName::Internal, what);
    let at = jiff::Timestamp::from_millisecond(now).map_err(|error| bad(error.to_string()))?;
    let random = random.get(..10).ok_or_else(|| bad("too little randomness".to_owned()))?;
    RunId::parse(format!("{}-{random}", at.strftime("%Y%m%dt%H%M%S"))).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time() {
        let id = |now| new_run_id(now, "0123456789abcdef").unwrap();
        assert_eq!(id(0).as_str(), "19700101t000000-0123456789");
        assert!(id(1_000) < id(2_000));
    }
}
