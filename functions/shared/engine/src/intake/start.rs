//! Starts a run: the document is checked and compiled, the request, the plan and the record of the run are written, and
//! the execution is started with `{run_id}` only.

use bytes::Bytes;
use fresco_api_types::RunBody;
use fresco_ledger::records::{Millis, RunRecord, RunStatus};
use fresco_ledger::traits::{Clock, Executions, Objects, Put, Runs, StoreError, Upload};
use fresco_pipeline::document::Problems;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_pipeline::plan::{Plan, compile};

use crate::intake::Intake;
use crate::intake::request::{Fetcher, IntakeError, InvalidRequest};
use crate::platform::Platform;
use crate::run::request::{RunRequest, StoredRun, request_key};

/// The reason for which a run was not started. Nothing was spent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Document(#[from] Problems),
    /// The request is invalid, apart from its document.
    #[error("{0}")]
    Invalid(InvalidRequest),
    /// Another request was made under the same idempotency key.
    #[error("another request was made under this idempotency key; take a new one")]
    OtherRequest,
    /// It could not be stored or started.
    #[error("{0}")]
    Failed(#[from] Failure),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError::Failed(error.into())
    }
}

impl From<IntakeError> for StartError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Invalid(bad) => StartError::Invalid(bad),
            IntakeError::Failed(failure) => StartError::Failed(failure),
        }
    }
}

/// An idempotency key and the hash of its request. The id of the run is derived from the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As it was given.
    pub key: String,
    pub request_hash: String,
}

impl IdempotencyKey {
    /// The key of an event, made of the parts that identify it: a repeated event gives the same run.
    pub(crate) fn event(parts: &[&str]) -> Self {
        // A key that a request carries cannot contain a line feed, so it never gives this id.
        let key = parts.join("\n");
        IdempotencyKey { request_hash: ContentKey::digest(key.as_bytes()).to_string(), key }
    }

    /// The id of the run, the same for every call.
    pub(crate) fn run(&self) -> Result<RunId, Failure> {
        let hash = ContentKey::digest(self.key.as_bytes());
        let digits = hash.as_str().get(..40).unwrap_or_default();
        RunId::parse(format!("once-{digits}")).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
    }
}

/// A run that is recorded and whose execution is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedRun {
    pub run: RunId,
    /// Whether it existed before this call.
    pub existing: bool,
}

impl<P: Platform> Intake<P> {
    /// Reads the request and starts its run. A repeated call under the same key returns the same run without reading
    /// `body`, whose objects may be gone.
    pub async fn start<E: From<StartError>>(
        &self,
        once: Option<&IdempotencyKey>,
        beside: Option<&str>,
        fetcher: &Fetcher,
        body: impl Future<Output = Result<RunBody, E>> + Send,
    ) -> Result<StartedRun, E> {
        if let Some(once) = once
            && let Some(run) = self.started_before(once).await?
        {
            return Ok(StartedRun { run, existing: true });
        }
        let request = self.request(body.await?, beside, fetcher).await.map_err(StartError::from)?;
        Ok(match once {
            Some(once) => self.start_once(&request, once).await?,
            None => StartedRun { run: self.start_run(&request).await?, existing: false },
        })
    }

    /// Checks, records and starts a run.
    pub async fn start_run(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let run = self.record_run(request).await?;
        if let Err(error) = self.platform.executions().start_run(&run).await {
            let cause = Failure::from(error);
            // The caller does not learn of this run and nothing executes it: it must not be listed as running.
            let now = self.platform.clock().now();
            let ledger = self.platform.ledger();
            if let Err(error) = ledger.close_run(&run, RunStatus::Failed, Some(&cause), false, now).await {
                tracing::warn!(run.id = %run, error.name = %error.0.name, error.message = error.0.message, "run not closed");
            }
            return Err(cause.into());
        }
        Ok(run)
    }

    /// Starts a run under a key for which there was none a moment ago.
    async fn start_once(&self, request: &RunRequest, once: &IdempotencyKey) -> Result<StartedRun, StartError> {
        let run = once.run()?;
        let request = RunRequest { request_hash: once.request_hash.clone(), ..request.clone() };
        let existing = !self.record_as(&run, &request, true).await?;
        if !existing {
            self.platform.executions().start_run(&run).await?;
        } else if let Some(row) = self.platform.ledger().run(&run).await? {
            self.start_recorded(&row).await?;
        }
        Ok(StartedRun { run, existing })
    }

    /// Returns the run that was started under this key, if there is one.
    async fn started_before(&self, once: &IdempotencyKey) -> Result<Option<RunId>, StartError> {
        let run = once.run()?;
        let Some(row) = self.platform.ledger().run(&run).await? else { return Ok(None) };
        if StoredRun::read(self.platform.objects(), &run).await?.request.request_hash != once.request_hash {
            return Err(StartError::OtherRequest);
        }
        self.start_recorded(&row).await?;
        Ok(Some(run))
    }

    /// Starts the execution of a recorded run: the call that recorded it may have ended before. It is idempotent.
    async fn start_recorded(&self, row: &RunRecord) -> Result<(), Failure> {
        if !row.status.is_final() && row.bound_at.is_none() {
            self.platform.executions().start_run(&row.id).await?;
        }
        Ok(())
    }

    /// Fixes `{{timestamp}}` and `{{random}}` of the request, checks its document and compiles it.
    pub fn compile(&self, request: &RunRequest) -> Result<(RunRequest, Plan), StartError> {
        let request = request.fixed(self.platform.clock().now(), &self.platform.new_token()?)?;
        let plan = compile(&request.check()?);
        Ok((request, plan))
    }

    /// Writes an object of JSON unless it exists.
    pub(crate) async fn put_once(&self, key: &str, body: Bytes) -> Result<Put, Failure> {
        let mut upload = self.platform.objects().upload(key, "application/json").await?;
        upload.write(body).await?;
        Ok(upload.finish().await?)
    }

    /// Checks and records a run. The caller starts its execution, which has the same id.
    pub async fn record_run(&self, request: &RunRequest) -> Result<RunId, StartError> {
        let run = new_run_id(self.platform.clock().now(), &self.platform.new_token()?)?;
        if !self.record_as(&run, request, false).await? {
            return Err(Failure::new(ErrorName::Internal, "a run of this id is there already").into());
        }
        Ok(run)
    }

    /// Records a run under this id, and returns whether this call did so. With `once` the request of the first call
    /// stays.
    async fn record_as(&self, run: &RunId, request: &RunRequest, once: bool) -> Result<bool, StartError> {
        let now = self.platform.clock().now();
        let (request, plan) = self.compile(request)?;
        let (objects, key) = (self.platform.objects(), request_key(run));
        let stored = StoredRun::new(request, &plan)?;
        if once {
            if self.put_once(&key, stored.json()?).await? == Put::Exists
                && StoredRun::read(objects, run).await?.request.request_hash != stored.request.request_hash
            {
                return Err(StartError::OtherRequest);
            }
        } else {
            objects.put(&key, stored.json()?, "application/json").await?;
        }
        let row = RunRecord {
            id: run.clone(),
            name: plan.name,
            status: RunStatus::Running,
            stop: false,
            fail_fast: plan.fail_fast,
            remaining: plan.max_cost,
            held: Money::ZERO,
            settled: Money::ZERO,
            created_at: now,
            ended_at: None,
            bound_at: None,
            chunk: None,
            granted: None,
            counted: false,
            publish_pending: false,
            steps: 0,
            failure: None,
            export: plan.export,
        };
        Ok(self.platform.ledger().create_run(&row).await?)
    }
}

/// Makes an id that sorts by time and reads as one: `20261123t235501-4f2a9c0b17`.
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
    fn each_event_has_a_run_of_its_own() {
        let once = |key, sequencer| IdempotencyKey::event(&["inbox", "bucket", key, "tag", sequencer]);
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
