//! What every way in does before it starts the state machine: the document is checked, and it and the run's record are
//! written. Only `{run_id}` travels from here.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_ledger::records::{Millis, RunRecord, RunStatus};
use fresco_ledger::traits::{Clock, Executions, Objects, Put, Runs, Upload};
use fresco_pipeline::document::{Checked, MediaReference, Problems, RunInputs, check, media_references};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_pipeline::money::Money;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::order::{BadOrder, Fetcher, OrderError};
use crate::platform::Platform;
use crate::transact::failure;
use crate::wire::RunBody;

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
    /// The hash of what was asked under an idempotency key; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub asked: String,
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
    pub fn media_references(&self) -> Vec<MediaReference> {
        media_references(&self.document, &self.given())
    }

    /// The request with `{{timestamp}}` and `{{random}}` fixed.
    pub fn fixed(&self, now: Millis, random: &str) -> Result<Self, Failure> {
        let at = jiff::Timestamp::from_millisecond(now)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let random = random.get(..8).unwrap_or(random).to_owned();
        Ok(RunRequest { timestamp: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), random, ..self.clone() })
    }

    pub(crate) fn given(&self) -> RunInputs {
        let kept = self.media.iter().map(|(text, media)| (text.clone(), Ok(media.clone())));
        let refused = self.refused.iter().map(|(text, problem)| (text.clone(), Err(problem.clone())));
        RunInputs {
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
    /// The order is wrong, apart from its document.
    #[error("{0}")]
    Order(BadOrder),
    /// Something else was asked under the same idempotency key.
    #[error("another request was made under this idempotency key; take a new one")]
    OtherRequest,
    /// It could not be written.
    #[error("{0}")]
    Failed(#[from] Failure),
}

impl From<OrderError> for StartError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Bad(bad) => StartError::Order(bad),
            OrderError::Failed(failure) => StartError::Failed(failure),
        }
    }
}

/// What makes a request the same as one before: the run's id comes of `key`, and `asked` is the hash of everything that was
/// asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The idempotency key, as it was given.
    pub key: String,
    /// The hash of the request.
    pub asked: String,
}

impl Once {
    /// What an event asks for, told apart by these parts: it is one run, however often it is told.
    pub(crate) fn event(parts: &[&str]) -> Self {
        // A line's end cannot stand in a key that a request carries: nobody else comes to this id.
        let key = parts.join("\n");
        Once { asked: ContentKey::digest(key.as_bytes()).to_string(), key }
    }

    /// The run: the same for ever.
    pub(crate) fn run(&self) -> Result<RunId, Failure> {
        let hash = ContentKey::digest(self.key.as_bytes());
        let digits = hash.as_str().get(..40).unwrap_or_default();
        RunId::parse(format!("once-{digits}")).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
    }
}

/// A run that is recorded and whose execution is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The run.
    pub run: RunId,
    /// Whether it was there before.
    pub existing: bool,
}

impl<P: Platform> Engine<P> {
    /// What every way in does with an order: it becomes a request, and that a run. Asked again under the same key it gives
    /// the same run; `body` and what it names are not looked at then, and may be gone.
    pub async fn start_order<E: From<StartError>>(
        &self,
        once: Option<&Once>,
        beside: Option<&str>,
        fetcher: &Fetcher,
        body: impl Future<Output = Result<RunBody, E>> + Send,
    ) -> Result<Begun, E> {
        if let Some(once) = once
            && let Some(run) = self.begun_before(once).await?
        {
            return Ok(Begun { run, existing: true });
        }
        let request = self.order(body.await?, beside, fetcher).await.map_err(StartError::from)?;
        Ok(match once {
            Some(once) => self.begin_once(&request, once).await?,
            None => Begun { run: self.begin_run(&request).await?, existing: false },
        })
    }

    /// Checks, records and starts a run.
    pub async fn begin_run(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let run = self.record_run(request).await?;
        if let Err(cause) = self.platform.executions().start_run(&run).await.map_err(failure) {
            // Nobody hears of this run and nothing will run it: it is not to be listed as running for ever.
            let now = self.platform.clock().now();
            let ledger = self.platform.ledger();
            if let Err(error) = ledger.close_run(&run, RunStatus::Failed, Some(&cause), false, now).await {
                tracing::warn!(run.id = %run, error.name = %error.0.name, error.message = error.0.message, "run not closed");
            }
            return Err(cause.into());
        }
        Ok(run)
    }

    /// The same once for a key; nobody had begun it a moment ago.
    async fn begin_once(&self, request: &RunRequest, once: &Once) -> Result<Begun, StartError> {
        let run = once.run()?;
        let request = RunRequest { asked: once.asked.clone(), ..request.clone() };
        let existing = !self.record_as(&run, &request, true).await?;
        if !existing {
            self.platform.executions().start_run(&run).await.map_err(failure)?;
        } else if let Some(row) = self.platform.ledger().run(&run).await.map_err(failure)? {
            self.start_recorded(&row).await?;
        }
        Ok(Begun { run, existing })
    }

    /// The run that was begun under this key, if there is one.
    async fn begun_before(&self, once: &Once) -> Result<Option<RunId>, StartError> {
        let run = once.run()?;
        let Some(row) = self.platform.ledger().run(&run).await.map_err(failure)? else { return Ok(None) };
        if self.request_of(&run).await?.asked != once.asked {
            return Err(StartError::OtherRequest);
        }
        self.start_recorded(&row).await?;
        Ok(Some(run))
    }

    /// Whoever recorded the run may have ended before it was started; starting twice is starting once.
    async fn start_recorded(&self, row: &RunRecord) -> Result<(), Failure> {
        if !row.status.is_final() && row.bound_at.is_none() {
            self.platform.executions().start_run(&row.id).await.map_err(failure)?;
        }
        Ok(())
    }

    /// Writes an object of JSON, unless there is one.
    pub(crate) async fn put_once(&self, key: &str, body: Bytes) -> Result<Put, Failure> {
        let mut upload = self.platform.objects().upload(key, "application/json").await.map_err(failure)?;
        upload.write(body).await.map_err(failure)?;
        upload.finish().await.map_err(failure)
    }

    /// Checks and records a run. The caller then starts its execution, named by the id.
    pub async fn record_run(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let run = new_run_id(self.platform.clock().now(), &self.platform.new_token()?)?;
        if !self.record_as(&run, request, false).await? {
            return Err(Failure::new(ErrorName::Internal, "a run of this id is there already").into());
        }
        Ok(run)
    }

    /// Records a run under this id; whether it was this call that did. With `once` the request of whoever is first stays.
    async fn record_as(&self, run: &RunId, request: &RunRequest, once: bool) -> Result<bool, StartError> {
        let now = self.platform.clock().now();
        let request = request.fixed(now, &self.platform.new_token()?)?;
        let checked = request.check()?;
        let body =
            serde_json::to_vec(&request).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let (objects, key, body) = (self.platform.objects(), request_key(run), Bytes::from(body));
        if once {
            if self.put_once(&key, body).await? == Put::Exists && self.request_of(run).await?.asked != request.asked {
                return Err(StartError::OtherRequest);
            }
        } else {
            objects.put(&key, body, "application/json").await.map_err(failure)?;
        }
        let row = RunRecord {
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
            chunk: None,
            granted: None,
            publish_pending: false,
            steps: 0,
            failure: None,
            export: checked.export,
        };
        Ok(self.platform.ledger().create_run(&row).await.map_err(failure)?)
    }
}

/// An id that sorts by time and reads as one: `20261123t235501-4f2a9c0b17`.
pub(crate) fn new_run_id(now: Millis, random: &str) -> Result<RunId, Failure> {
    let bad = |what: String| Failure::new(ErrorName::Internal, what);
    let at = jiff::Timestamp::from_millisecond(now).map_err(|error| bad(error.to_string()))?;
    let random = random.get(..10).ok_or_else(|| bad("too little randomness".to_owned()))?;
    RunId::parse(format!("{}-{random}", at.strftime("%Y%m%dt%H%M%S"))).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_run_and_another_is_another() {
        let once = |key, sequencer| Once::event(&["inbox", "bucket", key, "tag", sequencer]);
        assert_eq!(once("a", "1").run(), once("a", "1").run());
        assert_ne!(once("a", "1").run(), once("a", "2").run());
        assert_ne!(once("a", "1").run(), once("b", "1").run());
    }

    #[test]
    fn run_ids_sort_by_time() {
        let id = |now| new_run_id(now, "0123456789abcdef").unwrap();
        assert_eq!(id(0).as_str(), "19700101t000000-0123456789");
        assert!(id(1_000) < id(2_000));
    }
}
