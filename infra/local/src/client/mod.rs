//! A client of a stack: it starts a run, watches it by its record, and brings its outputs here. It stands on the same
//! engine as the functions; nothing in it knows how the stack came to be.

mod folder;
mod inputs;
mod inventory;
mod old;
mod run;
mod save;

use fresco_engine::aws::AwsPlatform;
use fresco_engine::settings::Settings;
use fresco_engine::{Engine, Manifest, Preview, RunRequest, StartError, Stopped, manifest_key};
use fresco_ledger::aws::{Aws, LambdaCall, SfnRuns};
use fresco_ledger::rows::{Asker, RunRow, StepRow};
use fresco_ledger::traits::{Clock, Objects, Runs};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;

use crate::stack::Stack;

pub use folder::{FolderError, check_folder};
pub use inputs::{Inputs, gather};
pub use inventory::{AGE_EDGES, AGES, Expiry, Inventory, Kind, KindUsage, Limit};
pub use old::{FolderLeft, OldFolders, OutError, RunFolders};
pub use run::{Event, Watch};
pub use save::{MissingFile, MissingReason, SaveError, Saved, SavedFile, save, save_in};

/// A client.
pub struct Client {
    engine: Engine<AwsPlatform>,
    runs: SfnRuns,
    sweep: LambdaCall,
    s3: aws_sdk_s3::Client,
}

/// Why an object did not arrive in a file.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is none of that key, or none any more.
    #[error("{0} is not in the bucket any more")]
    Gone(String),
    /// It could not be fetched.
    #[error("{0}")]
    Fetch(#[from] Failure),
    /// It could not be written.
    #[error("{0}")]
    Write(#[from] std::io::Error),
}

/// Where a stack's parts are, by the outputs of its template, and what a client has to know of its parameters.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `TableName`.
    pub table: String,
    /// `BucketName`.
    pub bucket: String,
    /// `RunMachineArn`.
    pub machine_arn: String,
    /// `SweepFunctionName`.
    pub sweep_function: String,
    /// `MaxAgeDays`.
    pub max_age_days: String,
    /// `MaxStoredGigabytes`; empty without a limit.
    pub max_stored: String,
    /// `ExportBucket`; empty where there is none.
    pub export_bucket: String,
}

impl Parts {
    /// Those of a stack on this machine.
    pub fn of(stack: &Stack) -> Self {
        Parts {
            table: stack.output("TableName").to_owned(),
            bucket: stack.output("BucketName").to_owned(),
            machine_arn: stack.output("RunMachineArn").to_owned(),
            sweep_function: stack.output("SweepFunctionName").to_owned(),
            max_age_days: stack.output("MaxAgeDays").to_owned(),
            max_stored: stack.output("MaxStoredGigabytes").to_owned(),
            export_bucket: stack.output("ExportBucket").to_owned(),
        }
    }
}

impl Client {
    /// A client of the stack with these parts.
    pub fn new(aws: &Aws, parts: &Parts) -> Result<Self, Failure> {
        let settings = client_settings(parts)?;
        Ok(Client {
            runs: aws.runs(&parts.machine_arn),
            sweep: aws.call(&parts.sweep_function),
            s3: aws.s3_client(),
            engine: Engine::new(AwsPlatform::new(aws, &settings)?, settings),
        })
    }

    /// The engine, for what a client shares with the functions.
    pub fn engine(&self) -> &Engine<AwsPlatform> {
        &self.engine
    }

    /// What a run would do. Nothing is written.
    pub async fn preview(&self, request: &RunRequest) -> Result<Preview, StartError> {
        self.engine.preview(request).await
    }

    /// A run's record and its steps in the document's order.
    pub async fn status(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>), Failure> {
        use fresco_engine::platform::Platform;
        let ledger = self.engine.platform.ledger();
        let row = ledger.run(run).await.map_err(|error| error.0)?;
        let row =
            row.ok_or_else(|| Failure::new(ErrorName::RunNotFound, format!("there is no run {run} in this stack")))?;
        Ok((row, ledger.steps(run).await.map_err(|error| error.0)?))
    }

    /// The latest runs, newest first.
    pub async fn recent(&self, limit: u32) -> Result<Vec<RunRow>, Failure> {
        use fresco_engine::platform::Platform;
        let platform = &self.engine.platform;
        platform.ledger().recent_runs(limit, platform.clock().now()).await.map_err(|error| error.0)
    }

    /// Stops a run: nothing new is submitted, and what waits in a queue for nobody is cancelled. It is done by the stack,
    /// which has the providers' keys.
    pub async fn stop(&self, run: &RunId) -> Result<Stopped, Failure> {
        let answer = self.sweep.ask(&serde_json::json!({"stop": run})).await?;
        serde_json::from_value(answer)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the stack's answer cannot be read: {error}")))
    }

    /// Has the stack look after what is due, now instead of at the next full minute.
    pub async fn sweep(&self) -> Result<(), Failure> {
        self.sweep.ask(&serde_json::json!({})).await.map(drop)
    }

    /// The manifest of a run that has ended.
    pub async fn manifest(&self, run: &RunId) -> Result<Manifest, Failure> {
        let bytes = self.object(&manifest_key(run)).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the run's manifest cannot be read: {error}")))
    }

    /// A whole object of the stack's bucket.
    pub async fn object(&self, key: &str) -> Result<bytes::Bytes, Failure> {
        use fresco_engine::platform::Platform;
        let bytes = self.engine.platform.objects().get(key).await.map_err(|error| error.0)?;
        bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, format!("{key} is not in the bucket any more")))
    }

    /// A whole object of the stack's bucket, written to a file as it comes.
    pub async fn object_to(&self, key: &str, to: &mut (dyn std::io::Write + Send)) -> Result<(), ObjectError> {
        use fresco_engine::platform::Platform;
        let mut written = Ok(());
        let mut sink = |piece: &[u8]| {
            if written.is_ok() {
                written = to.write_all(piece);
            }
        };
        let there = self.engine.platform.objects().scan(key, &mut sink).await.map_err(|error| error.0)?;
        written?;
        if there {
            return Ok(());
        }
        Err(ObjectError::Gone(key.to_owned()))
    }

    /// A step of a run.
    pub async fn step(&self, asker: &Asker) -> Result<Option<StepRow>, Failure> {
        use fresco_engine::platform::Platform;
        self.engine.platform.ledger().step(asker).await.map_err(|error| error.0)
    }
}

/// A client calls no provider, so of the settings only the places matter and what decides about hits; the rest are the
/// template's defaults.
fn client_settings(parts: &Parts) -> Result<Settings, Failure> {
    Settings::read(|name| {
        let value = match name {
            "FRESCO_STACK" => "client",
            "FRESCO_TABLE" => &parts.table,
            "FRESCO_BUCKET" => &parts.bucket,
            "FRESCO_PUBLIC_URL" => "none",
            "FRESCO_SECRETS_PREFIX" => "/fresco",
            "FRESCO_MAX_AGE_DAYS" => &parts.max_age_days,
            "FRESCO_MAX_STORED_GIGABYTES" => &parts.max_stored,
            "FRESCO_EXPORT_BUCKET" => &parts.export_bucket,
            "FRESCO_FAL_QUEUE_URL" => "https://queue.fal.run",
            "FRESCO_FAL_REST_URL" => "https://rest.fal.ai",
            "FRESCO_FAL_API_URL" => "https://api.fal.ai",
            "FRESCO_GEMINI_URL" => "https://generativelanguage.googleapis.com",
            "FRESCO_FAL_MEDIA_HOSTS" => "fal.media,*.fal.media",
            _ => return None,
        };
        Some(value.to_owned())
    })
}
