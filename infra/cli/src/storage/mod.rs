//! Keeping a stack: what is stored, what is removed, and what audits and tests look at, straight in the table and the bucket of
//! a stack. It stands on the same engine as the functions. Runs are asked for through the API, see [`crate::api`].

mod local_outputs;
mod report;

use std::collections::BTreeMap;

use fresco_engine::aws::AwsPlatform;
use fresco_engine::settings::Settings;
use fresco_engine::{Engine, Manifest, manifest_key};
use fresco_ledger::services::aws::{Aws, LambdaCall};
use fresco_ledger::records::{RunRecord, StepId, StepRecord};
use fresco_ledger::traits::{Objects, Runs};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;

pub use local_outputs::{FolderLeft, OldFolders, OutError, OutFolder};
pub use report::{AGE_EDGES, AGES, Expiry, Inventory, Kind, KindUsage, Limit};

/// A stack's table, bucket and sweep.
pub struct StackAdmin {
    engine: Engine<AwsPlatform>,
    sweep: LambdaCall,
    s3: aws_sdk_s3::Client,
}

/// Where a stack's parts are, by the outputs of its template, and what a admin has to know of its parameters.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `TableName`.
    pub table: String,
    /// `BucketName`.
    pub bucket: String,
    /// `SweepFunctionName`.
    pub sweep_function: String,
    /// `RunMachineArn`.
    pub machine_arn: String,
    /// `BatchMachineArn`.
    pub batch_machine_arn: String,
    /// `MaxAgeDays`.
    pub max_age_days: String,
    /// `MaxStoredGigabytes`; empty without a limit.
    pub max_stored: String,
    /// `ExportBucket`; empty where there is none.
    pub export_bucket: String,
}

impl Parts {
    /// Those of a stack with these outputs.
    pub fn of(outputs: &BTreeMap<String, String>) -> Self {
        let output = |name: &str| outputs.get(name).cloned().unwrap_or_default();
        Parts {
            table: output("TableName"),
            bucket: output("BucketName"),
            sweep_function: output("SweepFunctionName"),
            machine_arn: output("RunMachineArn"),
            batch_machine_arn: output("BatchMachineArn"),
            max_age_days: output("MaxAgeDays"),
            max_stored: output("MaxStoredGigabytes"),
            export_bucket: output("ExportBucket"),
        }
    }
}

impl StackAdmin {
    /// Those of the stack with these parts.
    pub fn new(aws: &Aws, parts: &Parts) -> Result<Self, Failure> {
        let settings = client_settings(parts)?;
        Ok(StackAdmin {
            sweep: aws.call(&parts.sweep_function),
            s3: aws.s3_client(),
            engine: Engine::new(AwsPlatform::new(aws, &settings)?, settings),
        })
    }

    /// The engine, for what a admin shares with the functions.
    pub fn engine(&self) -> &Engine<AwsPlatform> {
        &self.engine
    }

    /// A run's record and its steps in the document's order.
    pub async fn status(&self, run: &RunId) -> Result<(RunRecord, Vec<StepRecord>), Failure> {
        use fresco_engine::platform::Platform;
        let ledger = self.engine.platform.ledger();
        let row = ledger.run(run).await.map_err(|error| error.0)?;
        let row =
            row.ok_or_else(|| Failure::new(ErrorName::RunNotFound, format!("there is no run {run} in this stack")))?;
        Ok((row, ledger.steps(run).await.map_err(|error| error.0)?))
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

    /// A step of a run.
    pub async fn step(&self, step_id: &StepId) -> Result<Option<StepRecord>, Failure> {
        use fresco_engine::platform::Platform;
        self.engine.platform.ledger().step(step_id).await.map_err(|error| error.0)
    }
}

/// A admin calls no provider, so of the settings only the places matter and what decides about hits; the rest are the
/// template's defaults.
fn client_settings(parts: &Parts) -> Result<Settings, Failure> {
    Settings::read(|name| {
        let value = match name {
            "FRESCO_STACK" => "admin",
            "FRESCO_TABLE" => &parts.table,
            "FRESCO_BUCKET" => &parts.bucket,
            "FRESCO_RUN_MACHINE" => &parts.machine_arn,
            "FRESCO_BATCH_MACHINE" => &parts.batch_machine_arn,
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
